"""One encoded track: runs, holes, places, a slow store, the capture before it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from recorder.core.chunking import Chunk, InitChunk, MediaChunk, TrackKind
from recorder.core.errors import StoreLostError
from recorder.core.rtp_clock import ParticipantClock
from recorder.core.units import AccessUnit, CodecSetup
from recorder.ports import SourceTrack, SourceTrackId
from recorder.service.track_capture import CaptureSetup, TrackCounts
from recorder.service.unit_capture import MAX_BACKLOG_BYTES, UnitCapture
from tests.fakes.encoders import FakeEncoders
from tests.fakes.media_clock import FakeMediaClock
from tests.fakes.rtp_media import TICKS, packets, pictures, receive

UNITS = receive("h264", packets(pictures(90, size=(64, 64), keyframes=frozenset({45, 60}))))


class World:
    """A capture over a store of lists."""

    def __init__(self, kind: TrackKind = "video") -> None:
        self.clock = FakeMediaClock()
        self.clock.us = 0  # as the attempt's beginning
        self.stored: list[Chunk] = []
        self.room = 10_000
        self.is_lost = False
        self.counts = TrackCounts()
        self.participant = ParticipantClock()
        self.rtp_clock = self.participant.track(90_000 if kind == "video" else 48_000)
        track = SourceTrack(
            track_id=SourceTrackId("TR_1"),
            kind=kind,
            identity="alice",
            name="camera",
            is_encoded=True,
        )
        self.capture = UnitCapture(3, track, setup=self.setup(), counts=self.counts, clock=self.rtp_clock)
        self.track = track

    def setup(self) -> CaptureSetup:
        return CaptureSetup(
            epoch_us=0,
            keyframe_interval_s=4,
            encoders=FakeEncoders(),
            clock=self.clock,
            submit=self.stored.append,
            offer=self.offer,
        )

    def offer(self, chunk: Chunk) -> bool:
        if self.is_lost:
            raise StoreLostError("full")
        if len(self.stored) >= self.room:
            return False
        self.stored.append(chunk)
        return True

    def feed(self, units: list[AccessUnit], *, at_us: int = 0) -> None:
        """Offer units 30 a second, arriving when they were taken."""
        first = UNITS[0].rtp_time
        for unit in units:
            moment = at_us + (unit.rtp_time - first) * 100 // 9
            self.capture.offer(replace(unit, arrival_us=moment))

    @property
    def media(self) -> list[MediaChunk]:
        return [chunk for chunk in self.stored if isinstance(chunk, MediaChunk)]

    @property
    def runs(self) -> list[InitChunk]:
        return [chunk for chunk in self.stored if isinstance(chunk, InitChunk)]


def test_three_seconds_are_three_fragments_of_one_run() -> None:
    world = World()
    world.feed(UNITS)
    world.capture.end()
    assert isinstance(world.stored[0], InitChunk)
    assert (world.runs[0].track, world.runs[0].format.codec) == (3, "h264")
    assert [chunk.fragment.packets for chunk in world.media] == [30, 30, 30]
    assert [chunk.fragment.first_pts for chunk in world.media] == [0, 30 * TICKS, 60 * TICKS]
    assert sum(chunk.fragment.duration_pts for chunk in world.media) == 90 * TICKS
    assert (world.counts.frames, world.counts.dropped) == (90, 0)
    assert not world.capture.is_alive


def test_a_run_begins_with_a_keyframe_and_another_setup_begins_another() -> None:
    world = World()
    other = replace(UNITS[0].setup, width=32)
    world.feed(UNITS[10:50])  # 45 is the first keyframe here
    world.feed([replace(unit, setup=other) for unit in UNITS[50:70]])  # 60 is one
    world.capture.end()
    assert [run.format.width for run in world.runs] == [64, 32]
    assert world.counts.frames == 5 + 10
    assert world.counts.dropped == 35 + 10


def test_a_track_that_falls_silent_is_cut_by_the_clock() -> None:
    world = World()
    world.feed(UNITS[:10])
    world.capture.tick(900_000)
    assert not world.media
    world.capture.tick(1_300_000)
    assert [chunk.fragment.packets for chunk in world.media] == [10]


def test_a_long_hole_lies_between_fragments() -> None:
    world = World()
    world.feed(UNITS[:5])
    world.feed(UNITS[60:65])
    world.capture.end()
    assert [chunk.fragment.packets for chunk in world.media] == [5, 5]
    assert [chunk.fragment.duration_pts for chunk in world.media] == [5 * TICKS, 5 * TICKS]


def test_what_does_not_rise_is_left_out() -> None:
    world = World()
    world.feed([UNITS[0], UNITS[1], UNITS[1], UNITS[0]])
    world.capture.end()
    assert (world.counts.frames, world.counts.dropped) == (2, 2)


def test_the_place_is_refined_until_a_report_came_and_then_stays() -> None:
    world = World()
    world.feed(UNITS[:31], at_us=100_000)  # the first arrived late …
    world.feed(UNITS[31:62], at_us=40_000)  # … the others not
    world.rtp_clock.report(UNITS[61].rtp_time, 1_000_000_000)
    world.feed(UNITS[62:], at_us=40_000)
    world.capture.end()
    offsets = [chunk.offset_us for chunk in world.media]
    assert offsets[0] == pytest.approx(100_000, abs=100)
    assert offsets[-1] == pytest.approx(40_000, abs=100)
    assert world.runs[0].offset_us == pytest.approx(100_000, abs=100)


def test_a_run_that_drifted_off_its_place_ends_at_the_next_keyframe() -> None:
    world = World()
    world.rtp_clock.report(UNITS[0].rtp_time, 0)
    world.feed(UNITS[:40])
    world.rtp_clock.report(UNITS[40].rtp_time, 40 * 33_333 - 90_000)  # its clock runs ahead
    late = ParticipantClock.track(world.participant, 90_000)
    late.arrived(0, -200_000)
    late.report(0, 0)  # a track that shows a lesser delay
    world.capture.tick(1_333_000)
    world.feed(UNITS[40:])
    world.capture.end()
    assert len(world.runs) >= 2
    assert world.media[-1].fragment.first_pts < 45 * TICKS


def test_a_slow_store_is_waited_for_without_blocking_and_in_order() -> None:
    world = World()
    world.room = 2
    world.feed(UNITS)
    assert len(world.stored) == 2
    assert world.capture.is_alive
    world.room = 10_000
    world.capture.tick(0)
    world.capture.end()
    assert [chunk.fragment.first_pts for chunk in world.media] == [0, 30 * TICKS, 60 * TICKS]


def test_a_store_that_stays_slow_costs_media_and_no_memory() -> None:
    world = World()
    world.room = 1
    big = CodecSetup(codec="opus", channels=2)
    sound = World("audio")
    sound.room = 1
    block = bytes(1024 * 1024)
    for number in range(200):
        sound.capture.offer(AccessUnit(number * 48_000, number * 1_000_000, block, True, 960, big))
    assert sound.counts.dropped > 0
    held = sum(len(c.fragment.data) for c in sound.capture._backlog if isinstance(c, MediaChunk))
    assert held <= MAX_BACKLOG_BYTES


def test_what_waits_at_the_end_is_submitted_by_join() -> None:
    world = World()
    world.room = 0
    world.feed(UNITS)
    world.capture.end()
    assert world.capture.is_alive
    world.capture.join()
    assert not world.capture.is_alive
    assert len(world.media) == 3


def test_the_capture_before_goes_first() -> None:
    world = World()
    world.room = 0
    world.feed(UNITS)
    world.capture.end()
    second = UnitCapture(
        3, world.track, setup=world.setup(), counts=world.counts, clock=world.rtp_clock, after=world.capture
    )
    second.offer(UNITS[0])
    world.room = 10_000
    second.tick(2_000_000)
    assert not world.stored
    second.end()
    second.join()
    assert [type(chunk) for chunk in world.stored] == [InitChunk, *[MediaChunk] * 3, InitChunk, MediaChunk]


def test_a_lost_store_ends_it_quietly() -> None:
    world = World()
    world.is_lost = True
    world.feed(UNITS)
    world.capture.end()
    assert not world.capture.is_alive
