"""Encodes decoded pictures with PyAV to what WebM holds: VP8 (libvpx).

The container's head and its clusters are written by core/webm.py.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

import av
import av.error
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from recorder.adapters.pyav_pictures import FrameScaler, frame_of
from recorder.core.errors import CaptureError
from recorder.core.fragments import Packet
from recorder.core.quality import Quality
from recorder.core.timeline import VIDEO_TIME_BASE
from recorder.core.units import CodecSetup
from recorder.core.webm import TIME_BASE, vp8_format
from recorder.ports import Picture

_USUAL_FRAME: Final = 33  # milliseconds: how long a frame stands that no other followed
_TICKS: Final = int(TIME_BASE / VIDEO_TIME_BASE)  # of VIDEO_TIME_BASE in one of WebM
_OPTIONS: Final = {
    "deadline": "realtime",
    "cpu-used": "8",
    "lag-in-frames": "0",
    "auto-alt-ref": "0",
    "crf": "10",  # the bit rate is the limit, not the aim
    # libvpx keeps a bit rate that the picture is too rich for by leaving pictures out, and only if it may
    "drop-threshold": "40",
}


class Vp8Encoder:
    """VP8 without delay, with pictures left out where the bit rate would not hold.

    Keyframes are where they are asked for, and where libvpx sees another scene.
    """

    def __init__(self, *, width: int, height: int, quality: Quality) -> None:
        self._width, self._height = quality.fit(width, height)
        self._scaler = FrameScaler(width=self._width, height=self._height)
        codec = av.CodecContext.create("libvpx", "w")
        assert isinstance(codec, VideoCodecContext)
        codec.width, codec.height, codec.pix_fmt = self._width, self._height, "yuv420p"
        codec.framerate = Fraction(quality.frames_per_s)
        codec.time_base = VIDEO_TIME_BASE
        codec.bit_rate = quality.video_bps
        codec.gop_size = 1_000_000
        codec.thread_count = 1  # each track has a thread of its own
        codec.options = {
            **_OPTIONS,
            "maxrate": str(quality.video_bps),
            "bufsize": str(quality.video_bps),  # one second
        }
        try:
            codec.open()
        except av.error.FFmpegError as error:
            size = f"{self._width}x{self._height}"
            raise CaptureError(f"no encoder for {size} VP8: {error.strerror}") from error
        self._codec = codec
        setup = CodecSetup(codec="vp8", width=self._width, height=self._height)
        self.format = vp8_format(setup, written_by=b"Lavf")  # as FFmpeg's own heads say it

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
            raise CaptureError(f"libvpx does not encode this picture: {error.strerror}") from error
        return [
            Packet(
                pts=packet.pts // _TICKS,
                duration_pts=_USUAL_FRAME,
                data=bytes(packet),
                is_keyframe=packet.is_keyframe,
            )
            for packet in packets
            if packet.pts is not None
        ]
