"""Holes are counted once, per track, and not where the recording was paused."""

from __future__ import annotations

from fractions import Fraction

from recorder.core.gap_count import GapCount
from recorder.core.pauses import Pauses
from vault.core.chunk_header import ChunkHeader, ChunkKind
from vault.core.ids import RecordingId

RECORDING = RecordingId("11111111-2222-4333-8444-555555555555")
EPOCH_US = 1_700_000_000_000_000


def header(
    start_ms: int, length_ms: int, *, track: int = 1, offset_us: int = 0, init: bool = False
) -> ChunkHeader:
    return ChunkHeader(
        kind=ChunkKind.INIT if init else ChunkKind.MEDIA,
        recording_id=RECORDING,
        attempt=1,
        track=track,
        run=0,
        time_base=Fraction(1, 1000),
        index=0,
        leaf=0,
        plaintext_bytes=1,
        first_pts=start_ms,
        duration_pts=length_ms,
        offset_us=offset_us,
    )


def test_holes_of_more_than_50_ms_count_and_tracks_are_apart() -> None:
    gaps = GapCount(Pauses(), epoch_us=EPOCH_US)
    for one in (header(0, 1000), header(1050, 950), header(5000, 1000, track=2), header(2051, 900)):
        gaps.add(one)
    assert gaps.count == 1


def test_the_place_of_a_run_counts_and_its_beginning_alone_does_not() -> None:
    gaps = GapCount(Pauses(), epoch_us=EPOCH_US)
    gaps.add(header(0, 1000))
    gaps.add(header(0, 0, offset_us=9_000_000, init=True))
    assert gaps.count == 0
    gaps.add(header(0, 1000, offset_us=3_000_000))
    assert gaps.count == 1


def test_a_pause_is_no_hole() -> None:
    pauses = Pauses()
    gaps = GapCount(pauses, epoch_us=EPOCH_US)
    gaps.add(header(0, 1000))
    pauses.begin(EPOCH_US + 1_000_000)
    pauses.end(EPOCH_US + 3_000_000)
    gaps.add(header(3000, 1000))
    gaps.add(header(4500, 1000))
    assert gaps.count == 1
