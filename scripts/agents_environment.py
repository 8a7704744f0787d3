"""Makes `.tools/agents-venv`, the environment of the LiveKit agents that the tests and a bench start.

livekit-agents pins another `livekit` than ours, so it cannot stand in `.venv`. Standard library only; nothing
happens, at once, when nothing changed since the last time. Prints the environment's Python on standard out;
everything else goes to standard error. Exit 0: it is there; 1: it is not, and one sentence says what to do.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
LOCK: Final = ROOT / "tests" / "integration" / "agents.lock"
VENV: Final = ROOT / ".tools" / "agents-venv"
DEADLINE_S: Final = 20 * 60.0
_STAMP: Final = ".set-up-for"  # what it was made from; written last


class EnvironmentMissingError(Exception):
    """The environment could not be made; the message is one sentence that names the fix."""


def main() -> int:
    """Make the environment if it is not there, and print its Python."""
    try:
        print(ensure())
    except EnvironmentMissingError as error:
        print(f"agents_environment.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("agents_environment.py: stopped; the next run begins again", file=sys.stderr)
        return 130
    return 0


def ensure(venv: Path = VENV, lock: Path = LOCK) -> Path:
    """Make the environment unless it is there and made from this lock; give its Python.

    Args:
        venv: the folder; one that is there and not what it should be is made anew.
        lock: its packages, with hashes.

    Raises:
        EnvironmentMissingError: it cannot be made here and now.
    """
    python = venv / "bin" / "python"
    wanted = f"{sys.version_info.major}.{sys.version_info.minor} {_digest(lock)}\n"
    try:
        venv.parent.mkdir(parents=True, exist_ok=True)
        with venv.with_name(f"{venv.name}.lock").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)  # two at once would write over each other
            stamp = venv / _STAMP
            if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted and python.exists():
                return python
            started = time.monotonic()
            _say("making .tools/agents-venv for LiveKit agents (half a minute, 400 MB)")
            shutil.rmtree(venv, ignore_errors=True)
            _run([sys.executable, "-m", "venv", str(venv)])
            pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
            # Hashes stand for every package, so nothing is resolved and nothing else can come in.
            _run([*pip, "--require-hashes", "--no-deps", "-r", str(lock)])
            stamp.write_text(wanted, encoding="utf-8")
            _say(f"the agents' environment is ready after {time.monotonic() - started:.0f} s")
    except OSError as error:
        raise EnvironmentMissingError(f"{error}; is {venv.parent} writable, and is there room?") from error
    return python


def _digest(lock: Path) -> str:
    try:
        return hashlib.sha256(lock.read_bytes()).hexdigest()
    except OSError as error:
        raise EnvironmentMissingError(f"{lock} cannot be read: {error}") from error


def _run(command: list[str]) -> None:
    foreign = ("PYTHONPATH", "PYTHONHOME")  # would mix another environment's packages into this one
    environment = {name: value for name, value in os.environ.items() if name not in foreign}
    try:
        done = subprocess.run(
            command, stderr=subprocess.PIPE, text=True, check=False, timeout=DEADLINE_S, env=environment
        )
    except subprocess.TimeoutExpired as error:
        raise EnvironmentMissingError(f"no end after {DEADLINE_S / 60:.0f} minutes; run it again") from error
    if done.returncode != 0:
        print(done.stderr, file=sys.stderr)
        raise EnvironmentMissingError(
            f"{' '.join(command[1:4])} failed (see above); is the package index reachable?"
        )


def _say(sentence: str) -> None:
    print(f"agents_environment.py: {sentence}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
