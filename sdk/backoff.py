"""How long to wait before the next try: fast first, then doubling to a limit, spread by chance."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

FIRST_S: Final = 0.1
LIMIT_S: Final = 3.0  # an orchestrator that starts again gives its workers 6 s to come back


class Backoff:
    """Delays of one series of tries. A worker's first retry comes within 0.1 s: a closed socket has 1 s."""

    def __init__(
        self,
        *,
        first_s: float = FIRST_S,
        limit_s: float = LIMIT_S,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Begin a series.

        Args:
            first_s: longest first delay.
            limit_s: no delay is longer.
            chance: gives 0 <= x < 1; half of each delay is fixed, half is by chance, so that many workers of
                one orchestrator do not come back at the same instant.
        """
        self._first_s = first_s
        self._limit_s = limit_s
        self._chance = chance
        self._tries = 0

    def next_s(self) -> float:
        """Give the delay before the next try, in seconds."""
        longest = min(self._limit_s, self._first_s * 2.0 ** min(self._tries, 30))
        self._tries += 1
        return longest * (0.5 + 0.5 * self._chance())

    def reset(self) -> None:
        """Begin again; call it when a try succeeded."""
        self._tries = 0
