"""Gets a program that the system's package manager has: finds it, or installs it by apt when we are root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

DEADLINE_S: Final = 10 * 60.0


class PackageError(Exception):
    """The program is not there; the message is one sentence that names the fix."""


def find(names: Sequence[str]) -> str | None:
    """Where a program of one of these names is that is on PATH."""
    return next((path for name in names if (path := shutil.which(name)) is not None), None)


def can_install() -> bool:
    """Whether a package can be installed here: we are root, and there is apt."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def why_skipped(package: str, script: str) -> str:
    """Say why a test that needs a package is skipped; in CI only what cannot be installed may be missing.

    Args:
        package: what is missing.
        script: of `scripts/`, which installs it.
    """
    if can_install():
        return f"there is no {package}; run: python3 scripts/{script}"
    return f"this machine cannot: there is no {package}, and only root with apt-get could install it"


def install(package: str, names: Sequence[str], by_hand: str) -> str:
    """Install a package by apt; gives the path of its program.

    Args:
        package: Debian's name of it.
        names: that its program may have.
        by_hand: what a person can do who reads the error.

    Raises:
        PackageError: we are not root, there is no apt, or it failed.
    """
    if not can_install():
        raise PackageError(
            f"no {package} is on PATH, and only root with apt-get can install it here; {by_hand}"
        )
    print(f"installing the system's {package} (up to a minute)", file=sys.stderr, flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "-qq", "update"], ["apt-get", "-qq", "install", "-y", package]):
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=DEADLINE_S, env=environment
            )
        except subprocess.TimeoutExpired:
            raise PackageError(
                f"{' '.join(command)} did not end in {DEADLINE_S / 60:.0f} minutes; {by_hand}"
            ) from None
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
            raise PackageError(f"{' '.join(command)} failed ({said[-1]}); {by_hand}")
    path = find(names)
    if path is None:
        raise PackageError(f"the package {package} has no program of a name that we know; {by_hand}")
    return path
