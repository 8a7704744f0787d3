"""Puts a stream's packets in order, says which to ask for again, and gives up what does not come.

Nothing is played here, so a lost packet may be waited for longer than a player could: as long as its sender
keeps it. Source: RFC 4585 section 6.2.1; RFC 3550 appendix A.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

GIVE_UP_US: Final = 1_000_000  # after which a missing packet is lost
ASK_EVERY_US: Final = 80_000
MAX_HELD: Final = 1024  # packets behind a hole; more is a hole that nobody fills


class PacketOrder:
    """The packets of one SSRC.

    Attributes:
        received: packets that came, repeated ones not counted.
        lost: packets that were given up.
        repeated: packets that came twice.
    """

    def __init__(self) -> None:
        self._next: int | None = None
        self._first = 0
        self._held: dict[int, bytes] = {}
        self._missing: dict[int, int] = {}  # number -> since when, microseconds
        self._ask_at_us = 0
        self.received = 0
        self.lost = 0
        self.repeated = 0

    @property
    def is_holding(self) -> bool:
        """Whether packets are kept behind a hole."""
        return bool(self._held)

    @property
    def highest(self) -> int:
        """The highest sequence number so far, counted on over wraps."""
        return max(self._held, default=(self._next or 0) - 1)

    @property
    def expected(self) -> int:
        """How many packets should have come so far."""
        return 0 if self._next is None else self.highest - self._first + 1

    def take(self, packet: bytes, now_us: int) -> bool:
        """Take a packet.

        Returns:
            True: it is the next one, and the caller has it. Otherwise it is kept (or was here before);
            `ready` gives what became whole.
        """
        low = packet[2] << 8 | packet[3]
        if self._next is None:
            self._next = self._first = low
        ahead = (low - self._next) & 0xFFFF  # of the next one, which most packets are
        number = self._next + (ahead if ahead < 0x8000 else ahead - 0x10000)
        if not ahead:
            self._next = number + 1
            self.received += 1
            if self._missing:
                self._missing.pop(number, None)
            return True
        if number < self._next or number in self._held:
            self.repeated += 1
            return False
        self.received += 1
        self._missing.pop(number, None)
        for absent in range(max(self._next, number - MAX_HELD), number):
            if absent not in self._held and absent not in self._missing:
                self._missing[absent] = now_us
        self._held[number] = packet
        return False

    def ready(self) -> Iterator[bytes]:
        """Give the kept packets that follow without a hole."""
        while self._held and self._next in self._held:
            packet = self._held.pop(self._next)
            self._next += 1
            yield packet

    def to_ask_for(self, now_us: int) -> list[int]:
        """Give the missing numbers if it is time to ask for them (again), rising."""
        if not self._missing or now_us < self._ask_at_us:
            return []
        self._ask_at_us = now_us + ASK_EVERY_US
        return sorted(self._missing)

    def give_up(self, now_us: int, *, at_once: bool = False) -> bool:
        """Skip the hole in front when its packets have been missing for too long, or ``at_once``.

        Returns:
            Whether packets were lost: what follows in `ready` does not follow what was before.
        """
        if not self._held or self._next is None:
            return False
        is_due = at_once or len(self._held) >= MAX_HELD
        if not is_due and now_us - min(self._missing.values(), default=now_us) < GIVE_UP_US:
            return False
        first = min(self._held)
        self.lost += first - self._next
        for number in [number for number in self._missing if number < first]:
            del self._missing[number]
        self._next = first
        return True
