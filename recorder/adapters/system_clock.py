"""Time of this machine."""

from __future__ import annotations

import time


class SystemClock:
    """The operating system's clocks; a `Clock`."""

    def monotonic_us(self) -> int:
        """Microseconds of CLOCK_MONOTONIC, the clock of the media SDK's frame times too."""
        return time.monotonic_ns() // 1_000

    def wall_us(self) -> int:
        """Unix time in microseconds."""
        return time.time_ns() // 1_000
