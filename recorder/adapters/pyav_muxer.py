"""Encodes decoded media with PyAV to what MP4 holds: H.264 (libx264) and Opus (libopus), and the init parts.

The containers are opened for their head only (ftyp and moov); fragments are written by core/fragments.py.
Sound is Opus in MP4 also where pictures are VP8 in WebM: players take the two beside each other.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import av
import av.error
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import PictureType
from av.video.stream import VideoStream

from recorder.adapters.pyav_pictures import FrameScaler, frame_of
from recorder.adapters.pyav_vpx import Vp8Encoder
from recorder.core.avc import codec_string, length_prefixed
from recorder.core.chunking import TrackFormat
from recorder.core.errors import CaptureError
from recorder.core.fragments import Packet
from recorder.core.quality import QUALITIES, Quality
from recorder.core.timeline import AUDIO_RATE_HZ, AUDIO_TIME_BASE, VIDEO_TIME_BASE
from recorder.ports import Picture

_FORMATS: Final = ("mp4", "webm", "mkv")
_HEAD_ONLY: Final = {"movflags": "empty_moov+default_base_moof+frag_custom", "video_track_timescale": "90000"}
_USUAL_FRAME: Final = 3_000  # ticks: how long a frame stands that no other followed, 1/30 s
_OPUS_SAMPLES: Final = 960  # 20 ms in each packet
_CHANNELS: Final = 2


@dataclass(frozen=True, slots=True)
class PyavEncoders:
    """Makes PyAV encoders; an `Encoders`.

    Args:
        named: low, medium, high or ultra.
        container: webm for VP8 pictures; mp4, and mkv, which is a container of exports only, for H.264.
    """

    named: str = "high"
    container: str = "mp4"

    def __post_init__(self) -> None:
        if self.named not in QUALITIES:
            raise ValueError(f"quality {self.named!r} is not one of {', '.join(QUALITIES)}")
        if self.container not in _FORMATS:
            raise ValueError(f"format {self.container!r} is not one of {', '.join(_FORMATS)}")

    @property
    def quality(self) -> Quality:
        """Limits of what they encode."""
        return QUALITIES[self.named]

    def video(self, *, width: int, height: int) -> X264Encoder | Vp8Encoder:
        """Make an encoder; an odd row or column at the edge is left out."""
        encoder = Vp8Encoder if self.container == "webm" else X264Encoder
        return encoder(width=width, height=height, quality=self.quality)

    def audio(self) -> OpusEncoder:
        """Make an Opus encoder."""
        return OpusEncoder(bit_rate=self.quality.audio_bps)


class X264Encoder:
    """H.264 without B-frames and without delay; keyframes only where they are asked for."""

    def __init__(self, *, width: int, height: int, quality: Quality) -> None:
        self._width, self._height = quality.fit(width, height)
        self._scaler = FrameScaler(width=self._width, height=self._height)
        container = av.open(io.BytesIO(), "w", format="mp4", container_options=_HEAD_ONLY)
        stream = container.add_stream("libx264", rate=Fraction(quality.frames_per_s))
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = self._width, self._height, "yuv420p"
        stream.codec_context.time_base = VIDEO_TIME_BASE
        stream.codec_context.thread_count = 1  # each track has a thread of its own
        stream.codec_context.options = {
            "preset": "veryfast",
            "tune": "zerolatency",
            "crf": str(quality.crf),
            "maxrate": str(quality.video_bps),
            "bufsize": str(quality.video_bps),  # one second
            "forced-idr": "1",
            "x264-params": "keyint=infinite:scenecut=0",
        }
        init_part = _head(container, f"{self._width}x{self._height} H.264")
        self._container, self._codec = container, stream.codec_context
        self.format = TrackFormat(
            kind="video",
            codec="h264",
            mime=f'video/mp4; codecs="{codec_string(stream.codec_context.extradata or b"")}"',
            time_base=VIDEO_TIME_BASE,
            init_part=init_part,
            width=self._width,
            height=self._height,
        )

    def encode(self, picture: Picture, *, pts: int, is_keyframe: bool) -> list[Packet]:
        """Encode one picture."""
        frame = self._scaler.scale(frame_of(picture))
        frame.pts, frame.time_base = pts, VIDEO_TIME_BASE
        frame.pict_type = PictureType.I if is_keyframe else PictureType.NONE
        return self._encode(frame)

    def finish(self) -> list[Packet]:
        """Give what is still inside."""
        return self._encode(None)

    def _encode(self, frame: av.VideoFrame | None) -> list[Packet]:
        try:
            packets = self._codec.encode(frame)
        except av.error.FFmpegError as error:
            raise CaptureError(f"x264 does not encode this picture: {error.strerror}") from error
        return [
            Packet(
                pts=_time(packet.pts),
                duration_pts=_USUAL_FRAME,
                data=length_prefixed(bytes(packet)),
                is_keyframe=packet.is_keyframe,
            )
            for packet in packets
        ]


class OpusEncoder:
    """Opus at 48 kHz, stereo, in packets of 20 ms."""

    def __init__(self, *, bit_rate: int) -> None:
        container = av.open(io.BytesIO(), "w", format="mp4", container_options=_HEAD_ONLY)
        stream = container.add_stream("libopus", rate=AUDIO_RATE_HZ)
        assert isinstance(stream, AudioStream)
        stream.codec_context.bit_rate = bit_rate
        stream.codec_context.time_base = AUDIO_TIME_BASE
        stream.codec_context.format = "s16"
        stream.codec_context.layout = "stereo"
        init_part = _head(container, "Opus")
        self._container, self._codec = container, stream.codec_context
        self._held = b""  # less than one packet's samples
        self._next: int | None = None  # pts of the sample after the held ones
        self.format = TrackFormat(
            kind="audio",
            codec="opus",
            mime='audio/mp4; codecs="opus"',
            time_base=AUDIO_TIME_BASE,
            init_part=init_part,
            sample_rate=AUDIO_RATE_HZ,
            channels=_CHANNELS,
        )

    def encode(self, data: bytes | bytearray | memoryview, *, pts: int) -> list[Packet]:
        """Encode samples at their place."""
        if self._next is not None and pts != self._next:
            raise ValueError(f"samples at {pts} do not follow those before, which end at {self._next}")
        packets: list[Packet] = []
        self._next = pts if self._next is None else self._next
        self._held += bytes(data)
        self._next += len(data) // _SAMPLE_BYTES
        whole = _OPUS_SAMPLES * _SAMPLE_BYTES
        while len(self._held) >= whole:
            first = self._next - len(self._held) // _SAMPLE_BYTES
            packets += self._encode(self._held[:whole], first)
            self._held = self._held[whole:]
        return packets

    def finish(self) -> list[Packet]:
        """Give what is still inside, filled up with silence."""
        packets: list[Packet] = []
        if self._held and self._next is not None:
            first = self._next - len(self._held) // _SAMPLE_BYTES
            packets = self._encode(self._held.ljust(_OPUS_SAMPLES * _SAMPLE_BYTES, b"\x00"), first)
            self._held = b""
        return packets + self._run(None)

    def _encode(self, block: bytes, pts: int) -> list[Packet]:
        samples = np.frombuffer(block, dtype=np.int16).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE_HZ, pts, AUDIO_TIME_BASE
        return self._run(frame)

    def _run(self, frame: av.AudioFrame | None) -> list[Packet]:
        try:
            packets = self._codec.encode(frame)
        except av.error.FFmpegError as error:
            raise CaptureError(f"libopus does not encode these samples: {error.strerror}") from error
        # FFmpeg's pts already stand the codec's delay (6.5 ms) before the samples' place
        return [
            Packet(
                pts=max(0, _time(packet.pts)),
                duration_pts=_OPUS_SAMPLES,
                data=bytes(packet),
                is_keyframe=True,
            )
            for packet in packets
            if packet.size
        ]


_SAMPLE_BYTES: Final = 2 * _CHANNELS


def _head(container: OutputContainer, what: str) -> bytes:
    """Open the encoder and give the container's head, which is complete before the first packet."""
    try:
        container.start_encoding()
    except av.error.FFmpegError as error:
        raise CaptureError(f"no encoder for {what}: {error.strerror}") from error
    head: bytes = container.file.file.getvalue() if container.file is not None else b""
    return head


def _time(pts: int | None) -> int:
    if pts is None:
        raise CaptureError("the encoder gave a packet without a pts")
    return pts
