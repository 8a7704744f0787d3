"""Participants that can be told apart in a composite: each films a counter and hums a tone of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
from livekit import api, rtc

from greenroom.synthetic_picture import PictureSource
from sdk.fake_jobs import FakeJob
from tests.integration.servers import SharedLiveKit

WIDTH, HEIGHT = 320, 180
FRAMES_PER_S = 20
BLOCK = 480


class CountingPublisher:
    """One connected participant."""

    def __init__(self, *, first: int, hz: float) -> None:
        """``first``: what its counter begins with; ``hz``: its tone."""
        self.room = rtc.Room()
        self.counter = first
        self.hz = hz
        self.is_loud = True
        self._tasks: list[asyncio.Task[None]] = []
        self._camera: rtc.LocalVideoTrack | None = None

    async def publish(self) -> None:
        """Publish both."""
        camera, microphone = rtc.VideoSource(WIDTH, HEIGHT), rtc.AudioSource(48_000, 1, queue_size_ms=0)
        self._camera = rtc.LocalVideoTrack.create_video_track("camera", camera)
        film = rtc.TrackPublishOptions(
            source=rtc.TrackSource.SOURCE_CAMERA, simulcast=False, video_codec=rtc.VideoCodec.VP8
        )
        hum = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, dtx=False, red=False)
        track = rtc.LocalAudioTrack.create_audio_track("microphone", microphone)
        await self.room.local_participant.publish_track(self._camera, film)
        await self.room.local_participant.publish_track(track, hum)
        self._tasks = [asyncio.create_task(self._film(camera)), asyncio.create_task(self._hum(microphone))]

    def mute_camera(self, *, is_muted: bool) -> None:
        """Say that the camera is off, or on again."""
        assert self._camera is not None
        if is_muted:
            self._camera.mute()
        else:
            self._camera.unmute()

    async def leave(self) -> None:
        """End all."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self.room.disconnect()

    async def _film(self, source: rtc.VideoSource) -> None:
        pictures, began, number = PictureSource(), time.monotonic(), 0
        while True:
            drawn = await asyncio.to_thread(pictures.draw, self.counter)
            small = np.full((HEIGHT * 3 // 2, WIDTH), 128, dtype=np.uint8)
            small[:HEIGHT] = drawn[2:720:4, 2::4]
            source.capture_frame(
                rtc.VideoFrame(WIDTH, HEIGHT, rtc.VideoBufferType.I420, small.tobytes()),
                timestamp_us=time.monotonic_ns() // 1_000,
            )
            self.counter += 1
            number += 1
            await asyncio.sleep(max(0.005, began + number / FRAMES_PER_S - time.monotonic()))

    async def _hum(self, source: rtc.AudioSource) -> None:
        began, number = time.monotonic(), 0
        while True:
            at = np.arange(number * BLOCK, (number + 1) * BLOCK)
            level = 8_000 if self.is_loud else 0
            tone = (level * np.sin(2 * np.pi * self.hz / 48_000 * at)).astype(np.int16)
            await source.capture_frame(rtc.AudioFrame(tone.tobytes(), 48_000, 1, BLOCK))
            number += 1
            await asyncio.sleep(max(0, began + number / 100 - time.monotonic()))


@asynccontextmanager
async def counting(
    server: SharedLiveKit, job: FakeJob, identity: str, *, first: int, hz: float, e2ee_key: str = ""
) -> AsyncIterator[CountingPublisher]:
    """Join a job's room and publish; with a key both tracks are end-to-end encrypted."""
    publisher = CountingPublisher(first=first, hz=hz)
    grants = api.VideoGrants(room_join=True, room=job.room_name)
    token = api.AccessToken(server.api_key, server.api_secret).with_identity(identity).with_grants(grants)
    encryption = None
    if e2ee_key:
        options = rtc.KeyProviderOptions(shared_key=e2ee_key.encode())
        encryption = rtc.E2EEOptions(key_provider_options=options)
    await publisher.room.connect(server.url, token.to_jwt(), rtc.RoomOptions(encryption=encryption))
    try:
        await publisher.publish()
        yield publisher
    finally:
        await publisher.leave()
