"""Participants that publish in a real room, for tests of what captures them."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import numpy as np
from livekit import api, rtc

from sdk.wire import ATTRIBUTE_SERVICE
from tests.integration.servers import SharedLiveKit


@dataclass
class Publisher:
    """A participant with a small camera and a microphone that hums."""

    room: rtc.Room
    width: int = 160
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def publish_camera(self, codec: rtc.VideoCodec.ValueType = rtc.VideoCodec.VP8) -> str:
        source = rtc.VideoSource(160, 120)
        track = rtc.LocalVideoTrack.create_video_track("camera", source)
        options = rtc.TrackPublishOptions(
            source=rtc.TrackSource.SOURCE_CAMERA, simulcast=False, video_codec=codec
        )
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
        # Of silence only little is sent.
        tone = (np.sin(np.arange(480) * 2 * np.pi / 120) * 8000).astype(np.int16).tobytes()
        while True:
            await source.capture_frame(rtc.AudioFrame(tone, 48_000, 1, 480))
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
async def make_room(server: SharedLiveKit) -> AsyncIterator[Room]:
    """Create one and delete it at the end."""
    made = Room(server, f"room-{uuid.uuid4()}")
    url = server.url.replace("ws", "http", 1)
    async with api.LiveKitAPI(url, server.api_key, server.api_secret) as rooms:
        await rooms.room.create_room(api.CreateRoomRequest(name=made.name, empty_timeout=60))
        yield made
        with suppress(api.TwirpError):  # the test may have deleted it
            await rooms.room.delete_room(api.DeleteRoomRequest(room=made.name))


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something has happened, 30 s at most."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)
