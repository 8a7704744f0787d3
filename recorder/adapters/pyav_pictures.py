"""Turns pictures into PyAV's frames, and brings them to another size (libswscale)."""

from __future__ import annotations

from typing import Any

import av
import av.error
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from recorder.core.errors import CaptureError
from recorder.ports import Picture


def frame_of(picture: Picture) -> av.VideoFrame:
    """Give a picture as a frame; an odd row or column at the edge is left out."""
    return av.VideoFrame.from_ndarray(_planes(picture), format="yuv420p")


class FrameScaler:
    """Brings frames to one size. Blocking; used by one thread."""

    def __init__(self, *, width: int, height: int) -> None:
        """Make one; both sides even."""
        self._width, self._height = width, height
        self._reformatter = VideoReformatter()

    def scale(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Give the frame in this scaler's size; the same one where it has it.

        Raises:
            CaptureError: the sizes cannot be brought together.
        """
        if (frame.width, frame.height) == (self._width, self._height):
            return frame
        try:
            return self._reformatter.reformat(
                frame,
                width=self._width,
                height=self._height,
                interpolation=Interpolation.BILINEAR,
                threads=1,  # who scales has a thread of its own
            )
        except (av.error.FFmpegError, ValueError) as error:
            sizes = f"{frame.width}x{frame.height} to {self._width}x{self._height}"
            raise CaptureError(f"a picture cannot be scaled from {sizes}: {error}") from error


def _planes(picture: Picture) -> np.ndarray[Any, np.dtype[np.uint8]]:
    data = np.frombuffer(picture.data, dtype=np.uint8)
    width, height = picture.width & ~1, picture.height & ~1
    if (picture.width, picture.height) == (width, height):
        return data.reshape(height * 3 // 2, width)
    # an odd size: leave out the last column or row of luma, and the chroma that belongs to it alone
    luma_bytes = picture.width * picture.height
    half_width, half_height = (picture.width + 1) // 2, (picture.height + 1) // 2
    chroma_bytes = half_width * half_height
    luma = data[:luma_bytes].reshape(picture.height, picture.width)[:height, :width]
    planes = [luma.reshape(-1)]
    for start in (luma_bytes, luma_bytes + chroma_bytes):
        chroma = data[start : start + chroma_bytes].reshape(half_height, half_width)
        planes.append(chroma[: height // 2, : width // 2].reshape(-1))
    return np.concatenate(planes).reshape(height * 3 // 2, width)
