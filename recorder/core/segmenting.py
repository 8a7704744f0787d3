"""Cuts a track's packets into fragments by time, at any packet, so that a kill loses little.

Source: recording.md §2 (Fragment).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from recorder.core.fragments import Packet, encode_fragment

FRAGMENT_S: Final = 1
MAX_FRAGMENT_BYTES: Final = 4 * 1024 * 1024  # a chunk is at most this, and holds whole fragments
MAX_AGE_S: Final = 1.25  # by the wall clock: a track that falls silent does not keep what it has


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """One moof and mdat and the media time it covers, in ticks of its track."""

    data: bytes = field(repr=False)
    first_pts: int
    duration_pts: int
    has_keyframe: bool
    packets: int


class Segmenter:
    """Collects packets of one init run until a fragment is full.

    The newest packet is held back until the next one tells how long it lasts.
    """

    def __init__(
        self,
        time_base: Fraction,
        encode: Callable[[int, Sequence[Packet]], bytes] = encode_fragment,
    ) -> None:
        """Make one; ``encode`` writes a fragment from its number, from 1, and its packets."""
        self._encode = encode
        self._limit_pts = int(FRAGMENT_S / time_base)
        self._ready: list[Packet] = []
        self._ready_bytes = 0
        self._newest: Packet | None = None
        self._sequence = 0
        self._began_s: float | None = None

    def add(self, packet: Packet, *, now_s: float) -> Fragment | None:
        """Take a packet.

        Args:
            packet: pts more than the one before. Its duration is used when no other packet follows in time.
            now_s: monotonic time.

        Returns:
            The fragment that this packet completes by not belonging to it.
        """
        newest, self._newest = self._newest, packet
        if self._began_s is None:
            self._began_s = now_s
        if newest is None:
            return None
        self._keep(newest.lasting(packet.pts - newest.pts))
        is_full = (
            packet.pts - self._ready[0].pts >= self._limit_pts
            or self._ready_bytes + len(packet.data) > MAX_FRAGMENT_BYTES
        )
        return self._cut(now_s) if is_full else None

    def is_due(self, now_s: float) -> bool:
        """Whether what is held has waited for its fragment's end long enough."""
        return self._began_s is not None and now_s - self._began_s >= MAX_AGE_S

    def flush(self, *, now_s: float) -> Fragment | None:
        """Cut now, with the newest packet and its own duration; None when nothing is held."""
        if self._newest is not None:
            self._keep(self._newest)
            self._newest = None
        return self._cut(now_s) if self._ready else None

    def _keep(self, packet: Packet) -> None:
        self._ready.append(packet)
        self._ready_bytes += len(packet.data)

    def _cut(self, now_s: float) -> Fragment:
        packets, self._ready, self._ready_bytes = self._ready, [], 0
        self._began_s = None if self._newest is None else now_s
        self._sequence += 1
        return Fragment(
            data=self._encode(self._sequence, packets),
            first_pts=packets[0].pts,
            duration_pts=packets[-1].pts + packets[-1].duration_pts - packets[0].pts,
            has_keyframe=any(packet.is_keyframe for packet in packets),
            packets=len(packets),
        )
