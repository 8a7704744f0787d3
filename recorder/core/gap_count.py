"""Counts the holes in what is stored of an attempt's tracks, as they come; pauses are no holes.

Source: docs/RECORDING.md §7 (what a gap is).
"""

from __future__ import annotations

from recorder.core.pauses import Pauses
from vault.core.chunk_header import ChunkHeader, ChunkKind
from vault.core.coverage import MIN_GAP_US


class GapCount:
    """Takes the headers of an attempt's chunks, those of each track in their order."""

    def __init__(self, pauses: Pauses, *, epoch_us: int) -> None:
        """Make one.

        Args:
            pauses: of the recording, as known by now.
            epoch_us: Unix time in microseconds at which the attempt begins.
        """
        self._pauses = pauses
        self._epoch_us = epoch_us
        self._reached: dict[int, int] = {}  # by track
        self.count = 0

    def add(self, header: ChunkHeader) -> None:
        """Take the next chunk's header."""
        if header.kind is not ChunkKind.MEDIA:
            return
        scale = header.time_base * 1_000_000
        start_us = header.offset_us + int(header.first_pts * scale)
        end_us = start_us + int(header.duration_pts * scale)
        reached_us = self._reached.get(header.track)
        self._reached[header.track] = end_us if reached_us is None else max(reached_us, end_us)
        if reached_us is None or start_us - reached_us <= MIN_GAP_US:
            return
        since_us, until_us = self._epoch_us + reached_us, self._epoch_us + start_us
        if not self._pauses.length_us(since_us=since_us, until_us=until_us):
            self.count += 1
