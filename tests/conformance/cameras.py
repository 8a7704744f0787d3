"""Participants whose media can be proved to arrive: a counter in each picture, a tone in the sound."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final, Literal

import av
import av.video
import numpy as np
import numpy.typing as npt
from av.video.frame import PictureType
from livekit import rtc

from greenroom.synthetic_picture import read_counter
from tests.conformance.stage import WITHIN_S, until
from tests.fakes.counted_media import SIZE, draw

FRAMES_PER_S: Final = 20
RATE_HZ: Final = 48_000
BLOCK: Final = RATE_HZ // 100  # 10 ms
SWAY: Final = 300  # blocks from loud to soft and back
Codec = Literal["h264", "vp8"]
_ENCODERS: Final = {
    "h264": (
        "libx264",
        {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "profile": "baseline",
            "forced-idr": "1",
            "x264-params": "keyint=infinite:scenecut=0:repeat-headers=1:annexb=1:threads=1",
        },
    ),
    "vp8": (
        "libvpx",
        {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "error-resilient": "1"},
    ),
}
ROTATIONS: Final = (
    rtc.VideoRotation.VIDEO_ROTATION_0,
    rtc.VideoRotation.VIDEO_ROTATION_90,
    rtc.VideoRotation.VIDEO_ROTATION_180,
    rtc.VideoRotation.VIDEO_ROTATION_270,
)  # how often a quarter to the right who shows a picture turns it
_CODECS: Final = {"h264": rtc.VideoCodec.H264, "vp8": rtc.VideoCodec.VP8}


def make_encoder(codec: Codec, size: tuple[int, int] = SIZE) -> av.VideoCodecContext:
    """Make an encoder that gives keyframes only where it is told to."""
    name, options = _ENCODERS[codec]
    made = av.CodecContext.create(name, "w")
    assert isinstance(made, av.VideoCodecContext)
    made.width, made.height, made.pix_fmt = *size, "yuv420p"
    made.time_base, made.framerate = Fraction(1, FRAMES_PER_S), Fraction(FRAMES_PER_S)
    made.bit_rate, made.gop_size, made.options = 400_000, 100_000, dict(options)
    return made


@dataclass
class Publisher:
    """What one participant publishes."""

    room: rtc.Room
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def film(self, *, codec: Codec = "h264", first: int = 0) -> rtc.LocalTrackPublication:
        """Publish pre-encoded pictures numbered from ``first`` on; keyframes where they are asked for."""
        source = rtc.EncodedVideoSource(*SIZE)
        options = rtc.TrackPublishOptions(
            source=rtc.TrackSource.SOURCE_CAMERA,
            simulcast=False,
            video_codec=_CODECS[codec],
            video_encoder=rtc.VideoEncoderBackend.ENCODER_BACKEND_PRE_ENCODED,
        )
        track = rtc.LocalVideoTrack.create_video_track("camera", source)
        published = await publish(self.room, track, options)
        self._tasks.append(asyncio.create_task(self._send(source, codec, first)))
        return published

    async def draw(
        self, *, size: tuple[int, int] = SIZE, turned: int = 0, is_said: bool = True, **options: Any
    ) -> rtc.LocalTrackPublication:
        """Publish pictures that the SDK encodes.

        Args:
            size: of the picture as it is shown.
            turned: how often a quarter to the left they are given, as by a phone on its side.
            is_said: whether the SDK is told that they are.
            options: of the SDK; VP8 and one layer where they say nothing.
        """
        source = rtc.VideoSource(*(size if turned % 2 == 0 else size[::-1]))
        said = rtc.TrackPublishOptions(
            **{"source": rtc.TrackSource.SOURCE_CAMERA, "simulcast": False, **options}
        )
        published = await publish(self.room, rtc.LocalVideoTrack.create_video_track("camera", source), said)
        self._tasks.append(
            asyncio.create_task(self._paint(source, size, turned, ROTATIONS[turned if is_said else 0]))
        )
        return published

    async def hum(
        self, *, hz: int = 440, level: int = 8_000, sways: bool = False
    ) -> rtc.LocalTrackPublication:
        """Publish a tone; one that sways is louder and softer in turn, as voices are."""
        source = rtc.AudioSource(RATE_HZ, 1, queue_size_ms=0)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
        published = await publish(self.room, track, options)
        self._tasks.append(asyncio.create_task(self._sound(source, hz, level, sways=sways)))
        return published

    async def stop(self) -> None:
        """Send nothing more; what is published stays published."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks = []

    async def _send(self, source: rtc.EncodedVideoSource, codec: Codec, first: int) -> None:
        encoder, began, kind = make_encoder(codec), time.monotonic(), rtc.EncodedFrameType
        for number in range(1_000_000):
            due = began + number / FRAMES_PER_S
            await asyncio.sleep(max(0.005, due - time.monotonic()))
            frame = av.VideoFrame.from_ndarray(draw(first + number), format="yuv420p")
            wanted = number == 0 or source.take_feedback().keyframe_requested
            frame.pts, frame.pict_type = number, PictureType.I if wanted else PictureType.NONE
            for packet in encoder.encode(frame):
                source.capture_frame(
                    rtc.EncodedVideoFrame(
                        data=bytes(packet),
                        width=SIZE[0],
                        height=SIZE[1],
                        codec=_CODECS[codec],
                        frame_type=kind.ENCODED_FRAME_KEY if packet.is_keyframe else kind.ENCODED_FRAME_DELTA,
                        timestamp_us=round(due * 1_000_000),
                    )
                )

    async def _paint(
        self, source: rtc.VideoSource, size: tuple[int, int], turned: int, said: rtc.VideoRotation.ValueType
    ) -> None:
        began, (width, height) = time.monotonic(), size if turned % 2 == 0 else size[::-1]
        for number in range(1_000_000):
            await asyncio.sleep(max(0.005, began + number / FRAMES_PER_S - time.monotonic()))
            planes = draw(number, size)
            luma, colours = np.rot90(planes[: size[1]], turned), planes[size[1] :]  # of one colour
            frame = rtc.VideoFrame(
                width, height, rtc.VideoBufferType.I420, luma.tobytes() + colours.tobytes()
            )
            source.capture_frame(frame, rotation=said)

    async def _sound(self, source: rtc.AudioSource, hz: int, level: int, *, sways: bool) -> None:
        began = time.monotonic()
        for number in range(1_000_000):
            at = np.arange(number * BLOCK, (number + 1) * BLOCK)
            loud = level * (0.2 + 0.8 * abs(number % SWAY / SWAY * 2 - 1)) if sways else level
            tone = (loud * np.sin(2 * np.pi * hz / RATE_HZ * at)).astype(np.int16)
            await source.capture_frame(rtc.AudioFrame(tone.tobytes(), RATE_HZ, 1, BLOCK))
            await asyncio.sleep(max(0, began + number / 100 - time.monotonic()))


@asynccontextmanager
async def publishing(room: rtc.Room) -> AsyncIterator[Publisher]:
    """Publish from a room that is joined; everything stops at the end."""
    publisher = Publisher(room)
    try:
        yield publisher
    finally:
        await publisher.stop()


async def publish(
    room: rtc.Room, track: rtc.LocalTrack, options: rtc.TrackPublishOptions
) -> rtc.LocalTrackPublication:
    """Publish a track, within the deadline that everything has."""
    async with asyncio.timeout(WITHIN_S):
        return await room.local_participant.publish_track(track, options)


def publications(room: rtc.Room, identity: str) -> Mapping[str, rtc.RemoteTrackPublication]:
    """What somebody publishes, as far as it was told; nothing of who is not there yet."""
    who = room.remote_participants.get(identity)
    return who.track_publications if who is not None else {}


class Viewer:
    """Reads what one participant receives, track by track.

    Attributes:
        counters: the number in each picture of a track, by track sid; None where none can be read.
        sizes: of its pictures. Both are of pictures as they are shown, turned as they say.
        sound: its samples.
    """

    def __init__(self, room: rtc.Room) -> None:
        self.counters: dict[str, list[int | None]] = {}
        self.sizes: dict[str, list[tuple[int, int]]] = {}
        self.sound: dict[str, npt.NDArray[np.int16]] = {}
        self.unsubscribed: list[str] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        room.on("track_subscribed", self._subscribed)
        room.on("track_unsubscribed", lambda track, *_: self.unsubscribed.append(track.sid))

    async def stop(self) -> None:
        """Look no more."""
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values())

    async def sees(self, sid: str, *, count: int = 5, within_s: float = WITHIN_S) -> list[int]:
        """Wait until so many more pictures were read from a track; gives their numbers."""
        before = len(self.read(sid))
        await until(
            lambda: len(self.read(sid)) >= before + count,
            lambda: {sid: len(numbers) for sid, numbers in self.counters.items()},
            within_s=within_s,
        )
        return self.read(sid)[before:]

    def read(self, sid: str) -> list[int]:
        """The numbers that were read from a track's pictures."""
        return [number for number in self.counters.get(sid, []) if number is not None]

    async def hears(self, sid: str, hz: int) -> None:
        """Wait until a track has sounded like this for half a second."""
        await until(
            lambda: strength(self.sound.get(sid, np.zeros(0, np.int16))[-RATE_HZ // 2 :], hz) > 1_000,
            lambda: {sid: len(samples) for sid, samples in self.sound.items()},
        )

    def _subscribed(self, track: rtc.Track, *_: object) -> None:
        if track.sid in self._tasks:  # subscribed to again: the SDK would feed both streams
            self._tasks[track.sid].cancel()
        is_video = track.kind == rtc.TrackKind.KIND_VIDEO
        work = self._look(track) if is_video else self._listen(track)
        self._tasks[track.sid] = asyncio.create_task(work)

    async def _look(self, track: rtc.Track) -> None:
        counters, sizes = self.counters.setdefault(track.sid, []), self.sizes.setdefault(track.sid, [])
        stream = rtc.VideoStream(track, format=rtc.VideoBufferType.I420)
        try:
            async for event in stream:
                frame = event.frame
                luma = np.frombuffer(frame.data, np.uint8)[: frame.width * frame.height]
                shown = np.rot90(luma.reshape(frame.height, frame.width), -ROTATIONS.index(event.rotation))
                counters.append(read_counter(shown))
                sizes.append((shown.shape[1], shown.shape[0]))
        finally:
            await stream.aclose()

    async def _listen(self, track: rtc.Track) -> None:
        self.sound[track.sid] = np.zeros(0, np.int16)
        stream = rtc.AudioStream(track, sample_rate=RATE_HZ, num_channels=1)
        try:
            async for event in stream:
                block = np.frombuffer(event.frame.data, np.int16)
                self.sound[track.sid] = np.concatenate((self.sound[track.sid], block))[-RATE_HZ:]
        finally:
            await stream.aclose()


@asynccontextmanager
async def viewing(room: rtc.Room) -> AsyncIterator[Viewer]:
    """Look at what a room that is not joined yet will give."""
    viewer = Viewer(room)
    try:
        yield viewer
    finally:
        await viewer.stop()


def strength(samples: npt.NDArray[np.int16], hz: int) -> float:
    """Give how strong a tone is, in the samples' unit; 0 for less than 0.4 s of sound."""
    if len(samples) < RATE_HZ * 0.4:
        return 0.0
    wave = np.exp(-2j * np.pi * hz / RATE_HZ * np.arange(len(samples)))
    return float(2 * np.abs(np.mean(samples * wave)))
