"""A participant for demos and tests: publishes the synthetic camera and sound, pings the pong worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from livekit import rtc

from greenroom.synthetic_picture import FRAMES_PER_S, HEIGHT, WIDTH
from greenroom.synthetic_sound import BLOCK_SAMPLES, RATE_HZ, make_block
from greenroom.synthetic_video import BIT_RATE, SyntheticCamera
from sdk.room import hide_tokens

CONNECT_TIMEOUT_S: Final = 10.0
PING_TOPIC: Final = "test-ping"
PONG_TOPIC: Final = "test-response"
_BLOCK_S: Final = BLOCK_SAMPLES / RATE_HZ
_FRAME_S: Final = 1 / FRAMES_PER_S
# After a full reconnect receivers wait for a keyframe; a request may get lost with the old sender.
_KEYFRAMES_AFTER: Final = (0, FRAMES_PER_S, 3 * FRAMES_PER_S)
_MAX_LATE_S: Final = 0.5  # a machine that is further behind skips, as a real camera would


class ParticipantError(Exception):
    """The synthetic participant could not join, publish or get its answer; the message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What was sent. ``skipped`` frames were never drawn: the machine was too slow for them."""

    frames: int
    skipped: int
    keyframes: int
    audio_s: float


class SyntheticParticipant:
    """One connected participant; made by `join`."""

    def __init__(self, room: rtc.Room) -> None:
        self._room = room
        self._keyframe_in: list[int] = []  # frames from now on
        room.on("local_track_republished", self._republished)

    @property
    def identity(self) -> str:
        """The identity in its token."""
        return self._room.local_participant.identity

    async def ping(self, *, timeout_s: float = 10.0, every_s: float = 1.0) -> float:
        """Send `test-ping` until one `test-response` came back (a worker may be joining still).

        Returns:
            Milliseconds from the last ping to its answer.

        Raises:
            ParticipantError: nobody answered within ``timeout_s``.
        """
        answered: asyncio.Event = asyncio.Event()

        def on_data(packet: rtc.DataPacket) -> None:
            if packet.topic == PONG_TOPIC:
                answered.set()

        self._room.on("data_received", on_data)
        deadline = time.monotonic() + timeout_s
        try:
            while (left := deadline - time.monotonic()) > 0:
                sent = time.monotonic()
                async with asyncio.timeout(left):
                    await self._room.local_participant.publish_data(b"ping", topic=PING_TOPIC)
                try:
                    async with asyncio.timeout(min(every_s, left)):
                        await answered.wait()
                    return (time.monotonic() - sent) * 1_000
                except TimeoutError:
                    continue
        except TimeoutError:
            pass
        finally:
            self._room.off("data_received", on_data)
        raise ParticipantError(f"no {PONG_TOPIC} came within {timeout_s:g} s of the first {PING_TOPIC}")

    async def publish(
        self, seconds: float, *, on_second: Callable[[int], None] | None = None, first_frame: int = 0
    ) -> Published:
        """Publish 720p video (H.264, no periodic keyframes) and sound for so long, then take both back.

        Args:
            seconds: how long frames are sent for.
            on_second: called with the number of full seconds that are out.
            first_frame: number drawn in the first frame, a multiple of FRAMES_PER_S.

        Raises:
            ParticipantError: the server did not accept the tracks in time, or the room went away.
        """
        video = rtc.EncodedVideoSource(WIDTH, HEIGHT)
        audio = rtc.AudioSource(RATE_HZ, 1, queue_size_ms=0)
        try:
            await self._announce(video, audio)
            camera = await asyncio.to_thread(SyntheticCamera)
            began = time.monotonic() + 0.1
            async with asyncio.TaskGroup() as group:
                sending = group.create_task(self._send_video(video, camera, began, seconds, first_frame))
                sounding = group.create_task(self._send_audio(audio, began, seconds, on_second))
            frames, skipped, keyframes = sending.result()
            return Published(
                frames=frames, skipped=skipped, keyframes=keyframes, audio_s=sounding.result() * _BLOCK_S
            )
        finally:
            await self._take_back()
            await video.aclose()
            await audio.aclose()

    async def _announce(self, video: rtc.EncodedVideoSource, audio: rtc.AudioSource) -> None:
        camera = rtc.LocalVideoTrack.create_video_track("camera", video)
        microphone = rtc.LocalAudioTrack.create_audio_track("microphone", audio)
        options = (
            (
                camera,
                rtc.TrackPublishOptions(
                    source=rtc.TrackSource.SOURCE_CAMERA,
                    simulcast=False,
                    video_codec=rtc.VideoCodec.H264,
                    video_encoder=rtc.VideoEncoderBackend.ENCODER_BACKEND_PRE_ENCODED,
                    video_encoding=rtc.VideoEncoding(max_bitrate=2 * BIT_RATE, max_framerate=FRAMES_PER_S),
                ),
            ),
            (
                microphone,
                rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, dtx=False, red=False),
            ),
        )
        for track, how in options:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await self._room.local_participant.publish_track(track, how)
            except TimeoutError:
                raise ParticipantError(
                    f"the media server did not accept the track {track.name} within {CONNECT_TIMEOUT_S:g} s"
                ) from None

    async def _send_video(
        self,
        source: rtc.EncodedVideoSource,
        camera: SyntheticCamera,
        began: float,
        seconds: float,
        first: int,
    ) -> tuple[int, int, int]:
        sent = skipped = keyframes = 0
        for number in range(round(seconds * FRAMES_PER_S)):
            due = began + number * _FRAME_S
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            elif wait < -_MAX_LATE_S:
                skipped += 1
                continue
            wanted = source.take_feedback().keyframe_requested or 0 in self._keyframe_in
            self._keyframe_in = [frames - 1 for frames in self._keyframe_in if frames > 0]
            picture = await asyncio.to_thread(camera.encode, first + number, keyframe=wanted)
            kind = rtc.EncodedFrameType
            source.capture_frame(
                rtc.EncodedVideoFrame(
                    data=picture.data,
                    width=WIDTH,
                    height=HEIGHT,
                    codec=rtc.VideoCodec.H264,
                    frame_type=kind.ENCODED_FRAME_KEY if picture.is_keyframe else kind.ENCODED_FRAME_DELTA,
                    timestamp_us=round(due * 1_000_000),
                )
            )
            sent += 1
            keyframes += picture.is_keyframe
        return sent, skipped, keyframes

    async def _send_audio(
        self, source: rtc.AudioSource, began: float, seconds: float, on_second: Callable[[int], None] | None
    ) -> int:
        blocks = round(seconds / _BLOCK_S)
        per_second = round(1 / _BLOCK_S)
        for number in range(blocks):
            if (wait := began + number * _BLOCK_S - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            block = make_block(number)
            await source.capture_frame(rtc.AudioFrame(block.tobytes(), RATE_HZ, 1, BLOCK_SAMPLES))
            if on_second is not None and (number + 1) % per_second == 0:
                on_second((number + 1) // per_second)
        return blocks

    def _republished(self, *_: object) -> None:
        self._keyframe_in = list(_KEYFRAMES_AFTER)

    async def _take_back(self) -> None:
        for sid in list(self._room.local_participant.track_publications):  # other ones after a reconnect
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await self._room.local_participant.unpublish_track(sid)
            except (TimeoutError, rtc.participant.UnpublishTrackError):
                pass  # the room is gone, and the track with it


@asynccontextmanager
async def join(url: str, token: str) -> AsyncIterator[SyntheticParticipant]:
    """Join a room and leave it at the end.

    Args:
        url: where the media server is, ws:// or wss://.
        token: access token of a client; it appears in no message.

    Raises:
        ParticipantError: no connection within CONNECT_TIMEOUT_S, or the server refused.
    """
    hide_tokens()
    room = rtc.Room()
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await room.connect(url, token, rtc.RoomOptions(auto_subscribe=False))
    except (TimeoutError, rtc.ConnectError):
        # the server's own words repeat the token
        raise ParticipantError(
            f"the media server at {url} did not let the participant in within {CONNECT_TIMEOUT_S:g} s"
        ) from None
    try:
        yield SyntheticParticipant(room)
    finally:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await room.disconnect()
