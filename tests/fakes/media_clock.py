"""A recorder's clock that stands still until a test moves it."""

from __future__ import annotations


class FakeMediaClock:
    """A `recorder.ports.Clock`; begins at 100 s monotonic and some day in November 2026."""

    def __init__(self) -> None:
        self.us = 100_000_000
        self.wall_began_us = 1_795_000_000_000_000

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self.us += round(seconds * 1_000_000)

    def monotonic_us(self) -> int:
        """Give monotonic microseconds."""
        return self.us

    def wall_us(self) -> int:
        """Give Unix microseconds."""
        return self.wall_began_us + self.us
