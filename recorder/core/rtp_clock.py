"""Where a track's RTP time lies on the attempt's clock: by arrival first, by sender reports once they come.

Sender reports put all tracks of one participant on that participant's wall clock, so that sound fits picture
whatever the network does; how far that clock is from ours is the least delay that any of its tracks showed.
The first report comes seconds after the first packet and is never waited for. A report on sound says when its
sender handed the samples over, which a busy one does late and never early: the least of the last ones counts.

Source: RFC 3550 section 6.4.1; recording.md §1.
"""

from __future__ import annotations

from collections import deque
from typing import Final

_WINDOW_US: Final = 5_000_000
_CLAIMS: Final = 3  # reports of which the least counts; there is one about every five seconds
_JUMP_US: Final = 1_000_000


class _Least:
    """The least value of the last one to two windows."""

    def __init__(self) -> None:
        self._current: int | None = None
        self._previous: int | None = None
        self._since_us = 0

    def add(self, value: int, now_us: int) -> None:
        if self._current is None or now_us - self._since_us > _WINDOW_US:
            self._previous, self._current, self._since_us = self._current, value, now_us
        elif value < self._current:
            self._current = value

    @property
    def value(self) -> int | None:
        if self._previous is None or self._current is None:
            return self._current
        return min(self._current, self._previous)


class ParticipantClock:
    """What the tracks of one participant have in common: how far its wall clock is from ours."""

    def __init__(self) -> None:
        self._tracks: list[RtpClock] = []

    def track(self, rate_hz: int) -> RtpClock:
        """Make the clock of one of its tracks."""
        clock = RtpClock(self, rate_hz)
        self._tracks.append(clock)
        return clock

    def forget(self, clock: RtpClock) -> None:
        """Leave out a track that ended."""
        if clock in self._tracks:
            self._tracks.remove(clock)

    def distance_us(self) -> int | None:
        """Ours minus the participant's; None before the first report."""
        found = [distance for track in self._tracks if (distance := track.own_distance_us()) is not None]
        return min(found, default=None)


class RtpClock:
    """The clock of one track. Made by `ParticipantClock.track`."""

    def __init__(self, participant: ParticipantClock, rate_hz: int) -> None:
        self._participant = participant
        self._rate_hz = rate_hz
        self._arrival = _Least()  # of arrival minus RTP time, microseconds
        self._claims: deque[int] = deque(maxlen=_CLAIMS)
        self._reported: int | None = None  # participant's wall clock minus RTP time, microseconds

    @property
    def is_reported(self) -> bool:
        """Whether a sender report has come."""
        return self._reported is not None

    def arrived(self, rtp_time: int, arrival_us: int) -> None:
        """Note when the first packet of a unit came, on the attempt's clock."""
        self._arrival.add(arrival_us - self.microseconds(rtp_time), arrival_us)

    def report(self, rtp_time: int, ntp_us: int) -> None:
        """Take a sender report; its RTP time counted on over wraps as that of the units."""
        claim = ntp_us - self.microseconds(rtp_time)
        if self._claims and abs(claim - self._claims[-1]) > _JUMP_US:
            self._claims.clear()  # its time stood still, or it is counted anew
        self._claims.append(claim)
        self._reported = min(self._claims)

    def own_distance_us(self) -> int | None:
        """Our clock minus the participant's, as far as this track can tell: its least delay is in it."""
        arrival = self._arrival.value
        if self._reported is None or arrival is None:
            return None
        return arrival - self._reported

    def place_us(self, rtp_time: int) -> int:
        """Give where an RTP time lies on the attempt's clock, microseconds; after `arrived`."""
        distance = self._participant.distance_us() if self._reported is not None else None
        if self._reported is not None and distance is not None:
            return self.microseconds(rtp_time) + self._reported + distance
        return self.microseconds(rtp_time) + (self._arrival.value or 0)

    def microseconds(self, rtp_time: int) -> int:
        """Convert ticks."""
        return rtp_time * 1_000_000 // self._rate_hz
