"""One track on its thread: runs, fragments by the wall clock, counted drops, failures that stay small."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from recorder.core.chunking import Chunk, InitChunk, MediaChunk, TrackKind
from recorder.core.errors import StoreLostError
from recorder.ports import Picture, Sound
from recorder.service.track_capture import MAX_PICTURES, CaptureSetup, TrackCapture, TrackCounts, seconds_of
from tests.fakes.encoders import FakeEncoders
from tests.fakes.media_clock import FakeMediaClock
from tests.fakes.tracks import CAMERA, MICROPHONE, make_track


@dataclass
class Bench:
    """A capture and what came out of it."""

    kind: TrackKind = "video"
    encoders: FakeEncoders = field(default_factory=FakeEncoders)
    clock: FakeMediaClock = field(default_factory=FakeMediaClock)
    counts: TrackCounts = field(default_factory=TrackCounts)
    chunks: list[Chunk] = field(default_factory=list)
    submit: Callable[[Chunk], None] | None = None

    def __post_init__(self) -> None:
        self.epoch_us = self.clock.us
        self.capture = self.make()

    def make(self, after: TrackCapture | None = None) -> TrackCapture:
        setup = CaptureSetup(
            epoch_us=self.epoch_us,
            keyframe_interval_s=4.0,
            encoders=self.encoders,
            clock=self.clock,
            submit=self.submit or self.chunks.append,
            offer=lambda _chunk: False,
        )
        track_id = CAMERA if self.kind == "video" else MICROPHONE
        return TrackCapture(3, make_track(track_id, self.kind), setup=setup, counts=self.counts, after=after)

    def picture(self, at_s: float, width: int = 64, height: int = 48) -> Picture:
        at_us = self.epoch_us + round(at_s * 1_000_000)
        return Picture(arrival_us=at_us, shown_us=at_us, width=width, height=height, data=b"")

    def sound(self, at_s: float) -> Sound:
        at_us = self.epoch_us + round(at_s * 1_000_000)
        return Sound(arrival_us=at_us, samples=480, data=bytes(480 * 4))

    def play(self, frames: list[Picture] | list[Sound]) -> None:
        """Offer so that nothing is dropped, then end."""
        for frame in frames:
            wait_until(lambda: self.capture._waiting.qsize() < MAX_PICTURES - 1)
            self.capture.offer(frame)
        self.capture.end()
        self.capture.join()

    @property
    def media(self) -> list[MediaChunk]:
        return [chunk for chunk in self.chunks if isinstance(chunk, MediaChunk)]

    @property
    def inits(self) -> list[InitChunk]:
        return [chunk for chunk in self.chunks if isinstance(chunk, InitChunk)]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_video_is_one_run_of_fragments_of_a_second_with_a_keyframe_every_four() -> None:
    bench = Bench()
    bench.capture.start()
    bench.play([bench.picture(0.1 + n / 30) for n in range(180)])
    assert [(init.track, init.identity, init.name) for init in bench.inits] == [(3, "alice", "video")]
    assert bench.chunks[0] is bench.inits[0]
    assert [chunk.fragment.has_keyframe for chunk in bench.media] == [True, False, False, False, True, False]
    assert bench.media[0].fragment.first_pts == 9_000
    assert sum(chunk.fragment.packets for chunk in bench.media) == 180
    assert (bench.counts.frames, bench.counts.dropped) == (180, 0)


def test_another_size_begins_another_run_and_the_tiny_pictures_of_unpublishing_are_left_out() -> None:
    bench = Bench()
    bench.capture.start()
    sizes = [(64, 48)] * 3 + [(32, 24)] * 2 + [(2, 2), (8, 8)]
    bench.play([bench.picture(n / 30, *size) for n, size in enumerate(sizes)])
    assert bench.encoders.made == ["64x48", "32x24"]
    assert [type(chunk).__name__ for chunk in bench.chunks] == [
        "InitChunk",
        "MediaChunk",
        "InitChunk",
        "MediaChunk",
    ]
    assert all(chunk.fragment.has_keyframe for chunk in bench.media)
    assert bench.counts.frames == 5


def test_a_track_that_falls_silent_keeps_nothing_for_itself() -> None:
    bench = Bench()
    bench.capture.start()
    bench.capture.offer(bench.picture(0.0))
    bench.capture.offer(bench.picture(0.03))
    wait_until(lambda: bench.counts.frames == 2)
    assert bench.media == []
    bench.clock.advance(2.0)
    wait_until(lambda: len(bench.media) == 1)
    assert bench.media[0].fragment.packets == 2
    bench.capture.end()
    bench.capture.join()
    assert len(bench.media) == 1


def test_sound_fills_holes_and_counts_them() -> None:
    bench = Bench(kind="audio")
    bench.capture.start()
    bench.play(
        [bench.sound(0.01 * n) for n in range(1, 101)] + [bench.sound(3.0 + 0.01 * n) for n in range(1, 50)]
    )
    assert bench.counts.silence == 2 * 48_000
    assert seconds_of(bench.counts) == pytest.approx(3.49)
    covered = [(c.fragment.first_pts, c.fragment.first_pts + c.fragment.duration_pts) for c in bench.media]
    assert all(end == start for (_, end), (start, _) in pairwise(covered))


def test_sound_after_a_hole_too_long_for_silence_begins_a_run_at_its_place() -> None:
    bench = Bench(kind="audio")
    bench.capture.start()
    bench.play([bench.sound(0.01), bench.sound(0.02), bench.sound(60.0), bench.sound(60.01)])
    assert bench.encoders.made == ["audio", "audio"]
    assert [chunk.fragment.first_pts for chunk in bench.media] == [0, 60 * 48_000 - 480]
    assert bench.counts.silence == 0


def test_frames_beyond_the_queue_are_dropped_and_counted() -> None:
    gate = threading.Event()
    chunks: list[Chunk] = []

    def slow(chunk: Chunk) -> None:
        gate.wait(5)
        chunks.append(chunk)

    bench = Bench(submit=slow)
    bench.capture.start()
    bench.capture.offer(bench.picture(0.0))
    wait_until(lambda: bench.capture._waiting.empty())  # the thread waits at the store now
    for n in range(1, MAX_PICTURES + 6):
        bench.capture.offer(bench.picture(n / 30))
    assert bench.counts.dropped == 5
    gate.set()
    bench.capture.end()
    bench.capture.join()
    assert bench.counts.frames == 1 + MAX_PICTURES


def test_a_broken_encoder_ends_its_track_only(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(encoders=FakeEncoders(broken=True))
    bench.capture.start()
    bench.capture.offer(bench.picture(0.0))
    bench.capture.join()
    assert bench.counts.failed
    assert "track 3 is no longer recorded: the fake encoder is broken" in caplog.text
    bench.capture.offer(bench.picture(0.1))  # ignored
    assert bench.counts.dropped == 0


def test_a_lost_store_ends_the_thread_without_a_word_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    def lost(_: Chunk) -> None:
        raise StoreLostError("gone")

    bench = Bench(submit=lost)
    bench.capture.start()
    bench.capture.offer(bench.picture(0.0))
    bench.capture.join()
    assert not bench.counts.failed
    assert caplog.text == ""


def test_a_track_that_goes_on_after_a_reconnect_stores_its_old_chunks_first() -> None:
    gate = threading.Event()
    chunks: list[Chunk] = []

    def slow(chunk: Chunk) -> None:
        gate.wait(5)
        chunks.append(chunk)

    bench = Bench(submit=slow)
    bench.capture.start()
    bench.capture.offer(bench.picture(0.0))
    bench.capture.end()
    following = bench.make(after=bench.capture)
    following.start()
    following.offer(bench.picture(5.0))
    following.end()
    gate.set()
    following.join()
    media = [chunk.fragment.first_pts for chunk in chunks if isinstance(chunk, MediaChunk)]
    assert media == [0, 450_000]
