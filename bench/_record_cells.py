"""The processes of the benches of recording: who publishes, and each way of recording, with its CPU time."""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import resource
import time
import uuid
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
import uvloop
from livekit import rtc

from recorder.adapters.decoded_tracks import EVERY_KIND, SOUND_ALONE, DecodedRoom
from recorder.adapters.passthrough.tracks import PassthroughTracks
from recorder.adapters.pyav_canvas import PyavCanvas
from recorder.adapters.pyav_muxer import PyavEncoders
from recorder.adapters.system_clock import SystemClock
from recorder.ports import Standing, TrackSource
from recorder.service.archive import Archive
from recorder.service.composed_room import ComposedRoom
from recorder.service.recording import Recording
from recorder.service.recording_plan import RecordingPlan
from sdk.ports import Grant
from vault.adapters.dir_store import DirChunkStore
from vault.adapters.key_files import KeyFiles

WIDTH, HEIGHT, FPS = 1280, 720, 30
BIT_RATE: Final = 1_700_000
CLIP_S: Final = 20  # one keyframe at its beginning
SETTLE_S: Final = 3.0  # joining, the first keyframes, the first files
RATE_HZ: Final = 48_000
ROLES: Final = ("clip", "publish", "passthrough", "decoded", "decode_only", "composite", "audio")
_BLOCK: Final = 480  # samples


def make_clip() -> list[bytes]:
    """Encode a clip of one keyframe and moving noise that fills its bit rate."""
    codec: Any = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    codec.framerate, codec.time_base, codec.bit_rate = Fraction(FPS), Fraction(1, FPS), BIT_RATE
    codec.options = {
        "preset": "veryfast",
        "tune": "zerolatency",
        "x264-params": f"keyint=infinite:scenecut=0:vbv-maxrate={BIT_RATE // 1000}:vbv-bufsize=500",
    }
    noise = np.random.default_rng(1).integers(0, 255, (HEIGHT * 3 // 2, WIDTH * 2), dtype=np.uint8)
    noise[HEIGHT:] = 128
    clip = []
    for number in range(CLIP_S * FPS):
        shift = (number * 3) % WIDTH
        picture = np.ascontiguousarray(noise[:, shift : shift + WIDTH] // 4 + 96)
        frame: Any = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts = number
        clip += [bytes(packet) for packet in codec.encode(frame)]
    return clip


async def publish(url: str, tokens: list[str], clip_path: Path, seconds: float) -> None:
    """Publish the clip over and over from as many participants as there are tokens; print what was sent."""
    clip = []
    data = memoryview(clip_path.read_bytes())
    while data:
        size = int.from_bytes(data[:4], "big")
        clip.append(bytes(data[4 : 4 + size]))
        data = data[4 + size :]
    rooms = [rtc.Room() for _ in tokens]
    videos = [rtc.EncodedVideoSource(WIDTH, HEIGHT) for _ in tokens]
    sounds = [rtc.AudioSource(RATE_HZ, 1, queue_size_ms=0) for _ in tokens]
    for room, token, video, sound in zip(rooms, tokens, videos, sounds, strict=True):
        await room.connect(url, token, rtc.RoomOptions(auto_subscribe=False))
        await room.local_participant.publish_track(
            rtc.LocalVideoTrack.create_video_track("camera", video),
            rtc.TrackPublishOptions(
                source=rtc.TrackSource.SOURCE_CAMERA,
                simulcast=False,
                video_codec=rtc.VideoCodec.H264,
                video_encoder=rtc.VideoEncoderBackend.ENCODER_BACKEND_PRE_ENCODED,
                video_encoding=rtc.VideoEncoding(max_bitrate=2 * BIT_RATE, max_framerate=FPS),
            ),
        )
        await room.local_participant.publish_track(
            rtc.LocalAudioTrack.create_audio_track("microphone", sound),
            rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, dtx=False, red=False),
        )
    tone = (np.sin(np.arange(_BLOCK) * 2 * np.pi * 400 / RATE_HZ) * 8000).astype(np.int16).tobytes()
    began = time.monotonic() + 0.1
    sent = 0
    places = [0] * len(videos)

    async def sound_on(source: rtc.AudioSource) -> None:
        for number in range(int(seconds * 100)):
            await asyncio.sleep(max(0.0, began + number / 100 - time.monotonic()))
            await source.capture_frame(rtc.AudioFrame(tone, RATE_HZ, 1, _BLOCK))

    sounding = [asyncio.create_task(sound_on(source)) for source in sounds]
    for number in range(int(seconds * FPS)):
        due = began + number / FPS
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        for which, video in enumerate(videos):
            if video.take_feedback().keyframe_requested and places[which] > FPS:
                places[which] = 0
            place = places[which] % len(clip)
            places[which] = place + 1
            kind = rtc.EncodedFrameType
            video.capture_frame(
                rtc.EncodedVideoFrame(
                    data=clip[place],
                    width=WIDTH,
                    height=HEIGHT,
                    codec=rtc.VideoCodec.H264,
                    frame_type=kind.ENCODED_FRAME_KEY if place == 0 else kind.ENCODED_FRAME_DELTA,
                    timestamp_us=round(due * 1_000_000),
                )
            )
        sent += 1
    await asyncio.gather(*sounding)
    print(json.dumps({"frames": sent}), flush=True)
    os._exit(0)  # the media SDK sometimes aborts while it is torn down


class _NoReports:
    """A `Reporter` that keeps the last word."""

    def __init__(self) -> None:
        self.last: Standing | None = None

    @property
    def is_in_touch(self) -> bool:
        return True

    async def report(self, standing: Standing) -> None:
        self.last = standing


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _cpu_of(seconds: float) -> float:
    """Measure this process from SETTLE_S on; give CPU seconds in each second."""
    await asyncio.sleep(SETTLE_S)
    cpu, began = _cpu_s(), time.monotonic()
    await asyncio.sleep(seconds)
    return (_cpu_s() - cpu) / (time.monotonic() - began)


async def record(way: str, url: str, token: str, folder: Path, seconds: float) -> None:
    """Record the room in one way with custody on, and print the CPU taken."""

    async def grant() -> Grant:
        return Grant(livekit_url=url, access_token=token)

    clock = SystemClock()
    encoders = PyavEncoders()
    source: TrackSource
    match way:
        case "passthrough":
            source = PassthroughTracks(grant, clock, keyframe_interval_s=4.0)
        case "composite" | "audio":
            source = ComposedRoom(
                DecodedRoom(grant, clock, kinds=EVERY_KIND if way == "composite" else SOUND_ALONE),
                clock=clock,
                quality=encoders.quality,
                layout="grid" if way == "composite" else None,
                canvas=lambda width, height: PyavCanvas(width=width, height=height),
            )
        case _:
            source = DecodedRoom(grant, clock)
    archive = Archive(DirChunkStore(folder / "recordings"), KeyFiles.create_or_open(folder / "keys"), "file")
    plan = RecordingPlan(recording_id=str(uuid.uuid4()), session_id=str(uuid.uuid4()), attempt=1)
    recording = Recording(plan, archive=archive, encoders=encoders, clock=clock, reporter=_NoReports())
    capturing = asyncio.create_task(recording.capture(source))
    cpu = await _cpu_of(seconds)
    recording.cut()
    await capturing
    await recording.complete()
    print(
        json.dumps({"cpu": cpu, "recording": plan.recording_id, "state": recording.state.value}), flush=True
    )
    os._exit(0)  # the decoded way has the media SDK too


async def decode_only(url: str, token: str, seconds: float) -> None:
    """Receive decoded frames by LiveKit's SDK, drop them, and print the CPU taken."""
    room = rtc.Room()
    tasks: set[asyncio.Task[None]] = set()

    async def drain(stream: Any) -> None:
        async for _ in stream:
            pass

    def subscribed(track: rtc.Track, *_: object) -> None:
        is_video = track.kind == rtc.TrackKind.KIND_VIDEO
        tasks.add(asyncio.create_task(drain(rtc.VideoStream(track) if is_video else rtc.AudioStream(track))))

    room.on("track_subscribed", subscribed)
    await room.connect(url, token)
    cpu = await _cpu_of(seconds)
    print(json.dumps({"cpu": cpu}), flush=True)
    os._exit(0)  # the media SDK sometimes aborts while it is torn down


def write_clip(path: Path) -> None:
    """Make the clip once; each picture behind its length."""
    out = io.BytesIO()
    for picture in make_clip():
        out.write(len(picture).to_bytes(4, "big") + picture)
    path.write_bytes(out.getvalue())


def main() -> None:
    """Be one of the processes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("--url", default="")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    tokens = os.environ.get("BENCH_TOKENS", "").split()
    if options.role == "clip":
        write_clip(options.folder / "clip")
    elif options.role == "publish":
        uvloop.run(publish(options.url, tokens, options.folder / "clip", options.seconds))
    elif options.role == "decode_only":
        uvloop.run(decode_only(options.url, tokens[0], options.seconds))
    else:
        uvloop.run(record(options.role, options.url, tokens[0], options.folder, options.seconds))


if __name__ == "__main__":
    main()
