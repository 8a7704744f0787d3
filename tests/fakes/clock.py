"""A clock that stands still until a test moves it, and a random source without surprises."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from orchestrator.ports import Uptime

START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


class FakeClock:
    """Implements `Clock`.

    Attributes:
        wall: what `now` gives; may be set, also backwards, as a machine's clock can be.
        seconds: what `monotonic` gives.
        boot: what `uptime` names the machine's start, since when `seconds` passed; "" knows of none.
        luck: what `random` gives.
    """

    def __init__(self, wall: datetime = START) -> None:
        self.wall = wall
        self.seconds = 0.0
        self.boot = "boot"
        self.luck = 0.5
        self._ids = 0

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.wall += timedelta(seconds=seconds)
        self.seconds += seconds

    def now(self) -> datetime:
        """Give the wall time."""
        return self.wall

    def monotonic(self) -> float:
        """Give the seconds that passed."""
        return self.seconds

    def uptime(self) -> Uptime | None:
        """Give the seconds that passed since `boot`."""
        return Uptime(boot=self.boot, seconds=self.seconds) if self.boot else None

    def new_id(self) -> str:
        """Give the next of 00000000-0000-4000-8000-000000000001, …2, …3."""
        self._ids += 1
        return str(UUID(int=self._ids, version=4))

    def random(self) -> float:
        """Give `luck`."""
        return self.luck
