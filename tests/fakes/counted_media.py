"""Long media with a counter in every picture, made with the recorder's own encoders and fragments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import cache
from typing import Literal

import av
import numpy as np
import numpy.typing as npt

from greenroom.synthetic_picture import _cells_of
from recorder.adapters.pyav_muxer import PyavEncoders
from recorder.core.chunking import TrackFormat
from recorder.core.fragments import Packet
from recorder.core.segmenting import Segmenter
from recorder.core.units import CodecSetup
from recorder.core.webm import encode_cluster, vp8_format
from recorder.ports import Picture
from tests.fakes.media import Fragment, Track
from vault.core.prologue import TrackPrologue

SIZE = (320, 180)
KEYFRAME_S = 4.0  # what the recorder asks publishers for
PACKET = 960  # samples of Opus


def draw(counter: int, size: tuple[int, int] = SIZE, *, noise: int = 0) -> npt.NDArray[np.uint8]:
    """A picture whose counter `read_counter` reads, over stripes that move; planar YUV 4:2:0.

    ``noise`` makes it as hard to encode as a real one: 20 gives some 1.5 Mbit/s at 640x360, 30 a second.
    """
    width, height = size
    cell = width // 16
    planes = np.full((height * 3 // 2, width), 128, np.uint8)
    planes[:height] = (np.arange(width) * 2 + counter * 3) % 160 + 40
    if noise:
        planes[:height] += np.roll(_grain(width * height, noise), counter * 7919).reshape(height, width)
    cells = np.where(_cells_of(counter), np.uint8(235), np.uint8(16))
    planes[: 2 * cell, : 16 * cell] = np.repeat(np.repeat(cells, cell, axis=0), cell, axis=1)
    return planes


@cache
def _grain(count: int, noise: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(7).integers(0, noise, count, dtype=np.uint8)


def counted_video(
    seconds: float,
    *,
    codec: Literal["h264", "vp8"] = "h264",
    frames_per_s: int = 10,
    size: tuple[int, int] = SIZE,
    first: int = 0,
    identity: str = "alice",
    noise: int = 0,
) -> Track:
    """Pictures numbered from ``first`` on, a keyframe every KEYFRAME_S, not where fragments begin."""
    frames = round(seconds * frames_per_s)
    packets = _h264 if codec == "h264" else _vp8
    drawn = (draw(first + number, size, noise=noise) for number in range(frames))
    form, made = packets(drawn, frames_per_s, size)
    return _track(form, made, identity, "camera")


def long_sound(seconds: float, *, identity: str = "alice") -> Track:
    """Two seconds of a tone over and over: Opus packets stand for themselves."""
    encoder = PyavEncoders().audio()
    at = np.arange(48_000 * 2)
    tone = (6000 * np.sin(2 * np.pi * 440 / 48_000 * at)).astype(np.int16)
    encoded = encoder.encode(np.repeat(tone, 2).tobytes(), pts=0)
    packets = (
        Packet(
            pts=number * PACKET,
            duration_pts=PACKET,
            data=encoded[number % len(encoded)].data,
            is_keyframe=True,
        )
        for number in range(round(seconds * 48_000 / PACKET))
    )
    return _track(encoder.format, packets, identity, "microphone")


def _h264(
    drawn: Iterable[npt.NDArray[np.uint8]], frames_per_s: int, size: tuple[int, int]
) -> tuple[TrackFormat, Iterator[Packet]]:
    encoder = PyavEncoders().video(width=size[0], height=size[1])
    every = round(KEYFRAME_S * frames_per_s)

    def encode() -> Iterator[Packet]:
        for number, planes in enumerate(drawn):
            picture = Picture(
                width=size[0],
                height=size[1],
                data=planes.tobytes(),
                arrival_us=0,
                shown_us=None,
            )
            is_keyframe = number == 0 or number % every == every // 3
            yield from encoder.encode(picture, pts=number * 90_000 // frames_per_s, is_keyframe=is_keyframe)

    return encoder.format, encode()


def _vp8(
    drawn: Iterable[npt.NDArray[np.uint8]], frames_per_s: int, size: tuple[int, int]
) -> tuple[TrackFormat, Iterator[Packet]]:
    codec = av.CodecContext.create("libvpx", "w")
    assert isinstance(codec, av.VideoCodecContext)
    codec.width, codec.height, codec.pix_fmt = size[0], size[1], "yuv420p"
    codec.time_base = Fraction(1, 1000)
    codec.framerate = Fraction(frames_per_s)
    codec.bit_rate, codec.gop_size = 400_000, round(KEYFRAME_S * frames_per_s)
    codec.options = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}

    def encode() -> Iterator[Packet]:
        for number, planes in enumerate(drawn):
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = number * 1000 // frames_per_s, Fraction(1, 1000)
            for packet in codec.encode(frame):
                yield Packet(
                    pts=packet.pts or 0,
                    duration_pts=1000 // frames_per_s,
                    data=bytes(packet),
                    is_keyframe=packet.is_keyframe,
                )

    return vp8_format(CodecSetup(codec="vp8", width=size[0], height=size[1])), encode()


def _track(form: TrackFormat, packets: Iterator[Packet], identity: str, name: str) -> Track:
    segmenter = Segmenter(form.time_base, *([encode_cluster] if form.codec == "vp8" else []))
    cut = (segmenter.add(packet, now_s=0.0) for packet in packets)
    whole = [fragment for fragment in cut if fragment is not None]
    if (last := segmenter.flush()) is not None:
        whole.append(last)
    prologue = TrackPrologue(
        kind=form.kind,
        codec=form.codec,
        mime=form.mime,
        identity=identity,
        name=name,
        width=form.width,
        height=form.height,
        sample_rate=form.sample_rate,
        channels=form.channels,
    )
    fragments = [Fragment(one.data, one.first_pts, one.duration_pts, one.has_keyframe) for one in whole]
    return Track(prologue, form.init_part, form.time_base, fragments)
