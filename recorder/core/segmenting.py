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
_EARLY_S: Final = 0.2  # one that begins so shortly before a second of the clock counts to it
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

    The last packet of a fragment lasts until the next one begins; one that no other follows in time has its
    own duration. Fragments end where a second of the clock ends, so that those of all tracks are there at
    once and share a checkpoint.
    """

    def __init__(
        self,
        time_base: Fraction,
        encode: Callable[[int, Sequence[Packet]], bytes] = encode_fragment,
    ) -> None:
        """Make one; ``encode`` writes a fragment from its number, from 1, and its packets."""
        self._encode = encode
        self._limit_pts = int(FRAGMENT_S / time_base)
        self._held: list[Packet] = []
        self._held_bytes = 0
        self._sequence = 0
        self._began_s = 0.0

    def add(self, packet: Packet, *, now_s: float) -> Fragment | None:
        """Take a packet.

        Args:
            packet: pts more than the one before. Its duration is used when no other packet follows in time.
            now_s: monotonic time, on the same clock as that of the other tracks.

        Returns:
            The fragment that this packet completes by not belonging to it.
        """
        fragment = None
        size = len(packet.data)
        if self._held and (
            self._is_full(packet.pts - self._held[0].pts, now_s)
            or self._held_bytes + size > MAX_FRAGMENT_BYTES
        ):
            last = self._held[-1]
            self._held[-1] = last.lasting(packet.pts - last.pts)
            fragment = self._cut()
        if not self._held:
            self._began_s = now_s
        self._held.append(packet)
        self._held_bytes += size
        return fragment

    def is_due(self, now_s: float) -> bool:
        """Whether what is held has waited for its fragment's end long enough."""
        return bool(self._held) and now_s - self._began_s >= MAX_AGE_S

    def flush(self) -> Fragment | None:
        """Cut now, the last packet with its own duration; None when nothing is held."""
        return self._cut() if self._held else None

    def _is_full(self, span_pts: int, now_s: float) -> bool:
        return span_pts >= self._limit_pts or int(now_s) > int(self._began_s + _EARLY_S)

    def _cut(self) -> Fragment:
        packets, self._held, self._held_bytes = self._held, [], 0
        self._sequence += 1
        return Fragment(
            data=self._encode(self._sequence, packets),
            first_pts=packets[0].pts,
            duration_pts=packets[-1].pts + packets[-1].duration_pts - packets[0].pts,
            has_keyframe=any(packet.is_keyframe for packet in packets),
            packets=len(packets),
        )
