"""Writes one MP4 fragment (moof and mdat) from encoded packets, so that it can be cut at any packet.

FFmpeg's own muxer writes a fragment only when the next packet arrives, which a muted track may never see.

Source: ISO/IEC 14496-12:2022, 8.8 (movie fragments).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

_DEFAULT_BASE_IS_MOOF: Final = 0x020000  # tfhd: data offsets count from the moof
_DATA_OFFSET, _DURATION, _SIZE, _FLAGS = 0x001, 0x100, 0x200, 0x400  # trun: which fields follow
_SYNC_SAMPLE: Final = 0x0200_0000  # sample_depends_on = 2: needs no other
_OTHER_SAMPLE: Final = 0x0101_0000  # sample_depends_on = 1, sample_is_non_sync_sample
_TRACK_ID: Final = 1  # one track in each file


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One encoded frame as MP4 holds it (H.264: NAL units with 4-byte lengths). Times in ticks of its track.

    There are no B-frames, so dts is pts.
    """

    pts: int
    duration_pts: int
    data: bytes = field(repr=False)
    is_keyframe: bool

    def lasting(self, duration_pts: int) -> Packet:
        """The same packet with another duration."""
        return replace(self, duration_pts=duration_pts)


def encode_fragment(sequence: int, packets: Sequence[Packet]) -> bytes:
    """Write moof and mdat.

    Args:
        sequence: number of the fragment within its init run, from 1.
        packets: at least one, in order. Each begins where the one before ends; a hole within the fragment
            counts to the packet before it.

    Raises:
        ValueError: no packets, or a pts that is negative or does not rise (the caller's mistake).
    """
    if not packets or packets[0].pts < 0:
        raise ValueError("a fragment needs at least one packet, and none before time 0")
    durations = [later.pts - packet.pts for packet, later in pairwise(packets)]
    if any(duration <= 0 for duration in durations):
        raise ValueError("pts do not rise within the fragment")
    durations.append(packets[-1].duration_pts)
    entries = b"".join(
        struct.pack(">III", duration, len(packet.data), _SYNC_SAMPLE if packet.is_keyframe else _OTHER_SAMPLE)
        for packet, duration in zip(packets, durations, strict=True)
    )
    head = _full_box(b"mfhd", 0, 0, struct.pack(">I", sequence))
    track = _full_box(b"tfhd", 0, _DEFAULT_BASE_IS_MOOF, struct.pack(">I", _TRACK_ID))
    track += _full_box(b"tfdt", 1, 0, struct.pack(">Q", packets[0].pts))
    run_bytes = 12 + 8 + len(entries)
    moof_bytes = 8 + len(head) + 8 + len(track) + run_bytes
    run = _full_box(
        b"trun",
        0,
        _DATA_OFFSET | _DURATION | _SIZE | _FLAGS,
        struct.pack(">Ii", len(packets), moof_bytes + 8) + entries,
    )
    moof = _box(b"moof", head + _box(b"traf", track + run))
    return moof + _box(b"mdat", b"".join(packet.data for packet in packets))


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _full_box(kind: bytes, version: int, flags: int, content: bytes) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags) + content)
