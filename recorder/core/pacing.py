"""Leaves out pictures of a track that come faster than they are to be encoded."""

from __future__ import annotations

from fractions import Fraction


class FramePacing:
    """Takes at most so many pictures a second in the mean, and lets the jitter of their times be.

    Each picture taken moves the next one's due time on by one interval exactly; a picture may come up to
    three quarters of an interval before it is due, so that a camera of the wanted rate loses none.
    """

    def __init__(self, frames_per_s: int, time_base: Fraction) -> None:
        """Make one.

        Args:
            frames_per_s: at most, at least 1.
            time_base: seconds per tick of the times.
        """
        self._interval = Fraction(1, frames_per_s) / time_base
        self._due: Fraction | None = None

    def takes(self, pts: int) -> bool:
        """Whether the picture at ``pts`` is to be encoded; times rise."""
        if self._due is None:
            self._due = Fraction(pts)
        elif pts < self._due - self._interval * 3 / 4:
            return False
        self._due = max(self._due, pts - self._interval) + self._interval
        return True
