"""From arrival times to pts: one monotonic clock for all tracks of an attempt, so that sound fits picture.

Decoded audio carries no time and decoded video only the receiver's clock. Video is placed where that clock
says it is shown; audio is a run of samples without holes whose place is corrected when it no longer fits the
times at which its blocks arrive. All times count from the beginning of the attempt.

Source: recording.md §1, livekit-facts 16.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

VIDEO_TIME_BASE: Final = Fraction(1, 90_000)
AUDIO_RATE_HZ: Final = 48_000
AUDIO_TIME_BASE: Final = Fraction(1, AUDIO_RATE_HZ)

_MAX_CLOCK_DISTANCE_US: Final = 500_000  # a frame time further from its arrival is not of our clock
_MIN_FRAME_PTS: Final = 90  # 1 ms: two frames never stand at one pts

_TOLERANCE: Final = AUDIO_RATE_HZ * 30 // 1_000  # 30 ms: below, arrival jitter and clock drift are left alone
_WINDOW: Final = AUDIO_RATE_HZ // 2  # what half a second of blocks agrees on is no jitter
_JUMP: Final = AUDIO_RATE_HZ  # a block one second late does not wait for the others to agree
MAX_SILENCE: Final = 5 * AUDIO_RATE_HZ  # a longer hole stays a hole, and coverage shows it


def picture_time_us(*, arrival_us: int, shown_us: int | None) -> int:
    """Give when a frame is to be seen: as the receiver says, if that can be its clock's time."""
    if shown_us is not None and abs(shown_us - arrival_us) <= _MAX_CLOCK_DISTANCE_US:
        return shown_us
    return arrival_us


class VideoTimeline:
    """Gives frames of one track their pts, always rising."""

    def __init__(self) -> None:
        self._last = -_MIN_FRAME_PTS

    def place(self, *, arrival_us: int, shown_us: int | None) -> int:
        """Give one frame its pts.

        Args:
            arrival_us: when it came, microseconds after the attempt's beginning.
            shown_us: when the receiver means it to be shown, on the same clock; None when it does not say.

        Returns:
            Ticks of VIDEO_TIME_BASE, more than the frame before.
        """
        at_us = picture_time_us(arrival_us=arrival_us, shown_us=shown_us)
        self._last = max(at_us * 9 // 100, self._last + _MIN_FRAME_PTS)
        return self._last


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundPlace:
    """Where a block of samples goes.

    Attributes:
        pts: place of the first sample that is kept, in samples after the attempt's beginning.
        silence: samples of silence that go right before it.
        drop: samples to leave out at the block's beginning.
        is_jump: the block does not follow what was before; there is a hole without silence.
    """

    pts: int
    silence: int = 0
    drop: int = 0
    is_jump: bool = False


class AudioTimeline:
    """Gives blocks of samples of one track their place, without overlap and with holes filled."""

    def __init__(self) -> None:
        self._next: int | None = None
        self._debt = 0  # samples still to be left out
        self._earliest: int | None = None  # least lateness seen in this window
        self._seen = 0  # samples in this window

    def place(self, *, arrival_us: int, samples: int) -> SoundPlace:
        """Place one block.

        Args:
            arrival_us: when its last sample came, microseconds after the attempt's beginning.
            samples: how many it has, per channel, at AUDIO_RATE_HZ.
        """
        heard_at = max(0, arrival_us * AUDIO_RATE_HZ // 1_000_000 - samples)
        if self._next is None:
            self._next = heard_at
        late = heard_at - (self._next - self._debt)  # what is still to be left out moves the place too
        hole = self._hole(late, samples)
        if hole > MAX_SILENCE:
            start = self._next + hole
            self._next = start + samples
            return SoundPlace(pts=start, is_jump=True)
        if hole < 0:
            self._debt -= hole
            hole = 0
        drop = min(self._debt, samples)
        self._debt -= drop
        start = self._next + hole
        self._next = start + samples - drop
        return SoundPlace(pts=start, silence=hole, drop=drop)

    def _hole(self, late: int, samples: int) -> int:
        """How far the place has to move: more than 0 for missing samples, less for too many."""
        if late > _JUMP:
            self._begin_window()
            return late
        self._earliest = late if self._earliest is None else min(self._earliest, late)
        self._seen += samples
        if self._seen < _WINDOW:
            return 0
        # Blocks can be late (a busy machine) but never early: the least late one tells the truth.
        agreed = self._earliest
        self._begin_window()
        return agreed if abs(agreed) > _TOLERANCE else 0

    def _begin_window(self) -> None:
        self._earliest = None
        self._seen = 0
