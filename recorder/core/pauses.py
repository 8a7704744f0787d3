"""The pauses of one recording, over all its attempts: what the manifest declares of them.

Source: docs/RECORDING.md §5.2 (gaps, cut_marks_us).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from vault.core.manifest import Gap

PAUSED: Final = "paused"


class Pauses:
    """Pauses in Unix microseconds; the last one may be open."""

    def __init__(self, earlier: Sequence[dict[str, Any]] = ()) -> None:
        """Go on from what earlier attempts reported (as `stated` gives it).

        Raises:
            ValueError: an entry has no whole-numbered start_us, or another end_us (the sender's fault).
        """
        self._closed: list[tuple[int, int]] = []
        self._open: int | None = None
        for entry in earlier:
            start_us, end_us = entry.get("start_us"), entry.get("end_us")
            if not isinstance(start_us, int) or not isinstance(end_us, int | None):
                raise ValueError("a pause lacks a whole-numbered start_us, or has another end_us")
            if end_us is None:
                self._open = start_us
            else:
                self._closed.append((start_us, end_us))

    @property
    def is_open(self) -> bool:
        """Whether a pause goes on."""
        return self._open is not None

    @property
    def marks_us(self) -> list[int]:
        """When capture was told to pause, rising."""
        return sorted([start for start, _ in self._closed] + ([self._open] if self._open is not None else []))

    def begin(self, at_us: int) -> None:
        """Note that nothing is written from now on; one that goes on already goes on."""
        if self._open is None:
            self._open = at_us

    def end(self, at_us: int) -> None:
        """Note that media is written again, or that capture is over."""
        if self._open is not None:
            self._closed.append((self._open, max(at_us, self._open)))
            self._open = None

    def length_us(self, *, since_us: int, until_us: int) -> int:
        """Give how much of a stretch of time was paused."""
        spans = [*self._closed, *([(self._open, until_us)] if self._open is not None else [])]
        return sum(max(0, min(end, until_us) - max(start, since_us)) for start, end in spans)

    def gaps(self) -> list[Gap]:
        """Give the pauses that ended, as the manifest declares them."""
        return [Gap(start_us=start, end_us=end, reason=PAUSED) for start, end in self._closed]

    def stated(self) -> list[dict[str, Any]]:
        """Give all of them as they are reported; the open one has no end."""
        stated: list[dict[str, Any]] = [
            {"start_us": start, "end_us": end, "reason": PAUSED} for start, end in self._closed
        ]
        if self._open is not None:
            stated.append({"start_us": self._open, "reason": PAUSED})
        return stated
