"""Encodes the synthetic camera's frames to H.264 as a WebRTC encoder does: no periodic keyframes."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import av
import av.video
from av.video.frame import PictureType

from greenroom.synthetic_picture import FRAMES_PER_S, HEIGHT, WIDTH, PictureSource

BIT_RATE: Final = 1_700_000
_OPTIONS: Final = {
    "preset": "ultrafast",
    "tune": "zerolatency",
    "profile": "baseline",
    "forced-idr": "1",
    "x264-params": "keyint=infinite:scenecut=0:repeat-headers=1:annexb=1:sliced-threads=0:threads=1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedPicture:
    """One access unit in Annex B form."""

    counter: int
    data: bytes
    is_keyframe: bool


class SyntheticCamera:
    """Draws and encodes one frame after the other. Blocking (about 3 ms a frame): call it in a thread."""

    def __init__(self) -> None:
        self._pictures = PictureSource()
        codec = av.CodecContext.create("libx264", "w")
        assert isinstance(codec, av.VideoCodecContext)
        codec.width, codec.height, codec.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        codec.time_base = Fraction(1, FRAMES_PER_S)
        codec.framerate = Fraction(FRAMES_PER_S)
        codec.bit_rate = BIT_RATE
        codec.options = _OPTIONS
        self._codec = codec

    def encode(self, counter: int, *, keyframe: bool = False) -> EncodedPicture:
        """Draw and encode the frame of this number.

        Args:
            counter: number of the frame, larger than in the call before.
            keyframe: make it a keyframe, because a receiver asked for one. The first frame always is.
        """
        frame = av.VideoFrame.from_ndarray(self._pictures.draw(counter), format="yuv420p")
        frame.pts = counter
        frame.pict_type = PictureType.I if keyframe else PictureType.NONE
        packets = self._codec.encode(frame)
        return EncodedPicture(
            counter=counter,
            data=b"".join(bytes(packet) for packet in packets),
            is_keyframe=any(packet.is_keyframe for packet in packets),
        )
