"""Adds up the sound of several tracks, each at its place in time, and keeps the sum from clipping.

Each track is placed by an `AudioTimeline` of its own, so a publisher whose clock runs fast or slow is
corrected, and a hole is silence. Nothing here waits for a track: what comes after its place was taken is late
and left out.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NewType

import numpy as np
import numpy.typing as npt

from recorder.core.timeline import AUDIO_RATE_HZ, AudioTimeline

CHANNELS: Final = 2
STEP_SAMPLES: Final = AUDIO_RATE_HZ // 200  # 5 ms: the gain changes from one step to the next
HELD_SAMPLES: Final = 2 * AUDIO_RATE_HZ  # what may be ahead of the place that was taken last
CEILING: Final = 29_204  # -1 dBFS: what the sum is held to

_RELEASE: Final = STEP_SAMPLES / (AUDIO_RATE_HZ * 0.3)  # the gain comes back within 300 ms
_FULL: Final = 32_767

VoiceId = NewType("VoiceId", str)
Samples = npt.NDArray[np.int16]


class Mixer:
    """The mix of all voices, two channels at AUDIO_RATE_HZ; times count from its beginning."""

    def __init__(self) -> None:
        self._sum = np.zeros((HELD_SAMPLES, CHANNELS), dtype=np.int32)
        self._taken = 0  # samples given out so far; place of the sum's first one
        self._timelines: dict[VoiceId, AudioTimeline] = {}
        self._limiter = Limiter()
        self.late_samples = 0  # that came after their place was taken

    @property
    def taken(self) -> int:
        """Samples given out so far."""
        return self._taken

    def add(self, voice: VoiceId, data: bytes | bytearray | memoryview, *, arrival_us: int) -> None:
        """Add a block of a voice.

        Args:
            voice: whose; a new one begins where this block lies.
            data: signed 16 bit, two channels interleaved.
            arrival_us: when its last sample came, microseconds after the mixer's beginning.
        """
        block = np.frombuffer(data, dtype=np.int16).reshape(-1, CHANNELS)
        timeline = self._timelines.setdefault(voice, AudioTimeline())
        place = timeline.place(arrival_us=arrival_us, samples=len(block))
        block = block[place.drop :]
        start = place.pts - self._taken
        late = min(max(0, -start), len(block))
        self.late_samples += late
        block, start = block[late:], max(0, start)
        self._sum[start : start + len(block)] += block[: max(0, HELD_SAMPLES - start)]

    def end(self, voice: VoiceId) -> None:
        """Forget a voice; what was added stays. If it comes again, it is placed anew."""
        self._timelines.pop(voice, None)

    def take(self, steps: int) -> Samples:
        """Give the next samples.

        Args:
            steps: how many times STEP_SAMPLES; at most half of HELD_SAMPLES.

        Returns:
            (steps * STEP_SAMPLES, CHANNELS), never beyond CEILING except by what was added since the
            step before was taken.
        """
        count = steps * STEP_SAMPLES
        mixed = self._limiter.limit(self._sum[: count + STEP_SAMPLES])
        self._sum[:-count] = self._sum[count:]
        self._sum[-count:] = 0
        self._taken += count
        return mixed


class Limiter:
    """Turns the gain down before what is too loud comes, and slowly up again."""

    def __init__(self) -> None:
        self._gain = 1.0  # at the end of what was given out

    def limit(self, ahead: npt.NDArray[np.int32]) -> Samples:
        """Limit all but the last step of the samples, which is only looked at.

        Args:
            ahead: (n + STEP_SAMPLES, channels), n a multiple of STEP_SAMPLES.

        Returns:
            (n, channels).
        """
        steps = ahead.reshape(-1, STEP_SAMPLES * ahead.shape[1])
        peaks = np.abs(steps).max(axis=1)
        if self._gain == 1.0 and peaks.max() <= CEILING:
            return ahead[:-STEP_SAMPLES].astype(np.int16)
        allowed = np.minimum(1.0, CEILING / np.maximum(peaks, 1))
        gains = [min(self._gain, float(allowed[0]))]
        for now, following in pairwise(allowed):
            gains.append(min(float(now), float(following), gains[-1] + _RELEASE))
        self._gain = gains[-1]
        at = np.arange(len(gains)) * STEP_SAMPLES
        curve = np.interp(np.arange(1, len(ahead) - STEP_SAMPLES + 1), at, gains)
        limited = ahead[:-STEP_SAMPLES] * curve[:, None]
        return np.clip(np.rint(limited), -_FULL, _FULL).astype(np.int16)
