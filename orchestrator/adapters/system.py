"""The system's clock and random source."""

from __future__ import annotations

import random
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Final

_RANDOM: Final = random.SystemRandom()


class SystemClock:
    """Wall time as it was at the start plus what passed since, so that it never goes back.

    A step of the machine's clock while the process lives is not followed: deadlines are then neither early
    nor late, and the difference ends with the next start.
    """

    def __init__(self) -> None:
        self._started_at = datetime.now(UTC)
        self._started_s = time.monotonic()

    def now(self) -> datetime:
        """Give the wall time, aware UTC."""
        return self._started_at + timedelta(seconds=time.monotonic() - self._started_s)

    def monotonic(self) -> float:
        """Give seconds that only grow."""
        return time.monotonic()

    def new_id(self) -> str:
        """Give a new uuid4."""
        return str(uuid.uuid4())

    def random(self) -> float:
        """Give a number in [0, 1)."""
        return _RANDOM.random()
