"""Synthetic media as a recorder would feed it: H.264, VP8 and Opus, cut into init part and fragments."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import av
import numpy as np

from vault.core.prologue import TrackPrologue

FRAME_RATE = 30
SAMPLE_RATE = 48_000

_CLUSTER = bytes.fromhex("1f43b675")  # where a WebM cluster begins


@dataclass(frozen=True, slots=True)
class Fragment:
    """One moof and mdat (or cluster), with the media time it covers in ticks of its track."""

    data: bytes
    first_pts: int
    duration_pts: int
    has_keyframe: bool


@dataclass(frozen=True, slots=True)
class Track:
    """An encoded track of one init run."""

    prologue: TrackPrologue
    init_part: bytes
    time_base: Fraction
    fragments: list[Fragment]


def make_video(
    seconds: float,
    *,
    codec: Literal["h264", "vp8"] = "h264",
    size: tuple[int, int] = (160, 90),
    identity: str = "alice",
) -> Track:
    """A moving ramp at 30 frames a second with one keyframe only, in fragments of about a second."""
    width, height = size
    is_mp4 = codec == "h264"
    sink = io.BytesIO()
    options = {"movflags": "empty_moov+default_base_moof+skip_trailer", "frag_duration": "900000"}
    live = {"live": "1", "cluster_time_limit": "900"}
    with av.open(
        sink, "w", format="mp4" if is_mp4 else "webm", options=options if is_mp4 else live
    ) as container:
        stream: Any = container.add_stream("libx264" if is_mp4 else "libvpx", rate=FRAME_RATE)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 90_000)
        stream.codec_context.gop_size, stream.codec_context.bit_rate = 900, 60_000
        stream.codec_context.options = (
            {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline"}
            if is_mp4
            else {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
        )
        for number in range(round(seconds * FRAME_RATE)):
            planes = np.full((height * 3 // 2, width), 128, np.uint8)
            planes[:height] = (np.arange(width) * 2 + number * 3) % 256
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = number * 90_000 // FRAME_RATE, Fraction(1, 90_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    mime = 'video/mp4; codecs="avc1.42c00b"' if is_mp4 else 'video/webm; codecs="vp8"'
    prologue = TrackPrologue(
        kind="video", codec=codec, mime=mime, identity=identity, name="camera", width=width, height=height
    )
    return _split(prologue, sink.getvalue())


def make_audio(seconds: float, *, identity: str = "alice") -> Track:
    """A tone as Opus, 20 ms packets, mono, in fragments of about a second."""
    sink = io.BytesIO()
    options = {"movflags": "empty_moov+default_base_moof+skip_trailer", "frag_duration": "900000"}
    with av.open(sink, "w", format="mp4", options=options) as container:
        stream: Any = container.add_stream("libopus", rate=SAMPLE_RATE, layout="mono", format="s16")
        stream.codec_context.bit_rate = 16_000
        for start in range(0, round(seconds * SAMPLE_RATE), 960):
            tone = 8000 * np.sin(2 * np.pi * 440 * np.arange(start, start + 960) / SAMPLE_RATE)
            frame = av.AudioFrame.from_ndarray(
                tone.astype(np.int16).reshape(1, -1), format="s16", layout="mono"
            )
            frame.pts, frame.sample_rate, frame.time_base = start, SAMPLE_RATE, Fraction(1, SAMPLE_RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    prologue = TrackPrologue(
        kind="audio",
        codec="opus",
        mime='audio/mp4; codecs="opus"',
        identity=identity,
        name="microphone",
        sample_rate=SAMPLE_RATE,
        channels=1,
    )
    return _split(prologue, sink.getvalue())


def _split(prologue: TrackPrologue, whole: bytes) -> Track:
    starts = _cluster_starts(whole) if "webm" in prologue.mime else _moof_starts(whole)
    init_part = whole[: starts[0]]
    fragments, time_base = [], Fraction(1)
    for start, end in zip(starts, [*starts[1:], len(whole)], strict=True):
        with av.open(io.BytesIO(init_part + whole[start:end]), "r") as container:
            packets = [packet for packet in container.demux() if packet.size]
        assert packets[0].time_base is not None
        time_base = packets[0].time_base
        first = min(packet.pts or 0 for packet in packets)
        ticks = Fraction(1, FRAME_RATE) / time_base if prologue.kind == "video" else 960
        end_pts = max(packet.pts or 0 for packet in packets) + round(ticks)
        has_keyframe = any(packet.is_keyframe for packet in packets)
        fragments.append(Fragment(whole[start:end], first, end_pts - first, has_keyframe))
    return Track(prologue, init_part, time_base, fragments)


def _moof_starts(whole: bytes) -> list[int]:
    starts, position = [], 0
    while position < len(whole):
        length, kind = struct.unpack_from(">I4s", whole, position)
        if kind == b"moof":
            starts.append(position)
        position += length
    return starts


def _cluster_starts(whole: bytes) -> list[int]:
    starts, position = [], -1
    while (position := whole.find(_CLUSTER, position + 1)) >= 0:
        starts.append(position)
    return starts
