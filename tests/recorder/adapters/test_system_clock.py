"""The clock is the one that the media SDK's frame times are of."""

from __future__ import annotations

import time

from recorder.adapters.system_clock import SystemClock


def test_both_clocks_count_microseconds() -> None:
    clock = SystemClock()
    assert abs(clock.monotonic_us() - time.monotonic() * 1_000_000) < 100_000
    assert abs(clock.wall_us() - time.time() * 1_000_000) < 100_000
