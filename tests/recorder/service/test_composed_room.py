"""A room becomes one picture and one mix on an even clock, up to the moment at which capture stops."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from recorder.adapters.system_clock import SystemClock
from recorder.core.errors import RemovedFromRoomError
from recorder.core.layout import Layout
from recorder.core.quality import QUALITIES
from recorder.core.units import AccessUnit
from recorder.ports import (
    FrameSink,
    Picture,
    PlacedPicture,
    RoomListener,
    Sound,
    SourceTrack,
    SourceTrackId,
)
from recorder.service.composed_room import LATENCY_US, PICTURE, SOUND, ComposedRoom
from tests.fakes.tracks import CAMERA, MICROPHONE, make_track
from vault.core.manifest import CaptureMode

LOW = QUALITIES["low"]  # 15 pictures a second
FRAME_US = 1_000_000 / 15
CLOCK = SystemClock()


class Played:
    """A `ListenedSource` that films numbers and hums for so many seconds, then does what it was told."""

    def __init__(
        self, seconds: float, then: Callable[[], None] = lambda: None, *, video: bool = True
    ) -> None:
        self.listener: RoomListener | None = None
        self.seconds = seconds
        self.then = then
        self.video = video
        self.asked = 0
        self.stays = False  # waits to be cancelled, as a room does
        self.at_us: list[int] = []  # when each number was shown

    @property
    def mode(self) -> CaptureMode:
        return "decoded"

    def want_keyframes(self) -> None:
        self.asked += 1

    async def capture(self, sink: FrameSink) -> None:
        if self.video:
            sink.track_started(make_track(CAMERA, "video"))
        sink.track_started(make_track(MICROPHONE, "audio"))
        try:
            began = CLOCK.monotonic_us()
            for tick in range(round(self.seconds * 100)):
                await asyncio.sleep(max(0, began + (tick + 1) * 10_000 - CLOCK.monotonic_us()) / 1_000_000)
                at_us = began + (tick + 1) * 10_000
                level = np.full(960, 1_000 + tick, dtype=np.int16).tobytes()
                sink.sound(MICROPHONE, Sound(arrival_us=at_us, samples=480, data=level))
                if self.video and tick % 4 == 0:
                    sink.picture(CAMERA, self.film(len(self.at_us), at_us))
            self.then()
            if self.stays:
                await asyncio.Event().wait()
        finally:
            sink.track_ended(CAMERA)
            sink.track_ended(MICROPHONE)

    def film(self, number: int, at_us: int) -> Picture:
        self.at_us.append(at_us)
        return Picture(arrival_us=at_us, shown_us=None, width=64, height=36, data=b"%d" % number)


class Numbers:
    """A `Canvas` that writes down the numbers that stand on it."""

    def draw(self, placed: Sequence[PlacedPicture]) -> bytes:
        return b" ".join(bytes(one.picture.data) for one in placed)


class Sink:
    """A `FrameSink` that remembers."""

    def __init__(self) -> None:
        self.started: list[SourceTrack] = []
        self.ended: list[SourceTrackId] = []
        self.pictures: list[Picture] = []
        self.sounds: list[Sound] = []

    def track_started(self, track: SourceTrack) -> None:
        self.started.append(track)

    def picture(self, track_id: SourceTrackId, picture: Picture) -> None:
        assert track_id == PICTURE.track_id
        self.pictures.append(picture)

    def sound(self, track_id: SourceTrackId, sound: Sound) -> None:
        assert track_id == SOUND.track_id
        self.sounds.append(sound)

    def unit(self, track_id: SourceTrackId, unit: AccessUnit) -> None:
        raise AssertionError

    def sender_reported(self, track_id: SourceTrackId, rtp_time: int, ntp_us: int) -> None:
        raise AssertionError

    def lost(self, track_id: SourceTrackId, packets: int) -> None:
        raise AssertionError

    def opened(self, identity: str, *, is_opened: bool) -> None:
        raise AssertionError("nothing is encrypted")

    def track_ended(self, track_id: SourceTrackId) -> None:
        self.ended.append(track_id)


def composed(source: Played, layout: Layout | None = "grid") -> ComposedRoom:
    return ComposedRoom(
        source, clock=CLOCK, quality=LOW, layout=layout, canvas=lambda _width, _height: Numbers()
    )


async def captured(source: Played, layout: Layout | None = "grid") -> Sink:
    """Capture until the source says that it has played, then cancel as a cut mark does."""
    played, sink = asyncio.Event(), Sink()
    source.then, source.stays = played.set, True
    task = asyncio.create_task(composed(source, layout).capture(sink))
    await asyncio.wait_for(played.wait(), 20)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled() or task.exception() is None
    return sink


async def test_one_picture_and_one_mix_of_nobody() -> None:
    sink = await captured(Played(0.5))
    assert {track.track_id for track in sink.started} == {PICTURE.track_id, SOUND.track_id}
    assert {(track.identity, track.name) for track in sink.started} == {("", "composite"), ("", "mix")}
    assert sink.ended == [PICTURE.track_id, SOUND.track_id]
    assert {(picture.width, picture.height) for picture in sink.pictures} == {(640, 360)}


async def test_the_clock_is_even_and_each_picture_is_the_one_of_its_time() -> None:
    source = Played(1.2)
    sink = await captured(source)
    times = [picture.arrival_us for picture in sink.pictures]
    steps = {later - earlier for earlier, later in pairwise(times)}
    assert all(abs(step / FRAME_US - round(step / FRAME_US)) < 0.001 for step in steps)
    for picture in sink.pictures:
        shown = source.at_us[int(bytes(picture.data))]
        assert abs(shown - picture.arrival_us) <= 40_000  # a camera's interval
    assert all(later.arrival_us - earlier.arrival_us == 20_000 for earlier, later in pairwise(sink.sounds))


async def test_what_was_captured_up_to_the_cut_is_given_though_it_is_waited_for_otherwise() -> None:
    source = Played(0.6)
    sink = await captured(source)
    assert source.at_us[-1] - sink.pictures[-1].arrival_us < 2 * FRAME_US < LATENCY_US
    assert bytes(sink.pictures[-1].data)  # the camera is still on the stage
    heard = np.frombuffer(b"".join(bytes(sound.data) for sound in sink.sounds), dtype=np.int16)
    assert heard.max() >= 1_000 + 60 - 4


async def test_without_layout_there_is_sound_alone() -> None:
    sink = await captured(Played(0.4), None)
    assert [track.track_id for track in sink.started] == [SOUND.track_id]
    assert not sink.pictures
    assert len(sink.sounds) >= 15


async def test_without_a_camera_there_is_no_picture() -> None:
    sink = await captured(Played(0.4, video=False))
    assert [track.track_id for track in sink.started] == [SOUND.track_id]


async def test_a_muted_camera_leaves_the_picture() -> None:
    source, sink = Played(0.8), Sink()
    room = composed(source)
    source.then = lambda: None
    task = asyncio.create_task(room.capture(sink))
    await asyncio.sleep(0.4)
    assert source.listener is room
    room.muted(CAMERA, is_muted=True)
    await asyncio.wait({task})
    assert bytes(sink.pictures[0].data)
    assert not bytes(sink.pictures[-1].data)


async def test_what_ends_the_source_comes_out() -> None:
    def put_out() -> None:
        raise RemovedFromRoomError("put out")

    source, sink = Played(0.1, put_out), Sink()
    with pytest.raises(RemovedFromRoomError):
        await composed(source).capture(sink)
    assert sink.ended == [PICTURE.track_id, SOUND.track_id]


async def test_a_canvas_that_is_too_slow_leaves_pictures_out_and_keeps_their_places(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Slow(Numbers):
        def draw(self, placed: Sequence[PlacedPicture]) -> bytes:
            time.sleep(0.3)  # more than four pictures' time
            return super().draw(placed)

    source, sink = Played(1.2), Sink()
    room = ComposedRoom(source, clock=CLOCK, quality=LOW, layout="grid", canvas=lambda *_: Slow())
    await room.capture(sink)
    assert 3 <= len(sink.pictures) <= 13
    for picture in sink.pictures[:-1]:
        assert abs(source.at_us[int(bytes(picture.data))] - picture.arrival_us) <= 40_000
    assert "pictures" in caplog.text
    assert len(sink.sounds) >= 55  # the sound does not wait for the picture


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


async def test_an_event_loop_that_stood_still_loses_no_sound() -> None:
    source, sink = Played(1.0), Sink()
    task = asyncio.create_task(composed(source).capture(sink))
    await asyncio.sleep(0.4)
    time.sleep(0.1 + LATENCY_US / 1_000_000)
    await asyncio.wait({task})
    heard = np.frombuffer(b"".join(bytes(sound.data) for sound in sink.sounds), dtype=np.int16)
    assert set(heard) >= set(range(1_000, 1_095))


async def test_a_cut_while_the_room_is_closing_loses_nothing() -> None:
    source, sink = Played(0.4), Sink()
    task = asyncio.create_task(composed(source).capture(sink))
    source.then = partial(_cancel, task)
    await asyncio.wait({task})
    assert sink.ended == [PICTURE.track_id, SOUND.track_id]
    assert len(sink.sounds) == 20


async def test_a_wish_for_keyframes_is_passed_on() -> None:
    source = Played(0.1)
    composed(source).want_keyframes()
    assert source.asked == 1
