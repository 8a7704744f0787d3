"""Moves MP4 fragments in time: HLS wants all tracks on one timeline, a run's own begins at its first picture.

Source: ISO/IEC 14496-12:2022, 8.8.12 (tfdt).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from vault.errors import FormatError

_CONTAINERS: Final = frozenset({b"moof", b"traf"})
_HEADER_BYTES: Final = 8


def shift_fragments(data: bytes, ticks: int) -> bytes:
    """Add ``ticks`` to the decode time of every fragment; nothing else changes.

    Args:
        data: whole fragments (moof and mdat) of one track.
        ticks: of the track's time scale; what would come before 0 begins at 0.

    Raises:
        FormatError: these are no MP4 fragments.
    """
    moved = bytearray(data)
    found = 0
    for at in _find_times(data, 0, len(data)):
        version = data[at]
        form = ">Q" if version else ">I"
        if at + 4 + struct.calcsize(form) > len(data):
            raise FormatError("its media is cut off within a fragment's time")
        (time,) = struct.unpack_from(form, data, at + 4)
        limit = 2 ** (64 if version else 32) - 1
        struct.pack_into(form, moved, at + 4, min(max(time + ticks, 0), limit))
        found += 1
    if not found:
        raise FormatError("its media has no fragment that says its time")
    return bytes(moved)


def _find_times(data: bytes, start: int, end: int) -> Iterator[int]:
    """Where the content of each tfdt box begins."""
    while start + _HEADER_BYTES <= end:
        length, kind = struct.unpack_from(">I4s", data, start)
        if length < _HEADER_BYTES or start + length > end:
            raise FormatError("its media is no row of MP4 boxes")
        if kind == b"tfdt":
            yield start + _HEADER_BYTES
        elif kind in _CONTAINERS:
            yield from _find_times(data, start + _HEADER_BYTES, start + length)
        start += length
