"""Writes VP8 as WebM: the head of an init run, and one cluster as a fragment.

Source: RFC 8794 (EBML), RFC 9559 sections 5.1 and 10 (Matroska), the WebM container guidelines.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from recorder.core.chunking import TrackFormat
from recorder.core.fragments import Packet
from recorder.core.units import CodecSetup

TIME_BASE: Final = Fraction(1, 1000)
_UNKNOWN_SIZE: Final = b"\x01\xff\xff\xff\xff\xff\xff\xff"
_TRACK: Final = b"\x81"
_KEY, _OTHER = 0x80, 0x00
_MAX_BLOCK_TIME: Final = 0x7FFF


def vp8_format(setup: CodecSetup, *, written_by: bytes = b"greenroom") -> TrackFormat:
    """Give the init run of a VP8 track of this size; ``written_by`` names who encoded it, if we did."""
    header = _element(
        "1A45DFA3",
        _number("4286", 1),
        _number("42F7", 1),
        _number("42F2", 4),
        _number("42F3", 8),
        _element("4282", b"webm"),
        _number("4287", 4),
        _number("4285", 2),
    )
    info = _element(
        "1549A966",
        _number("2AD7B1", 1_000_000),
        _element("4D80", b"greenroom"),
        _element("5741", written_by),
    )
    video = _element("E0", _number("B0", setup.width), _number("BA", setup.height))
    entry = _element(
        "AE", _number("D7", 1), _number("73C5", 1), _number("83", 1), _element("86", b"V_VP8"), video
    )
    segment = bytes.fromhex("18538067") + _UNKNOWN_SIZE + info + _element("1654AE6B", entry)
    return TrackFormat(
        kind="video",
        codec="vp8",
        mime='video/webm; codecs="vp8"',
        time_base=TIME_BASE,
        init_part=header + segment,
        width=setup.width,
        height=setup.height,
    )


def encode_cluster(sequence: int, packets: Sequence[Packet]) -> bytes:
    """Write a cluster.

    Args:
        sequence: not written; clusters have no numbers.
        packets: at least one, pts in milliseconds, rising, spanning at most 32 s.

    Raises:
        ValueError: no packets, or they do not rise or span too much (the caller's mistake).
    """
    if not packets or packets[0].pts < 0:
        raise ValueError("a cluster needs at least one packet, and none before time 0")
    first = packets[0].pts
    blocks = []
    last = first - 1
    for packet in packets:
        if packet.pts <= last or packet.pts - first > _MAX_BLOCK_TIME:
            raise ValueError("pts do not rise within the cluster, or it spans more than 32 s")
        last = packet.pts
        flags = _KEY if packet.is_keyframe else _OTHER
        blocks.append(_element("A3", _TRACK + struct.pack(">hB", packet.pts - first, flags) + packet.data))
    return _element("1F43B675", _number("E7", first), *blocks)


def _element(kind: str, *content: bytes) -> bytes:
    joined = b"".join(content)
    return bytes.fromhex(kind) + (0x0100_0000_0000_0000 | len(joined)).to_bytes(8, "big") + joined


def _number(kind: str, value: int) -> bytes:
    return _element(kind, value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))
