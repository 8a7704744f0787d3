"""The system's clock and random source."""

from __future__ import annotations

import random
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from orchestrator.ports import Uptime

_RANDOM: Final = random.SystemRandom()
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class SystemClock:
    """Wall time as it was at the start plus what passed since, so that it never goes back.

    A step of the machine's clock while the process lives is not followed: deadlines are then neither early
    nor late. At the next start a step forward is; one back is not by the SQLite store (decision 0014).
    """

    def __init__(self) -> None:
        self._started_at = datetime.now(UTC)
        self._started_s = time.monotonic()
        self._boot = _boot()

    def now(self) -> datetime:
        """Give the wall time, aware UTC."""
        return self._started_at + timedelta(seconds=time.monotonic() - self._started_s)

    def monotonic(self) -> float:
        """Give seconds that only grow."""
        return time.monotonic()

    def uptime(self) -> Uptime | None:
        """Give how long the machine runs, as Linux counts it."""
        if not self._boot:
            return None
        return Uptime(boot=self._boot, seconds=time.clock_gettime(time.CLOCK_BOOTTIME))

    def new_id(self) -> str:
        """Give a new uuid4."""
        return str(uuid.uuid4())

    def random(self) -> float:
        """Give a number in [0, 1)."""
        return _RANDOM.random()


def _boot() -> str:
    """Give what Linux calls this start of the machine; nothing on other systems."""
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return ""
