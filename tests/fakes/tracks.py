"""A source of synthetic tracks: plays a script of frames into a sink, in time or as fast as it can."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from greenroom.synthetic_picture import FRAMES_PER_S, HEIGHT, WIDTH, PictureSource
from greenroom.synthetic_sound import BLOCK_SAMPLES, make_block
from recorder.core.chunking import TrackKind
from recorder.ports import FrameSink, Picture, Sound, SourceTrack, SourceTrackId
from tests.fakes.media_clock import FakeMediaClock
from vault.core.manifest import CaptureMode

CAMERA = SourceTrackId("TR_camera")
MICROPHONE = SourceTrackId("TR_microphone")


def make_track(track_id: SourceTrackId, kind: TrackKind, name: str = "") -> SourceTrack:
    """A published track of alice."""
    return SourceTrack(track_id=track_id, kind=kind, identity="alice", name=name or kind)


def make_picture(counter: int, *, arrival_us: int, source: PictureSource | None = None) -> Picture:
    """A 720p picture with this number drawn in it."""
    data = (source or PictureSource()).draw(counter).tobytes()
    return Picture(arrival_us=arrival_us, shown_us=arrival_us, width=WIDTH, height=HEIGHT, data=data)


def make_sound(number: int, *, arrival_us: int) -> Sound:
    """10 ms of the synthetic sound, in stereo."""
    data = np.repeat(make_block(number), 2).tobytes()
    return Sound(arrival_us=arrival_us, samples=BLOCK_SAMPLES, data=data)


@dataclass
class FakeTracks:
    """A `TrackSource` with one camera and one microphone, played at the pace of the real clock.

    Attributes:
        seconds: how long it plays; afterwards it waits to be cancelled.
        played: called when all is played.
    """

    seconds: float
    played: Callable[[], None] = lambda: None
    first_second: int = 0
    counters: list[int] = field(default_factory=list)

    @property
    def mode(self) -> CaptureMode:
        """Pictures and sound."""
        return "decoded"

    def want_keyframes(self) -> None:
        """Every picture can be one."""

    async def capture(self, sink: FrameSink) -> None:
        """Play, then wait; ends both tracks when cancelled."""
        sink.track_started(make_track(CAMERA, "video"))
        sink.track_started(make_track(MICROPHONE, "audio"))
        try:
            await self._play(sink)
            self.played()
            await asyncio.Event().wait()
        finally:
            sink.track_ended(CAMERA)
            sink.track_ended(MICROPHONE)

    async def _play(self, sink: FrameSink) -> None:
        pictures = PictureSource()
        began = time.monotonic()
        ticks = round(self.seconds * 100)
        next_frame = 0
        for tick in range(ticks):
            wait = began + (tick + 1) / 100 - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            at_us = round((began + (tick + 1) / 100) * 1_000_000)
            block = self.first_second * 100 + tick
            sink.sound(MICROPHONE, make_sound(block, arrival_us=at_us))
            # frame n is shown when the sample of the same time is heard, 10 ms before its block has come
            while next_frame / FRAMES_PER_S <= tick / 100:
                shown_us = round((began + next_frame / FRAMES_PER_S) * 1_000_000)
                counter = self.first_second * FRAMES_PER_S + next_frame
                sink.picture(CAMERA, make_picture(counter, arrival_us=shown_us, source=pictures))
                self.counters.append(counter)
                next_frame += 1


class QuickTracks:
    """A `TrackSource` with small pictures on a fake clock: plays so many seconds in short time, then waits.

    Attributes:
        played: set when all is played.
        fail: raised then, when it is not None.
    """

    def __init__(self, clock: FakeMediaClock, seconds: int = 3) -> None:
        self.clock = clock
        self.seconds = seconds
        self.played = asyncio.Event()
        self.fail: Exception | None = None

    @property
    def mode(self) -> CaptureMode:
        """Pictures and sound."""
        return "decoded"

    def want_keyframes(self) -> None:
        """Every picture can be one."""

    async def capture(self, sink: FrameSink) -> None:
        """Play, then wait or fail; ends both tracks."""
        sink.track_started(make_track(CAMERA, "video"))
        sink.track_started(make_track(MICROPHONE, "audio"))
        try:
            for _ in range(self.seconds * 100):
                self.clock.advance(0.01)
                at_us = self.clock.us
                if at_us % 100_000 == 0:
                    sink.picture(
                        CAMERA, Picture(arrival_us=at_us, shown_us=None, width=64, height=48, data=b"")
                    )
                sink.sound(MICROPHONE, Sound(arrival_us=at_us, samples=BLOCK_SAMPLES, data=bytes(1920)))
                await asyncio.sleep(0.001)
            self.played.set()
            if self.fail is not None:
                raise self.fail
            await asyncio.Event().wait()
        finally:
            sink.track_ended(CAMERA)
            sink.track_ended(MICROPHONE)
