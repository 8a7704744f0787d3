"""Coverage: which media time the chunks of an attempt hold, known from their headers without a key.

Also the order that the chunks of a track must stand in, because coverage read from chunks out of order
would mean nothing.

Source: docs/RECORDING.md §7.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from vault.core.chunk_header import ChunkHeader, ChunkKind
from vault.errors import FormatError

MIN_GAP_US: Final = 50_000  # shorter holes are rounding and packet timing, and count as recorded


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCoverage:
    """One init run of a track; microseconds after the attempt's wall clock start."""

    run: int
    init_leaf: int
    offset_us: int
    start_us: int
    end_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackCoverage:
    """What is stored of one track of one attempt; microseconds after the attempt's wall clock start.

    Attributes:
        recorded_us: media time covered, overlaps counted once.
        gaps: holes longer than `MIN_GAP_US` between ``start_us`` and ``end_us``.
        has_last: the track ends with its final chunk, so nothing of it is missing at the end.
    """

    track: int
    start_us: int
    end_us: int
    recorded_us: int
    gaps: tuple[tuple[int, int], ...]
    has_last: bool
    runs: tuple[RunCoverage, ...]


@dataclass(slots=True)
class _Run:
    init_leaf: int
    offset_us: int
    spans: list[tuple[int, int]] = field(default_factory=list)  # before the offset


@dataclass(slots=True)
class _Track:
    next_index: int = 0
    has_last: bool = False
    runs: list[_Run] = field(default_factory=list)


class CoverageBuilder:
    """Takes the headers of one attempt in leaf order."""

    def __init__(self) -> None:
        self._tracks: dict[int, _Track] = {}

    def add(self, header: ChunkHeader) -> None:
        """Take the next leaf's header.

        Raises:
            FormatError: the chunk cannot come at this point of its track.
        """
        track = self._tracks.get(header.track, _Track())
        if track.has_last:
            raise FormatError(f"it comes after the last chunk of track {header.track}")
        if header.index != track.next_index:
            raise FormatError(
                f"it is chunk {header.index} of track {header.track} where chunk {track.next_index} is due"
            )
        if header.run != len(track.runs) - (header.kind is not ChunkKind.INIT):
            raise FormatError(f"it is of init run {header.run} of track {header.track}, which is not open")
        self._tracks[header.track] = track
        track.next_index += 1
        if header.kind is ChunkKind.INIT:
            track.runs.append(_Run(header.leaf, header.offset_us))
            return
        run = track.runs[-1]
        run.offset_us = header.offset_us  # the latest chunk of a run knows its offset best
        if header.kind is ChunkKind.LAST:
            track.has_last = True
        else:
            run.spans.append(_span_us(header))

    def tracks(self) -> list[TrackCoverage]:
        """The coverage of every track so far, in order of track number."""
        return [_cover(number, track) for number, track in sorted(self._tracks.items())]


def _span_us(header: ChunkHeader) -> tuple[int, int]:
    scale, den = header.time_base.numerator * 1_000_000, header.time_base.denominator
    end_pts = header.first_pts + header.duration_pts
    return header.first_pts * scale // den, end_pts * scale // den


def _cover(number: int, track: _Track) -> TrackCoverage:
    runs = tuple(_cover_run(index, run) for index, run in enumerate(track.runs))
    spans = sorted(
        (run.offset_us + start, run.offset_us + end) for run in track.runs for start, end in run.spans
    )
    if not spans:
        spans = [(track.runs[0].offset_us, track.runs[0].offset_us)]
    start_us, end_us = spans[0][0], max(end for _, end in spans)
    gaps = tuple(find_gaps(spans))
    missing_us = sum(end - start for start, end in gaps)
    return TrackCoverage(
        track=number,
        start_us=start_us,
        end_us=end_us,
        recorded_us=end_us - start_us - missing_us,
        gaps=gaps,
        has_last=track.has_last,
        runs=runs,
    )


def _cover_run(number: int, run: _Run) -> RunCoverage:
    starts = [start for start, _ in run.spans] or [0]
    ends = [end for _, end in run.spans] or [0]
    return RunCoverage(
        run=number,
        init_leaf=run.init_leaf,
        offset_us=run.offset_us,
        start_us=run.offset_us + min(starts),
        end_us=run.offset_us + max(ends),
    )


def find_gaps(spans: Iterable[tuple[int, int]]) -> Iterable[tuple[int, int]]:
    """The holes longer than `MIN_GAP_US` that ``spans``, sorted by start, leave between them."""
    reached: int | None = None
    for start, end in spans:
        if reached is not None and start - reached > MIN_GAP_US:
            yield reached, start
        reached = end if reached is None else max(reached, end)
