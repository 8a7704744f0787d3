"""Coverage adds up what headers say, and chunks out of their order are refused."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.recordings import RECORDING
from vault.core.chunk_header import ChunkHeader, ChunkKind
from vault.core.coverage import MIN_GAP_US, CoverageBuilder, RunCoverage, TrackCoverage, find_gaps
from vault.errors import FormatError


class Attempt:
    """Makes headers with the numbers that come next, and adds them."""

    def __init__(self) -> None:
        self.builder = CoverageBuilder()
        self.leaf = 0
        self.index: dict[int, int] = {}
        self.run: dict[int, int] = {}

    def add(
        self, track: int, kind: ChunkKind, *, first_ms: int = 0, last_ms: int = 0, offset_us: int = 0
    ) -> None:
        self.run[track] = self.run.get(track, -1) + (kind is ChunkKind.INIT)
        index = self.index.setdefault(track, 0)
        header = ChunkHeader(
            kind=kind,
            recording_id=RECORDING,
            attempt=1,
            track=track,
            run=max(self.run[track], 0),
            time_base=Fraction(1, 1000),
            index=index,
            leaf=self.leaf,
            plaintext_bytes=0 if kind is ChunkKind.LAST else 1,
            first_pts=first_ms,
            duration_pts=last_ms - first_ms,
            offset_us=offset_us,
        )
        self.builder.add(header)
        self.index[track] += 1
        self.leaf += 1

    def cover(self) -> TrackCoverage:
        (coverage,) = self.builder.tracks()
        return coverage


def test_a_track_without_holes() -> None:
    attempt = Attempt()
    attempt.add(1, ChunkKind.INIT, offset_us=250_000)
    attempt.add(1, ChunkKind.MEDIA, first_ms=0, last_ms=1000, offset_us=250_000)
    attempt.add(1, ChunkKind.MEDIA, first_ms=1000, last_ms=1900, offset_us=250_000)
    attempt.add(1, ChunkKind.LAST, offset_us=250_000)
    assert attempt.cover() == TrackCoverage(
        track=1,
        start_us=250_000,
        end_us=2_150_000,
        recorded_us=1_900_000,
        gaps=(),
        has_last=True,
        runs=(RunCoverage(run=0, init_leaf=0, offset_us=250_000, start_us=250_000, end_us=2_150_000),),
    )


def test_a_hole_is_a_gap_and_a_short_one_is_recorded() -> None:
    attempt = Attempt()
    attempt.add(1, ChunkKind.INIT)
    for first_ms, last_ms in ((0, 1000), (1050, 2000), (2051, 3000)):
        attempt.add(1, ChunkKind.MEDIA, first_ms=first_ms, last_ms=last_ms)
    assert attempt.cover().gaps == ((2_000_000, 2_051_000),)
    assert attempt.cover().recorded_us == 3_000_000 - 51_000
    assert not attempt.cover().has_last


def test_the_latest_chunk_of_a_run_knows_its_offset() -> None:
    attempt = Attempt()
    attempt.add(1, ChunkKind.INIT, offset_us=100_000)
    attempt.add(1, ChunkKind.MEDIA, first_ms=0, last_ms=1000, offset_us=100_000)
    attempt.add(1, ChunkKind.MEDIA, first_ms=1000, last_ms=2000, offset_us=130_000)
    assert attempt.cover().runs[0].offset_us == 130_000
    assert (attempt.cover().start_us, attempt.cover().end_us) == (130_000, 2_130_000)


def test_runs_stand_on_one_timeline() -> None:
    attempt = Attempt()
    attempt.add(7, ChunkKind.INIT)
    attempt.add(7, ChunkKind.MEDIA, first_ms=0, last_ms=1000)
    attempt.add(7, ChunkKind.INIT, offset_us=5_000_000)
    attempt.add(7, ChunkKind.MEDIA, first_ms=500, last_ms=1500, offset_us=5_000_000)
    coverage = attempt.cover()
    assert coverage.gaps == ((1_000_000, 5_500_000),)
    assert [(run.init_leaf, run.start_us, run.end_us) for run in coverage.runs] == [
        (0, 0, 1_000_000),
        (2, 5_500_000, 6_500_000),
    ]


def test_a_track_without_media_covers_nothing() -> None:
    attempt = Attempt()
    attempt.add(1, ChunkKind.INIT, offset_us=9)
    attempt.add(1, ChunkKind.LAST, offset_us=9)
    coverage = attempt.cover()
    assert (coverage.start_us, coverage.end_us, coverage.recorded_us, coverage.gaps) == (9, 9, 0, ())


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(1, 100)), min_size=1, max_size=20))
def test_recorded_and_gaps_make_the_whole(spans: list[tuple[int, int]]) -> None:
    attempt = Attempt()
    attempt.add(1, ChunkKind.INIT)
    for start, length in spans:
        attempt.add(1, ChunkKind.MEDIA, first_ms=start * 20, last_ms=(start + length) * 20)
    coverage = attempt.cover()
    covered = {tick for start, length in spans for tick in range(start, start + length)}
    holes = set(range(min(covered), max(covered) + 1)) - covered
    missing_us = sum(end - start for start, end in coverage.gaps)
    assert coverage.recorded_us + missing_us == coverage.end_us - coverage.start_us
    assert missing_us <= len(holes) * 20_000
    assert all(end - start > MIN_GAP_US for start, end in coverage.gaps)


def test_gaps_are_found_under_overlaps() -> None:
    assert list(find_gaps([(0, 500_000), (100, 200), (600_000, 700_000)])) == [(500_000, 600_000)]
    assert list(find_gaps([])) == []


@pytest.mark.parametrize("kind", [ChunkKind.MEDIA, ChunkKind.LAST])
def test_a_track_begins_with_an_init_part(kind: ChunkKind) -> None:
    with pytest.raises(FormatError, match="is not open"):
        Attempt().add(1, kind)


@pytest.mark.parametrize("kind", list(ChunkKind))
def test_nothing_comes_after_the_last_chunk(kind: ChunkKind) -> None:
    attempt = Attempt()
    attempt.add(1, ChunkKind.INIT)
    attempt.add(1, ChunkKind.LAST)
    with pytest.raises(FormatError, match="after the last chunk of track 1"):
        attempt.add(1, kind)


@pytest.mark.parametrize("index", [0, 2])
def test_a_chunk_repeated_or_left_out_is_refused(index: int) -> None:
    attempt = Attempt()
    attempt.add(1, ChunkKind.INIT)
    attempt.index[1] = index
    with pytest.raises(FormatError, match=f"it is chunk {index} of track 1 where chunk 1 is due"):
        attempt.add(1, ChunkKind.MEDIA, last_ms=1000)


def test_a_chunk_of_another_run_is_refused() -> None:
    attempt = Attempt()
    attempt.add(1, ChunkKind.INIT)
    attempt.run[1] = 1
    with pytest.raises(FormatError, match="init run 1 of track 1"):
        attempt.add(1, ChunkKind.MEDIA, last_ms=1000)
