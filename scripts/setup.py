"""Makes the project's environment in `.venv`: locked packages, checked hashes, the project itself editable.

Standard library only; `scripts/python.sh` finds the Python to run it with. Nothing happens, at once, when
nothing changed since the last time. A set-up that was interrupted is seen by the mark it left, and is begun
again from an empty folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
VENV: Final = ROOT / ".venv"
STAMP: Final = VENV / ".set-up-for"  # what it was made from; written last
UNFINISHED: Final = VENV / ".unfinished"  # there while packages are being installed
DEADLINE_S: Final = 30 * 60.0


class SetupError(Exception):
    """The environment could not be made; the message is one sentence that names the fix."""


def main() -> int:
    """Make or mend the environment."""
    try:
        with (ROOT / ".setup.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two at once would write over each other
            set_up()
    except SetupError as error:
        print(f"setup.py: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"setup.py: {error}; is {ROOT} writable, and is there room?", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("setup.py: stopped; the next run begins again", file=sys.stderr)
        return 130
    return 0


def set_up() -> None:
    """Compare the stamp with what is wanted, and install when they differ."""
    wanted = fingerprint()
    kept = STAMP.read_text(encoding="utf-8") if STAMP.is_file() else ""
    if kept == wanted and not UNFINISHED.exists() and works(VENV / "bin" / "python"):
        return
    started = time.monotonic()
    if is_reusable(kept, wanted):
        say("the locked packages changed; installing what is new")
    else:
        say(f"making .venv with Python {sys.version.split()[0]} (about half a minute)")
        make_venv()
    UNFINISHED.touch()
    STAMP.unlink(missing_ok=True)
    # Hashes stand for every package, so nothing is resolved and nothing else can come in.
    pip("install", "--require-hashes", "--no-deps", "-r", str(ROOT / "requirements.lock"))
    pip("install", "--no-deps", "--no-build-isolation", "--editable", str(ROOT))
    STAMP.write_text(wanted, encoding="utf-8")
    UNFINISHED.unlink()
    say(f"the environment is ready after {time.monotonic() - started:.0f} s")


def fingerprint() -> str:
    """Say what the environment is made from: place and Python on the first line, contents on the second."""
    contents = hashlib.sha256()
    for name in ("requirements.lock", "pyproject.toml"):
        contents.update((ROOT / name).read_bytes())
    return f"{ROOT} python{sys.version_info.major}.{sys.version_info.minor}\n{contents.hexdigest()}\n"


def is_reusable(kept: str, wanted: str) -> bool:
    """Whether pip can bring the environment up to date: it was finished, works, and was made here."""
    if UNFINISHED.exists() or not works(VENV / "bin" / "python"):
        return False
    # The folder moved, or another Python is asked for: its scripts would name what is not there.
    return not kept or kept.splitlines()[0] == wanted.splitlines()[0]


def works(python: Path) -> bool:
    """Whether an environment's Python starts and has pip."""
    try:
        done = subprocess.run(
            [python, "-c", "import pip"], capture_output=True, check=False, timeout=60, cwd=ROOT.anchor
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def make_venv() -> None:
    """Make an empty environment.

    Raises:
        SetupError: this Python cannot make one.
    """
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        name = f"python{sys.version_info.major}.{sys.version_info.minor}"
        raise SetupError(
            f"{sys.executable} has no ensurepip, so it cannot make an environment;"
            f" install it (Debian: apt-get install {name}-venv) or choose another: make PYTHON=/path/to/one"
        )
    if VENV.is_symlink() or VENV.is_file():
        raise SetupError(f"{VENV} is no folder of ours; move it away and run this again")
    shutil.rmtree(VENV, ignore_errors=True)
    VENV.mkdir()
    UNFINISHED.touch()
    run([sys.executable, "-m", "venv", str(VENV)], "the environment could not be made")


def pip(*arguments: str) -> None:
    """Run the environment's pip."""
    command = [str(VENV / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run([*command, *arguments], "the locked packages could not be installed")


def run(command: list[str], complaint: str) -> None:
    """Run a command to its end.

    Raises:
        SetupError: it failed; what it said last is in the sentence, all of it is on the terminal.
    """
    foreign = ("PYTHONPATH", "PYTHONHOME")  # would mix another environment's packages into this one
    environment = {name: value for name, value in os.environ.items() if name not in foreign}
    try:
        done = subprocess.run(
            command, stderr=subprocess.PIPE, text=True, check=False, timeout=DEADLINE_S, env=environment
        )
    except subprocess.TimeoutExpired as error:
        raise SetupError(f"{complaint}: no end after {DEADLINE_S / 60:.0f} minutes; run it again") from error
    if done.returncode != 0:
        print(done.stderr, file=sys.stderr)
        raise SetupError(f"{complaint} (see above); is the package index reachable, and is there disk space?")


def say(sentence: str) -> None:
    """Tell the person who waits."""
    print(f"setup.py: {sentence}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
