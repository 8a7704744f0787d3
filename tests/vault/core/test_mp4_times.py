"""Shifting fragments moves every packet by as much, and nothing else."""

from __future__ import annotations

import io
from collections.abc import Callable

import av
import pytest

from recorder.core.fragments import Packet, encode_fragment
from tests.fakes.media import Track, make_audio, make_video
from vault.core.mp4_times import shift_fragments
from vault.errors import FormatError


def times(track: Track, media: bytes) -> list[int]:
    with av.open(io.BytesIO(track.init_part + media), "r") as container:
        return [packet.pts or 0 for packet in container.demux() if packet.size]


@pytest.mark.parametrize("make", [make_video, make_audio])
def test_every_packet_is_moved(make: Callable[[float], Track]) -> None:
    track = make(2)
    media = b"".join(fragment.data for fragment in track.fragments)
    moved = shift_fragments(media, 123_456)
    assert len(moved) == len(media)
    assert times(track, moved) == [time + 123_456 for time in times(track, media)]


def test_the_recorders_own_fragments_are_moved() -> None:
    packet = Packet(pts=90, duration_pts=10, data=b"tfdt", is_keyframe=True)
    later = Packet(pts=2**33, duration_pts=10, data=b"moof", is_keyframe=True)
    assert shift_fragments(encode_fragment(1, [packet]), 7) == encode_fragment(
        1, [Packet(pts=97, duration_pts=10, data=b"tfdt", is_keyframe=True)]
    )
    two = encode_fragment(1, [packet]) + encode_fragment(2, [later])
    assert len(shift_fragments(two, 1)) == len(two)


def test_nothing_comes_before_the_beginning() -> None:
    packet = Packet(pts=90, duration_pts=10, data=b"x", is_keyframe=True)
    first = Packet(pts=0, duration_pts=10, data=b"x", is_keyframe=True)
    assert shift_fragments(encode_fragment(1, [packet]), -100) == encode_fragment(1, [first])


@pytest.mark.parametrize(
    "data", [b"", b"fragments", bytes(8), b"\x00\x00\x00\x09free", b"\x1f\x43\xb6\x75" * 9]
)
def test_what_is_no_mp4_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        shift_fragments(data, 1)
