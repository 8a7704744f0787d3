"""Finds livekit-server: which version the project runs on, and where a program of that version lies.

Standard library only: `scripts/livekit_server.py` uses it before anything is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LIVEKIT_VERSION: Final = "1.13.5"
PROJECT_ROOT: Final = Path(__file__).resolve().parent.parent
TOOLS_DIR: Final = PROJECT_ROOT / ".tools"
BINARY_NAME: Final = "livekit-server"

_VERSION_DEADLINE_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundBinary:
    """A livekit-server on this machine; ``version`` is None when it does not say one."""

    path: Path
    version: str | None

    @property
    def fits(self) -> bool:
        """Whether it is the version that the project is tested with."""
        return self.version == LIVEKIT_VERSION


def find_livekit_server() -> Path | None:
    """Give the livekit-server to start: PATH first, then `.tools/`; only the tested version counts."""
    return next((found.path for found in candidates() if found.fits), None)


def candidates() -> list[FoundBinary]:
    """List every livekit-server there is, in order of preference, the unfit ones included."""
    on_path = shutil.which(BINARY_NAME)
    places = [Path(on_path)] if on_path else []
    places.append(TOOLS_DIR / BINARY_NAME)
    return [
        FoundBinary(path=place, version=read_version(place))
        for place in dict.fromkeys(places)
        if place.is_file()
    ]


def read_version(binary: Path) -> str | None:
    """Ask a program for its version: `livekit-server version 1.13.5` gives `1.13.5`."""
    if not os.access(binary, os.X_OK):
        return None
    try:
        answer = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=_VERSION_DEADLINE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = answer.stdout.split()
    return words[-1] if answer.returncode == 0 and words[:2] == [BINARY_NAME, "version"] else None
