"""The clear header of a sealed chunk: where it belongs and which media time it covers, in fixed widths.

The header is the AAD of the chunk's encryption and part of its leaf, so nothing in it can be changed unseen.

Source: docs/RECORDING.md §4.1.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from typing import Final

from vault.core.ids import (
    MAX_ATTEMPT,
    MAX_INDEX,
    MAX_LEAF,
    MAX_TRACK,
    RecordingId,
    decode_recording_id,
    encode_recording_id,
)
from vault.errors import FormatError

FORMAT_VERSION: Final = 1
HEADER_BYTES: Final = 104
MAX_PLAINTEXT_BYTES: Final = 32 * 1024 * 1024
MAX_PTS: Final = 2**62  # magnitude, ticks
MAX_OFFSET_US: Final = 2**52  # magnitude, microseconds: 142 years

_MAGIC: Final = b"GRVC"
_HAS_KEYFRAME: Final = 0x01
_LAYOUT: Final = struct.Struct(">4sHBB16s16sIIIIIQQIqQq")
assert _LAYOUT.size == HEADER_BYTES


class ChunkKind(IntEnum):
    """What the plaintext of a chunk is."""

    MEDIA = 0  # whole fragments
    INIT = 1  # prologue and init part: begins an init run
    LAST = 2  # nothing: the track ends here, and nothing of it is missing (`is_last`)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkHeader:
    """One chunk's place and time.

    Attributes:
        tenant: 16 bytes, zero until there are tenants.
        track: number of the track within its attempt, from 1.
        run: number of the init run within its track, from 0.
        time_base: seconds per tick of ``first_pts`` and ``duration_pts``.
        index: number of the chunk within its track over all its runs, from 0.
        leaf: number of the chunk within its attempt's tree, from 0.
        plaintext_bytes: length of the plaintext.
        first_pts: smallest pts in the chunk, as the container states it; 0 unless media.
        duration_pts: ticks from ``first_pts`` to the end of the chunk; 0 unless media.
        offset_us: where pts 0 of the run lies, microseconds after the attempt's wall clock start, as known
            when the chunk was sealed. The last chunk of a run knows best.
        has_keyframe: decoding can begin within this chunk.
    """

    kind: ChunkKind
    recording_id: RecordingId
    attempt: int
    track: int
    run: int
    time_base: Fraction
    index: int
    leaf: int
    plaintext_bytes: int
    first_pts: int = 0
    duration_pts: int = 0
    offset_us: int = 0
    has_keyframe: bool = False
    tenant: bytes = bytes(16)

    def __post_init__(self) -> None:
        _check_range("attempt", self.attempt, 1, MAX_ATTEMPT)
        _check_range("track", self.track, 1, MAX_TRACK)
        _check_range("run", self.run, 0, 2**32 - 1)
        _check_range("time base numerator", self.time_base.numerator, 1, 2**32 - 1)
        _check_range("time base denominator", self.time_base.denominator, 1, 2**32 - 1)
        _check_range("index", self.index, 0, MAX_INDEX)
        _check_range("leaf", self.leaf, 0, MAX_LEAF)
        _check_range("plaintext length", self.plaintext_bytes, 0, MAX_PLAINTEXT_BYTES)
        _check_range("first pts", self.first_pts, -MAX_PTS, MAX_PTS)
        _check_range("duration", self.duration_pts, 0, MAX_PTS)
        _check_range("offset", self.offset_us, -MAX_OFFSET_US, MAX_OFFSET_US)
        if len(self.tenant) != 16:
            raise ValueError(f"a tenant of {len(self.tenant)} bytes where 16 are needed")
        if self.kind is not ChunkKind.MEDIA and (self.first_pts or self.duration_pts or self.has_keyframe):
            raise ValueError("only a media chunk covers media time")
        if (self.plaintext_bytes == 0) is not (self.kind is ChunkKind.LAST):
            raise ValueError("the last chunk of a track is empty, and only that one")

    @property
    def is_last(self) -> bool:
        """Whether the track ends with this chunk."""
        return self.kind is ChunkKind.LAST


def encode_header(header: ChunkHeader) -> bytes:
    """The 104 bytes of a header."""
    return _LAYOUT.pack(
        _MAGIC,
        FORMAT_VERSION,
        header.kind,
        _HAS_KEYFRAME if header.has_keyframe else 0,
        header.tenant,
        encode_recording_id(header.recording_id),
        header.attempt,
        header.track,
        header.run,
        header.time_base.numerator,
        header.time_base.denominator,
        header.index,
        header.leaf,
        header.plaintext_bytes,
        header.first_pts,
        header.duration_pts,
        header.offset_us,
    )


def decode_header(data: bytes) -> ChunkHeader:
    """Read a header from the beginning of a sealed chunk.

    Raises:
        FormatError: too short, another format or version, or a value outside its range.
    """
    if len(data) < HEADER_BYTES:
        raise FormatError(f"it has {len(data)} bytes, fewer than the {HEADER_BYTES} of a chunk header")
    magic, version, kind, flags, tenant, recording, *numbers = _LAYOUT.unpack_from(data)
    if magic != _MAGIC:
        raise FormatError("it is not a sealed chunk")
    if version != FORMAT_VERSION:
        raise FormatError(f"it has format version {version}, this program reads version {FORMAT_VERSION}")
    attempt, track, run, tb_num, tb_den, index, leaf, length, first_pts, duration_pts, offset_us = numbers
    try:
        header = ChunkHeader(
            kind=ChunkKind(kind),
            recording_id=decode_recording_id(recording),
            attempt=attempt,
            track=track,
            run=run,
            time_base=Fraction(tb_num, tb_den),
            index=index,
            leaf=leaf,
            plaintext_bytes=length,
            first_pts=first_pts,
            duration_pts=duration_pts,
            offset_us=offset_us,
            has_keyframe=flags == _HAS_KEYFRAME,
            tenant=tenant,
        )
    except (ValueError, ZeroDivisionError) as error:
        raise FormatError(f"its header is not valid: {error}") from error
    if encode_header(header) != data[:HEADER_BYTES]:  # unknown flags, a time base that is not reduced
        raise FormatError("its header is not in its canonical form")
    return header


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} {value} is outside {low}..{high}")
