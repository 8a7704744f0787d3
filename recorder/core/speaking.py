"""Chooses who is shown large: who speaks, but not whoever coughs.

The room says who speaks, loudest first, whenever that changes. Another one is shown once it has been the
loudest for a while, and the one that is shown has been shown for a while.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

LOUDEST_US: Final = 800_000  # for so long another one must be the loudest
SHOWN_US: Final = 2_000_000  # for so long whoever is shown stays


class SpeakerChoice:
    """Times are microseconds of one monotonic clock."""

    def __init__(self) -> None:
        self._speaking: tuple[str, ...] = ()
        self._loudest: str | None = None  # of those who are there
        self._loudest_since_us = 0
        self._shown: str | None = None
        self._shown_since_us = 0

    def heard(self, identities: Sequence[str]) -> None:
        """Take note of who speaks from now on, loudest first; nobody: empty."""
        self._speaking = tuple(identities)

    def choose(self, present: Sequence[str], *, now_us: int) -> str | None:
        """Give who is to be shown large.

        Args:
            present: who has a picture, in the order in which they came.
            now_us: never before that of an earlier call.

        Returns:
            One of ``present``; None when there is nobody.
        """
        loudest = next((identity for identity in self._speaking if identity in present), None)
        if loudest != self._loudest:
            self._loudest, self._loudest_since_us = loudest, now_us
        if self._shown not in present:
            self._show(loudest or next(iter(present), None), now_us)
        elif (
            loudest is not None
            and loudest != self._shown
            and now_us - self._loudest_since_us >= LOUDEST_US
            and now_us - self._shown_since_us >= SHOWN_US
        ):
            self._show(loudest, now_us)
        return self._shown

    def _show(self, identity: str | None, now_us: int) -> None:
        self._shown, self._shown_since_us = identity, now_us
