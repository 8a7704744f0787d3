"""Encodes a track's sound as AAC for players that know no Opus: decoded run after run, on one timeline.

What was not recorded becomes silence and what overlaps is left out, so that the encoder sees one row of
samples and the sound stays where it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final

import av
import numpy as np
from av.audio.resampler import AudioResampler

RATE_HZ: Final = 48_000
BIT_RATE: Final = 128_000
_LAYOUT: Final = "stereo"
_CHANNELS: Final = 2
_BLOCK: Final = 1024  # samples of an AAC frame; silence is made in blocks of as many
_SLACK: Final = RATE_HZ // 200  # 5 ms: frames that begin so near to where the last one ended follow on it


class AacTrack:
    """One stream of AAC; samples come in order of time."""

    def __init__(self, file: Any) -> None:
        """Add the stream to an open output container."""
        self.stream = file.add_stream("aac", rate=RATE_HZ)
        self.stream.codec_context.bit_rate = BIT_RATE
        self.stream.codec_context.layout = _LAYOUT
        self.stream.codec_context.format = "fltp"
        self._resampler = AudioResampler(format="fltp", layout=_LAYOUT, rate=RATE_HZ, frame_size=0)
        self._next: int | None = None  # place of the next sample

    def decode(self, source: Any, *, shift_s: Fraction, end_s: Fraction | None) -> Iterator[Any]:
        """Take one run; gives the packets that come of it.

        Args:
            source: the run, opened.
            shift_s: where its pts 0 lies in the file.
            end_s: where the next run begins; what would come after it is left out. None: nowhere.
        """
        for frame in source.decode(audio=0):
            if frame.pts is None:
                continue
            start = round((frame.pts * frame.time_base + shift_s) * RATE_HZ)
            if end_s is not None and start >= end_s * RATE_HZ:
                break
            for block in self._resample(frame):
                yield from self._place(block, start)
                start += block.shape[1]

    def finish(self) -> Iterator[Any]:
        """Give what is still inside."""
        yield from self.stream.encode(None)

    def _resample(self, frame: Any) -> Iterator[Any]:
        frame.pts = None  # places are counted here
        for resampled in self._resampler.resample(frame):
            yield resampled.to_ndarray()

    def _place(self, samples: Any, start: int) -> Iterator[Any]:
        if self._next is None:
            self._next = start
        missing = start - self._next
        if missing > _SLACK:
            for left in range(missing, 0, -_BLOCK):
                yield from self._encode(np.zeros((_CHANNELS, min(left, _BLOCK)), np.float32))
        elif missing < -_SLACK:
            samples = samples[:, -missing:]
        if samples.shape[1]:
            yield from self._encode(samples)

    def _encode(self, samples: Any) -> Iterator[Any]:
        assert self._next is not None
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=_LAYOUT)
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, self._next, Fraction(1, RATE_HZ)
        self._next += samples.shape[1]
        yield from self.stream.encode(frame)
