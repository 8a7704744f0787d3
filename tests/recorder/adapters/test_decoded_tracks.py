"""The tracks of a real room: those that are there, that come, go, change, and come back after a loss."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
from livekit import api, rtc

from recorder.adapters.decoded_tracks import DecodedTracks
from recorder.adapters.system_clock import SystemClock
from recorder.core.units import AccessUnit
from recorder.ports import Picture, Sound, SourceTrack, SourceTrackId
from sdk.wire import ATTRIBUTE_SERVICE
from tests.integration.servers import SharedLiveKit

pytestmark = [pytest.mark.integration, pytest.mark.media]


class Sink:
    """A `FrameSink` that remembers."""

    def __init__(self) -> None:
        self.tracks: dict[SourceTrackId, SourceTrack] = {}
        self.live: set[SourceTrackId] = set()
        self.pictures: list[tuple[SourceTrackId, Picture]] = []
        self.sounds: list[tuple[SourceTrackId, Sound]] = []

    def track_started(self, track: SourceTrack) -> None:
        self.tracks[track.track_id] = track
        self.live.add(track.track_id)

    def picture(self, track_id: SourceTrackId, picture: Picture) -> None:
        assert track_id in self.live
        self.pictures.append((track_id, picture))

    def sound(self, track_id: SourceTrackId, sound: Sound) -> None:
        assert track_id in self.live
        self.sounds.append((track_id, sound))

    def unit(self, track_id: SourceTrackId, unit: AccessUnit) -> None:
        raise AssertionError("decoded tracks give no units")

    def sender_reported(self, track_id: SourceTrackId, rtp_time: int, ntp_us: int) -> None:
        raise AssertionError("decoded tracks know no RTP times")

    def lost(self, track_id: SourceTrackId, packets: int) -> None:
        raise AssertionError("decoded tracks know no packets")

    def track_ended(self, track_id: SourceTrackId) -> None:
        self.live.discard(track_id)


@dataclass
class Publisher:
    """A participant with a small camera and a microphone of silence."""

    room: rtc.Room
    width: int = 160
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def publish_camera(self) -> str:
        source = rtc.VideoSource(160, 120)
        track = rtc.LocalVideoTrack.create_video_track("camera", source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_CAMERA, simulcast=False)
        published = await self.room.local_participant.publish_track(track, options)
        self.tasks.append(asyncio.create_task(self._film(source)))
        return published.sid

    async def publish_microphone(self) -> str:
        source = rtc.AudioSource(48_000, 1, queue_size_ms=0)
        track = rtc.LocalAudioTrack.create_audio_track("", source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        published = await self.room.local_participant.publish_track(track, options)
        self.tasks.append(asyncio.create_task(self._hum(source)))
        return published.sid

    async def _film(self, source: rtc.VideoSource) -> None:
        number = 0
        while True:
            number += 1
            size = self.width * (self.width * 3 // 4)
            data = np.full(size * 3 // 2, number % 200, dtype=np.uint8).tobytes()
            frame = rtc.VideoFrame(self.width, self.width * 3 // 4, rtc.VideoBufferType.I420, data)
            source.capture_frame(frame)
            await asyncio.sleep(1 / 20)

    async def _hum(self, source: rtc.AudioSource) -> None:
        while True:
            await source.capture_frame(rtc.AudioFrame(bytes(960), 48_000, 1, 480))
            await asyncio.sleep(0.01)


@dataclass
class Room:
    """A room, and who joins it."""

    server: SharedLiveKit
    name: str

    def token(self, identity: str, attributes: dict[str, str]) -> str:
        token = api.AccessToken(self.server.api_key, self.server.api_secret).with_identity(identity)
        grants = api.VideoGrants(room_join=True, room=self.name)
        return token.with_grants(grants).with_attributes(attributes).to_jwt()

    async def join(self, room: rtc.Room, identity: str, **attributes: str) -> None:
        given = {ATTRIBUTE_SERVICE: attributes["service"]} if attributes else {}
        await room.connect(self.server.url, self.token(identity, given))

    @asynccontextmanager
    async def publisher(self, identity: str, **attributes: str) -> AsyncIterator[Publisher]:
        publisher = Publisher(rtc.Room())
        await self.join(publisher.room, identity, **attributes)
        try:
            yield publisher
        finally:
            for task in publisher.tasks:
                task.cancel()
            if publisher.tasks:
                await asyncio.wait(publisher.tasks)
            await publisher.room.disconnect()

    @asynccontextmanager
    async def captured(self) -> AsyncIterator[tuple[Sink, rtc.Room, asyncio.Task[None]]]:
        recorder, sink = rtc.Room(), Sink()
        await self.join(recorder, "recorder")
        task = asyncio.create_task(DecodedTracks(recorder, SystemClock()).capture(sink))
        try:
            yield sink, recorder, task
        finally:
            task.cancel()
            await asyncio.wait({task})
            await recorder.disconnect()


@pytest.fixture
async def room(livekit_server: SharedLiveKit) -> AsyncIterator[Room]:
    made = Room(livekit_server, f"room-{uuid.uuid4()}")
    url = livekit_server.url.replace("ws", "http", 1)
    async with api.LiveKitAPI(url, livekit_server.api_key, livekit_server.api_secret) as rooms:
        await rooms.room.create_room(api.CreateRoomRequest(name=made.name, empty_timeout=60))
        yield made
        await rooms.room.delete_room(api.DeleteRoomRequest(room=made.name))


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


async def test_tracks_that_are_there_and_that_come_are_captured_until_they_go(room: Room) -> None:
    async with room.publisher("alice") as alice:
        camera = await alice.publish_camera()
        async with room.captured() as (sink, _, capturing):
            await until(lambda: len(sink.pictures) >= 5)
            microphone = await alice.publish_microphone()
            await until(lambda: len(sink.sounds) >= 20)
            found = {
                track.track_id: (track.kind, track.identity, track.name) for track in sink.tracks.values()
            }
            assert found == {
                camera: ("video", "alice", "camera"),
                microphone: ("audio", "alice", "microphone"),
            }
            _, sound = sink.sounds[-1]
            assert (sound.samples, len(sound.data)) == (480, 480 * 4)
            await alice.room.local_participant.unpublish_track(camera)
            await until(lambda: sink.live == {microphone})
            capturing.cancel()
            await asyncio.wait({capturing})
            assert sink.live == set()


async def test_a_picture_says_when_it_came_and_is_shown_on_the_recorders_clock(room: Room) -> None:
    async with room.publisher("alice") as alice, room.captured() as (sink, _, _):
        await alice.publish_camera()
        await until(lambda: len(sink.pictures) >= 10)
        for _, picture in sink.pictures[3:]:
            assert picture.shown_us is not None
            assert abs(picture.shown_us - picture.arrival_us) < 300_000
            assert len(picture.data) == picture.width * picture.height * 3 // 2


async def test_a_camera_that_changes_its_size_stays_one_track(room: Room) -> None:
    async with room.publisher("alice") as alice, room.captured() as (sink, _, _):
        await alice.publish_camera()
        await until(lambda: len(sink.pictures) >= 5)
        alice.width = 320
        await until(lambda: sink.pictures[-1][1].width == 320)
        assert len(sink.tracks) == 1


async def test_another_recorder_is_not_captured(room: Room) -> None:
    async with (
        room.publisher("recorder#9", service="recorder") as other,
        room.publisher("alice") as alice,
        room.captured() as (sink, _, _),
    ):
        await other.publish_microphone()
        await alice.publish_microphone()
        await until(lambda: len(sink.sounds) >= 5)
        assert {track.identity for track in sink.tracks.values()} == {"alice"}


async def test_a_lost_room_ends_its_tracks_and_they_begin_again_when_it_is_joined_again(room: Room) -> None:
    async with room.captured() as (sink, recorder, _):
        async with room.publisher("alice") as alice:
            await alice.publish_microphone()
            await until(lambda: len(sink.sounds) >= 5)
            await recorder.disconnect()
            await until(lambda: not sink.live)
        # another one: LiveKit's SDK cannot join twice with a room object that still knows a participant
        async with room.publisher("bob") as bob:
            await bob.publish_microphone()
            await room.join(recorder, "recorder")
            await until(lambda: bool(sink.live))
            assert [sink.tracks[track_id].identity for track_id in sink.live] == ["bob"]
            count = len(sink.sounds)
            await until(lambda: len(sink.sounds) >= count + 5)
