"""A publisher whose sound card runs at another speed than its clock: the sound stays in its place."""

from __future__ import annotations

import random

import pytest

from recorder.core.chunking import Chunk, InitChunk, MediaChunk
from recorder.core.rtp_clock import ParticipantClock
from recorder.core.units import AccessUnit, CodecSetup
from recorder.ports import SourceTrack, SourceTrackId
from recorder.service import unit_capture
from recorder.service.track_capture import CaptureSetup, TrackCounts
from recorder.service.unit_capture import UnitCapture
from tests.fakes.encoders import FakeEncoders
from tests.fakes.media_clock import FakeMediaClock

OPUS = CodecSetup(codec="opus", channels=2)
MINUTES = 10
NTP_US = 1_795_000_000_000_000


def worst_place_us(ppm: int) -> tuple[int, int]:
    """Capture ten minutes of sound; give how far a chunk lies from its place at most, and the runs."""
    clock, chance, stored = FakeMediaClock(), random.Random(7), list[Chunk]()
    track = SourceTrack(
        track_id=SourceTrackId("TR_1"), kind="audio", identity="alice", name="microphone", is_encoded=True
    )

    def offer(chunk: Chunk) -> bool:
        stored.append(chunk)
        return True

    setup = CaptureSetup(
        epoch_us=0,
        keyframe_interval_s=4,
        encoders=FakeEncoders(),
        clock=clock,
        submit=stored.append,
        offer=offer,
    )
    rtp_clock = ParticipantClock().track(48_000)
    capture = UnitCapture(1, track, setup=setup, counts=TrackCounts(), clock=rtp_clock)
    taken_us: dict[int, int] = {}  # by RTP time: when the microphone took it
    for number in range(MINUTES * 60 * 50):
        at_us = round(number * 20_000 * (1 - ppm / 1e6))
        rtp_time = 1_000 + number * 960
        taken_us[rtp_time] = at_us
        clock.us = at_us + 5_000 + chance.randrange(30_000)
        capture.offer(AccessUnit(rtp_time, clock.us, b"x", True, 960, OPUS))
        if number % 250 == 249:
            rtp_clock.report(rtp_time, NTP_US + at_us)
        if number % 12 == 0:
            capture.tick(clock.us)
    capture.end()
    offsets: list[int] = []  # of each run, as known last
    chunks: list[tuple[int, int, int]] = []  # run, RTP time, pts
    origin = rtp = 1_000
    for chunk in stored:
        if isinstance(chunk, InitChunk):
            offsets.append(chunk.offset_us)
            origin = rtp
        elif isinstance(chunk, MediaChunk):
            offsets[-1] = offsets[-1] if chunk.offset_us is None else chunk.offset_us
            chunks.append((len(offsets) - 1, origin + chunk.fragment.first_pts, chunk.fragment.first_pts))
            rtp = chunks[-1][1] + chunk.fragment.packets * 960
    far = [
        abs(offsets[run] + pts * 1_000_000 // 48_000 - taken_us[rtp_time] - 5_000)
        for run, rtp_time, pts in chunks
    ]
    return max(far), len(offsets)


@pytest.mark.parametrize("ppm", [-100, 0, 100])
def test_sound_stays_within_25_ms_of_its_place_for_ten_minutes(ppm: int) -> None:
    worst_us, runs = worst_place_us(ppm)
    assert worst_us <= 25_000
    assert (runs == 1) == (ppm == 0)


def test_control_without_a_look_at_the_drift_it_goes_60_ms_astray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(unit_capture._DRIFT_US, "audio", 10**9)
    worst_us, runs = worst_place_us(100)
    assert worst_us > 50_000
    assert runs == 1
