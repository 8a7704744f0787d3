"""Reads the header extensions of RTP packets, and writes the one that is passed on.

Source: RFC 8285 (both forms), AV1's RTP specification, appendix A (the dependency descriptor).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

UNHEARD: Final = 255  # a number that nobody agrees on: who does not know an extension passes over it
_SHORT, _LONG = b"\xbe\xde", b"\x10\x00"


def extensions(packet: bytes, end: int, start: int) -> Iterator[tuple[int, bytes]]:
    """Give number and value of each header extension between ``end`` of the header and ``start``."""
    form, at = packet[end : end + 2], end + 4
    stop = min(start, len(packet))
    if form not in (_SHORT, _LONG):
        return
    while at < stop:
        if packet[at] == 0:
            at += 1  # padding
            continue
        if form == _SHORT:
            number, size, at = packet[at] >> 4, (packet[at] & 15) + 1, at + 1
            if number == 15:
                return
        elif at + 1 < stop:
            number, size, at = packet[at], packet[at + 1], at + 2
        else:
            return
        yield number, packet[at : at + size]
        at += size


def only(packet: bytes, end: int, start: int, number: int) -> bytes:
    """Write one header extension anew, alone and as `UNHEARD`; nothing if there is none of this number."""
    value = dict(extensions(packet, end, start)).get(number)
    if value is None:
        return b""
    block = bytes((UNHEARD, len(value))) + value
    block += bytes(-len(block) % 4)
    return _LONG + (len(block) // 4).to_bytes(2, "big") + block


def rename(packet: bytearray, number: int) -> None:
    """Give what `only` wrote into this packet the number that its receiver knows it by."""
    packet[16 + 4 * (packet[0] & 15)] = number
