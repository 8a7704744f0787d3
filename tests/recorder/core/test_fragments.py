"""One moof and mdat, byte by byte where it matters, and refused input."""

from __future__ import annotations

import struct

import pytest

from recorder.core.fragments import Packet, encode_fragment


def packet(pts: int, data: bytes = b"x", *, is_keyframe: bool = False) -> Packet:
    return Packet(pts=pts, duration_pts=10, data=data, is_keyframe=is_keyframe)


def boxes(data: bytes) -> dict[str, bytes]:
    found = {}
    while data:
        size, kind = struct.unpack(">I4s", data[:8])
        found[kind.decode()] = data[8:size]
        data = data[size:]
    return found


def test_the_boxes_say_times_sizes_and_keyframes() -> None:
    packets = [packet(100, b"abc", is_keyframe=True), packet(130, b"de"), packet(150, b"f")]
    data = encode_fragment(7, packets)
    top = boxes(data)
    assert top["mdat"] == b"abcdef"
    assert boxes(top["moof"])["mfhd"][4:] == struct.pack(">I", 7)
    track = boxes(boxes(top["moof"])["traf"])
    assert track["tfdt"] == struct.pack(">IQ", 1 << 24, 100)
    count, offset = struct.unpack(">Ii", track["trun"][4:12])
    assert count == 3
    assert data[offset : offset + 3] == b"abc"
    entries = [struct.unpack(">III", track["trun"][12 + n * 12 : 24 + n * 12]) for n in range(3)]
    assert [entry[:2] for entry in entries] == [(30, 3), (20, 2), (10, 1)]
    assert [bool(entry[2] & 0x10000) for entry in entries] == [False, True, True]


@pytest.mark.parametrize("bad", [[], [packet(-1)], [packet(5), packet(5)], [packet(5), packet(4)]])
def test_packets_that_are_none_early_or_out_of_order_are_refused(bad: list[Packet]) -> None:
    with pytest.raises(ValueError, match=r"fragment"):
        encode_fragment(1, bad)
