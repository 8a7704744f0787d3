"""Gets a Chromium for the player's tests: the system's, installed by its package manager when we are root.

Standard library only, any Python from 3.11 on. Prints the program's path on the last line of standard output.
Exit 0: it is there; 1: it is not, and one sentence says what to do. The tests that need it are skipped then.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Final

NAMES: Final = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
BY_HAND: Final = "install the package chromium, or leave it: the player's tests are skipped without a browser"
DEADLINE_S: Final = 10 * 60.0


class BrowserError(Exception):
    """There is no browser; the message is one sentence that names the fix."""


def main() -> int:
    """Find or install it, print where it is."""
    try:
        path = find() or install()
    except BrowserError as error:
        print(f"chromium.py: {error}", file=sys.stderr)
        return 1
    print(path)
    return 0


def find() -> str | None:
    """Where a browser is that is on PATH."""
    return next((path for name in NAMES if (path := shutil.which(name)) is not None), None)


def install() -> str:
    """Install it by apt.

    Raises:
        BrowserError: we are not root, there is no apt, or it failed.
    """
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise BrowserError(
            f"no Chromium is on PATH, and only root with apt-get can install it here; {BY_HAND}"
        )
    print("chromium.py: installing the system's chromium (about a minute)", file=sys.stderr, flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "-qq", "update"], ["apt-get", "-qq", "install", "-y", "chromium"]):
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=DEADLINE_S, env=environment
            )
        except subprocess.TimeoutExpired:
            raise BrowserError(
                f"{' '.join(command)} did not end in {DEADLINE_S / 60:.0f} minutes; {BY_HAND}"
            ) from None
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
            raise BrowserError(f"{' '.join(command)} failed ({said[-1]}); {BY_HAND}")
    path = find()
    if path is None:
        raise BrowserError(f"the package chromium has no program of a name that we know; {BY_HAND}")
    return path


if __name__ == "__main__":
    sys.exit(main())
