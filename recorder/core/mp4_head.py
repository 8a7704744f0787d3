"""Writes the head of an MP4 init run (ftyp and moov) for H.264 and Opus as they come from the room.

The fragments that follow are written by fragments.py.

Source: ISO/IEC 14496-12:2022, 8.1 to 8.8; ISO/IEC 14496-15, 5.3.3 (avcC); "Encapsulation of Opus in ISO Base
Media File Format" 0.8.1, 4.3 (dOps).
"""

from __future__ import annotations

import struct
from fractions import Fraction

from recorder.core.chunking import TrackFormat
from recorder.core.units import CodecSetup

_IDENTITY = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_VIDEO_HZ, _AUDIO_HZ = 90_000, 48_000
_HIGH_PROFILES = frozenset({100, 110, 122, 144})


def h264_format(setup: CodecSetup) -> TrackFormat:
    """Give the init run of an H.264 track with these parameter sets."""
    sequence, _ = setup.parameters
    size = struct.pack(">HH", setup.width, setup.height)
    entry = _box(
        b"avc1",
        bytes(6) + b"\x00\x01" + bytes(16) + size + struct.pack(">IIIH", 0x480000, 0x480000, 0, 1),
        bytes(32) + b"\x00\x18\xff\xff",
        _avc_configuration(setup),
    )
    return TrackFormat(
        kind="video",
        codec="h264",
        mime=f'video/mp4; codecs="avc1.{sequence[1:4].hex()}"',
        time_base=Fraction(1, _VIDEO_HZ),
        init_part=_head(entry, _VIDEO_HZ, b"vide", _full_box(b"vmhd", 1, bytes(8)), setup),
        width=setup.width,
        height=setup.height,
    )


def opus_format(setup: CodecSetup) -> TrackFormat:
    """Give the init run of an Opus track. Nothing is skipped at its beginning: it begins inside a stream."""
    entry = _box(
        b"Opus",
        bytes(6) + b"\x00\x01" + bytes(8) + struct.pack(">HHII", setup.channels, 16, 0, _AUDIO_HZ << 16),
        _box(b"dOps", struct.pack(">BBHIhB", 0, setup.channels, 0, _AUDIO_HZ, 0, 0)),
    )
    return TrackFormat(
        kind="audio",
        codec="opus",
        mime='audio/mp4; codecs="opus"',
        time_base=Fraction(1, _AUDIO_HZ),
        init_part=_head(entry, _AUDIO_HZ, b"soun", _full_box(b"smhd", 0, bytes(4)), setup),
        sample_rate=_AUDIO_HZ,
        channels=setup.channels,
    )


def _avc_configuration(setup: CodecSetup) -> bytes:
    sequence, picture = setup.parameters
    content = b"\x01" + sequence[1:4] + b"\xff\xe1" + struct.pack(">H", len(sequence)) + sequence
    content += b"\x01" + struct.pack(">H", len(picture)) + picture
    if sequence[1] in _HIGH_PROFILES:
        content += b"\xfd\xf8\xf8\x00"  # 4:2:0, 8 bit, no extensions: what WebRTC sends
    return _box(b"avcC", content)


def _head(entry: bytes, rate_hz: int, handler: bytes, media_header: bytes, setup: CodecSetup) -> bytes:
    tables = b"".join(_full_box(kind, 0, bytes(4)) for kind in (b"stts", b"stsc", b"stco"))
    sample_table = _box(
        b"stbl",
        _full_box(b"stsd", 0, b"\x00\x00\x00\x01" + entry),
        tables,
        _full_box(b"stsz", 0, bytes(8)),
    )
    data = _box(b"dinf", _full_box(b"dref", 0, b"\x00\x00\x00\x01" + _full_box(b"url ", 1, b"")))
    media = _box(
        b"mdia",
        _full_box(b"mdhd", 0, bytes(8) + struct.pack(">II", rate_hz, 0) + b"\x55\xc4\x00\x00"),
        _full_box(b"hdlr", 0, bytes(4) + handler + bytes(12) + b"greenroom\x00"),
        _box(b"minf", media_header, data, sample_table),
    )
    volume = b"\x01\x00" if handler == b"soun" else b"\x00\x00"
    track_header = _full_box(
        b"tkhd",
        3,
        bytes(8) + struct.pack(">III", 1, 0, 0) + bytes(8) + bytes(4) + volume + bytes(2) + _IDENTITY,
        struct.pack(">II", setup.width << 16, setup.height << 16),
    )
    movie_header = _full_box(
        b"mvhd",
        0,
        bytes(8) + struct.pack(">IIIH", 1000, 0, 0x10000, 0x100) + bytes(10) + _IDENTITY + bytes(24),
        struct.pack(">I", 2),
    )
    extends = _box(b"mvex", _full_box(b"trex", 0, struct.pack(">IIIII", 1, 1, 0, 0, 0)))
    movie = _box(b"moov", movie_header, _box(b"trak", track_header, media), extends)
    return _box(b"ftyp", b"iso6\x00\x00\x02\x00iso6mp41") + movie


def _box(kind: bytes, *content: bytes) -> bytes:
    joined = b"".join(content)
    return struct.pack(">I4s", 8 + len(joined), kind) + joined


def _full_box(kind: bytes, flags: int, *content: bytes) -> bytes:
    return _box(kind, struct.pack(">I", flags), *content)
