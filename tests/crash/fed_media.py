"""A media file with one keyframe, and a source that feeds the recorder from it, encoded or decoded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from recorder.core.opus_units import packet_ticks
from recorder.core.units import AccessUnit, CodecSetup
from recorder.ports import FrameSink, Picture, Sound
from tests.fakes.tracks import CAMERA, MICROPHONE, make_track
from vault.core.manifest import CaptureMode

FRAMES_PER_S = 25
PACKETS_PER_S = 50
WIDTH, HEIGHT = 160, 128
_PACKET_SAMPLES = 960
_STEP_S = 0.04  # of the sources: one picture and two packets of sound


def write_media(path: Path, seconds: int) -> None:
    """Write moving noise as H.264 with one keyframe and a tone as Opus into an MP4."""
    noise = np.random.default_rng(3).integers(0, 255, (HEIGHT * 3 // 2, WIDTH * 2), dtype=np.uint8)
    with av.open(str(path), "w", format="mp4") as file:
        video: Any = file.add_stream("libx264", rate=FRAMES_PER_S)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.codec_context.bit_rate = 150_000
        video.codec_context.options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "x264-params": "keyint=infinite:scenecut=0",
        }
        audio: Any = file.add_stream("libopus", rate=48_000, layout="stereo")
        audio.codec_context.bit_rate = 24_000
        for number in range(seconds * FRAMES_PER_S):
            shift = number * 2 % WIDTH
            planes = np.ascontiguousarray(noise[:, shift : shift + WIDTH])
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, FRAMES_PER_S)
            file.mux(video.encode(frame))
        for number in range(seconds * PACKETS_PER_S):
            at = np.arange(number * _PACKET_SAMPLES, (number + 1) * _PACKET_SAMPLES)
            tone = (8000 * np.sin(2 * np.pi * 440 * at / 48_000)).astype(np.int16)
            sound = av.AudioFrame.from_ndarray(np.repeat(tone, 2).reshape(1, -1), "s16", "stereo")
            sound.sample_rate, sound.pts = 48_000, number * _PACKET_SAMPLES
            file.mux(audio.encode(sound))
        file.mux(video.encode(None))
        file.mux(audio.encode(None))


@dataclass(frozen=True, slots=True)
class FedMedia:
    """What a media file holds: packets as they are, and pictures and blocks of sound (20 ms) decoded."""

    path: Path
    setup: CodecSetup
    pictures: list[bytes]
    packets: list[bytes]
    planes: list[bytes]
    blocks: list[bytes]

    @classmethod
    def read(cls, path: Path) -> FedMedia:
        """Read a file that `write_media` wrote."""
        with av.open(str(path)) as file:
            stream = file.streams.video[0]
            head = stream.codec_context.extradata or b""
            pictures = [bytes(packet) for packet in file.demux(stream) if packet.size]
        # avcC: five bytes, one sequence parameter set, one picture parameter set.
        length = int.from_bytes(head[6:8], "big")
        sequence, rest = head[8 : 8 + length], head[8 + length + 1 :]
        parameters = (sequence, rest[2 : 2 + int.from_bytes(rest[:2], "big")])
        with av.open(str(path)) as file:
            packets = [bytes(packet) for packet in file.demux(file.streams.audio[0]) if packet.size]
        with av.open(str(path)) as file:
            planes = [frame.to_ndarray(format="yuv420p").tobytes() for frame in file.decode(video=0)]
        tone = (8000 * np.sin(np.arange(_PACKET_SAMPLES) * 2 * np.pi * 450 / 48_000)).astype(np.int16)
        setup = CodecSetup(codec="h264", width=WIDTH, height=HEIGHT, parameters=parameters)
        return cls(path, setup, pictures, packets, planes, [np.repeat(tone, 2).tobytes()] * len(packets))


OnFed = Callable[[int, int, float], None]
"""Is told how many pictures and blocks of sound were handed over by now, and how late the last ones were."""


class FedTracks:
    """A `TrackSource` that hands over a medium at its pace and then says that the room is closed."""

    def __init__(self, media: FedMedia, *, mode: CaptureMode, seconds: float, on_fed: OnFed) -> None:
        self._media = media
        self._mode: CaptureMode = mode
        self._steps = round(seconds / _STEP_S)
        self._on_fed = on_fed

    @property
    def mode(self) -> CaptureMode:
        """As it was made."""
        return self._mode

    def want_keyframes(self) -> None:
        """Do nothing: this publisher sends one keyframe and no other."""

    async def capture(self, sink: FrameSink) -> None:
        """Play to the end."""
        is_encoded = self._mode == "passthrough"
        sink.track_started(replace(make_track(CAMERA, "video"), is_encoded=is_encoded))
        sink.track_started(replace(make_track(MICROPHONE, "audio"), is_encoded=is_encoded))
        began = time.monotonic()
        give = self._give_units if is_encoded else self._give_frames
        for step in range(self._steps):
            at_s = began + (step + 1) * _STEP_S
            await asyncio.sleep(max(0.0, at_s - time.monotonic()))
            give(sink, step, round(at_s * 1_000_000))
            self._on_fed(step + 1, (step + 1) * 2, max(0.0, time.monotonic() - at_s))
        sink.track_ended(CAMERA)
        sink.track_ended(MICROPHONE)

    def _give_units(self, sink: FrameSink, step: int, at_us: int) -> None:
        for place in (2 * step, 2 * step + 1):
            packet, setup = self._media.packets[place], CodecSetup(codec="opus", channels=2)
            ticks = packet_ticks(packet)
            sink.unit(MICROPHONE, AccessUnit(place * _PACKET_SAMPLES, at_us, packet, True, ticks, setup))
        picture = self._media.pictures[step]
        time_90k = step * 90_000 // FRAMES_PER_S
        sink.unit(CAMERA, AccessUnit(time_90k, at_us, picture, step == 0, 0, self._media.setup))

    def _give_frames(self, sink: FrameSink, step: int, at_us: int) -> None:
        for place in (2 * step, 2 * step + 1):
            came_us = at_us - (2 * step + 1 - place) * 20_000
            sink.sound(
                MICROPHONE, Sound(arrival_us=came_us, samples=_PACKET_SAMPLES, data=self._media.blocks[place])
            )
        planes = self._media.planes[step]
        picture = Picture(arrival_us=at_us, shown_us=at_us, width=WIDTH, height=HEIGHT, data=planes)
        sink.picture(CAMERA, picture)
