"""What a disk was told, in its order, and what a power cut at some moment leaves of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

PIECE_BYTES: Final = 4096  # of a write that was in the cache each piece may be there or not


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes that the disk has taken; they may still be in its cache."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Flush:
    """Everything written before is durable."""


@dataclass(frozen=True, slots=True)
class Promise:
    """Somebody holds something for stored from now on."""

    line: str


Entry = Write | Flush | Promise


def cut_power(empty: bytes, log: Sequence[Entry], at: int, luck: Random) -> bytearray:
    """Give the disk after a power cut before entry ``at``.

    All that was written before the last flush is there; of what came after it any piece is there or not.

    Args:
        empty: the disk before the first entry.
        log: what it was told.
        at: 0 to ``len(log)``.
        luck: chooses the pieces; some disks lose all of their cache, some nothing.
    """
    image = bytearray(empty)
    told = log[:at]
    durable = max((place for place, entry in enumerate(told) if isinstance(entry, Flush)), default=-1)
    share = luck.choice((0.0, 0.5, 1.0))
    for place, entry in enumerate(told):
        if not isinstance(entry, Write):
            continue
        for start in range(0, len(entry.data), PIECE_BYTES):
            if place < durable or luck.random() < share:
                piece = entry.data[start : start + PIECE_BYTES]
                image[entry.offset + start : entry.offset + start + len(piece)] = piece
    return image


def promises(log: Sequence[Entry], at: int) -> list[str]:
    """Give what was promised before entry ``at``."""
    return [entry.line for entry in log[:at] if isinstance(entry, Promise)]
