"""Decodes a media file that a synthetic participant was recorded into, and says what is in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.audio.resampler import AudioResampler
from av.container import InputContainer

from greenroom.synthetic_picture import FRAMES_PER_S, has_flash, read_counter
from greenroom.synthetic_sound import RATE_HZ, find_beeps

MAX_PAIR_DISTANCE_S = 0.45  # a beep further from a flash belongs to another second
_MAX_AUDIO_GAP = RATE_HZ * 3600  # samples; more than an hour between packets is a broken file


class ReadingError(Exception):
    """The file cannot be decoded; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaReading:
    """What is in a file. Times in seconds of the file's own timeline.

    Attributes:
        duration_s: from the first to the end of the last decoded media, over all streams.
        counters: read from each video frame in order; None where the checksum does not fit.
        audio_s: decoded sound.
        flashes: where a flash begins.
        beeps: where a beep begins.
    """

    duration_s: float
    counters: tuple[int | None, ...]
    audio_s: float
    flashes: tuple[float, ...]
    beeps: tuple[float, ...]

    @property
    def video_frames(self) -> int:
        """Decoded frames."""
        return len(self.counters)

    @property
    def unread_frames(self) -> int:
        """Frames whose counter could not be read."""
        return sum(counter is None for counter in self.counters)

    @property
    def is_monotonic(self) -> bool:
        """Whether the drawn counter never jumps back or stands still."""
        read = [counter for counter in self.counters if counter is not None]
        return all(later > counter for counter, later in pairwise(read))

    @property
    def av_offset_ms(self) -> float | None:
        """Median of beep minus flash, positive when sound is late; None when no second has both."""
        pairs = (min((beep - flash for beep in self.beeps), key=abs, default=None) for flash in self.flashes)
        offsets = [offset for offset in pairs if offset is not None and abs(offset) <= MAX_PAIR_DISTANCE_S]
        return round(median(offsets) * 1_000, 1) if offsets else None


def read_media(path: Path, *, on_progress: Callable[[float], None] | None = None) -> MediaReading:
    """Decode the first video and the first audio stream of a file. Blocking.

    Args:
        path: the file.
        on_progress: told the time in seconds that is decoded.

    Raises:
        ReadingError: it is no media file, or it breaks off or jumps where it should not.
    """
    try:
        with av.open(str(path)) as container:
            return _read(container, on_progress)
    except (av.error.FFmpegError, OSError) as error:
        raise ReadingError(f"{path} cannot be decoded: {error}") from error


def _read(container: InputContainer, on_progress: Callable[[float], None] | None) -> MediaReading:
    streams = [*container.streams.video[:1], *container.streams.audio[:1]]
    if not streams:
        raise ReadingError(f"{container.name} has neither video nor audio")
    sound = _Sound()
    counters: list[int | None] = []
    flashes: list[float] = []
    was_lit = True  # a flash that the file begins with has no known beginning
    starts: list[float] = []
    ends: list[float] = []
    for frame in container.decode(streams):
        if isinstance(frame, av.AudioFrame):
            sound.add(frame)
            continue
        assert isinstance(frame, av.VideoFrame)
        at_s = float(frame.time or 0)
        luma = luma_of(frame)
        counters.append(read_counter(luma))
        is_lit = has_flash(luma)
        if is_lit and not was_lit:
            flashes.append(at_s)
        was_lit = is_lit
        starts.append(at_s)
        ends.append(at_s + 1 / FRAMES_PER_S)
        if on_progress is not None:
            on_progress(at_s)
    samples, began_s = sound.joined()
    if len(samples):
        starts.append(began_s)
        ends.append(began_s + len(samples) / RATE_HZ)
    return MediaReading(
        duration_s=round(max(ends, default=0.0) - min(starts, default=0.0), 3),
        counters=tuple(counters),
        audio_s=round(sound.decoded / RATE_HZ, 3),
        flashes=tuple(flashes),
        beeps=tuple(began_s + beep for beep in find_beeps(samples)),
    )


def luma_of(frame: av.VideoFrame) -> npt.NDArray[np.uint8]:
    """Give the luma plane of a decoded frame, (height, width)."""
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), dtype=np.uint8).reshape(-1, plane.line_size)
    luma: npt.NDArray[np.uint8] = rows[: frame.height, : frame.width]
    return luma


class _Sound:
    """Puts decoded audio frames at their times, one channel, 48 kHz."""

    def __init__(self) -> None:
        self._resampler = AudioResampler(format="flt", layout="mono", rate=RATE_HZ)
        self._pieces: list[npt.NDArray[np.float32]] = []
        self._began_s = 0.0
        self._length = 0
        self.decoded = 0

    def add(self, frame: av.AudioFrame) -> None:
        """Take a frame."""
        at_s = float(frame.time or 0)
        if not self._pieces:
            self._began_s = at_s
        frame.pts = None  # the resampler would fill or refuse holes of its own accord
        for part in self._resampler.resample(frame):
            piece = part.to_ndarray().reshape(-1).astype(np.float32)
            hole = round((at_s - self._began_s) * RATE_HZ) - self._length
            if hole > _MAX_AUDIO_GAP:
                raise ReadingError(f"the sound jumps by {hole / RATE_HZ:.0f} s at {at_s:.3f} s")
            if hole > RATE_HZ // 100:
                self._pieces.append(np.zeros(hole, dtype=np.float32))
                self._length += hole
            self._pieces.append(piece)
            self._length += len(piece)
            self.decoded += len(piece)

    def joined(self) -> tuple[npt.NDArray[np.float32], float]:
        """All samples, holes as silence, and the time of the first one."""
        if not self._pieces:
            return np.zeros(0, dtype=np.float32), 0.0
        return np.concatenate(self._pieces), self._began_s
