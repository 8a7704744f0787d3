"""The header's bytes are fixed, and only its canonical form is read."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.recordings import RECORDING
from vault.core.chunk_header import HEADER_BYTES, ChunkHeader, ChunkKind, decode_header, encode_header
from vault.errors import FormatError

HEADER = ChunkHeader(
    kind=ChunkKind.MEDIA,
    recording_id=RECORDING,
    attempt=2,
    track=3,
    run=1,
    time_base=Fraction(1, 90_000),
    index=5,
    leaf=9,
    plaintext_bytes=1000,
    first_pts=-90_000,
    duration_pts=45_000,
    offset_us=-7,
    has_keyframe=True,
)


def test_the_layout_is_fixed() -> None:
    assert encode_header(HEADER) == bytes.fromhex(
        "47525643" "0001" "00" "01"
        "00000000000000000000000000000000"
        "0f0e0d0c0b0a49088706050403020100"
        "00000002" "00000003" "00000001" "00000001" "00015f90"
        "0000000000000005" "0000000000000009" "000003e8"
        "fffffffffffea070" "000000000000afc8" "fffffffffffffff9"
    )  # fmt: skip


@given(
    st.integers(1, 2**32 - 1),
    st.integers(0, 2**48 - 1),
    st.integers(0, 2**32 - 1),
    st.fractions(min_value=Fraction(1, 2**31), max_value=1, max_denominator=2**31),
    st.integers(-(2**62), 2**62),
    st.integers(-(2**52), 2**52),
)
def test_a_header_is_read_back(
    track: int, index: int, leaf: int, time_base: Fraction, first_pts: int, offset_us: int
) -> None:
    header = replace(
        HEADER,
        track=track,
        index=index,
        leaf=leaf,
        time_base=time_base,
        first_pts=first_pts,
        offset_us=offset_us,
    )
    assert decode_header(encode_header(header) + b"more") == header


@pytest.mark.parametrize("length", [0, 1, HEADER_BYTES - 1])
def test_a_short_header_is_refused(length: int) -> None:
    with pytest.raises(FormatError, match="fewer than"):
        decode_header(encode_header(HEADER)[:length])


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (0, "00", "not a sealed chunk"),
        (4, "0002", "format version 2"),
        (6, "03", "not valid"),  # kind
        (7, "02", "canonical"),  # unknown flag
        (40, "00000000", "attempt 0"),
        (44, "00000000", "track 0"),
        (52, "00000000", "time base numerator 0"),
        (52, "00000002", "canonical"),  # 2/90000 is not reduced
        (56, "00000000", "not valid"),
        (60, "ffff", "index"),
        (68, "ff", "leaf"),
        (76, "ffffffff", "plaintext length"),
        (80, "7fffffff", "first pts"),
        (88, "ffffffff", "duration"),
        (96, "7fffffff", "offset"),
        (76, "00000000", "last chunk of a track is empty"),
        (6, "01", "only a media chunk"),
    ],
)
def test_a_value_out_of_range_is_refused(offset: int, value: str, message: str) -> None:
    data = bytearray(encode_header(HEADER))
    data[offset : offset + len(value) // 2] = bytes.fromhex(value)
    with pytest.raises(FormatError, match=message):
        decode_header(bytes(data))


def test_the_last_chunk_is_empty_and_covers_nothing() -> None:
    last = replace(
        HEADER, kind=ChunkKind.LAST, plaintext_bytes=0, first_pts=0, duration_pts=0, has_keyframe=False
    )
    assert last.is_last
    assert not HEADER.is_last
    assert decode_header(encode_header(last)) == last
    with pytest.raises(ValueError, match="is empty"):
        replace(last, plaintext_bytes=1)
    with pytest.raises(ValueError, match="only a media chunk"):
        replace(last, duration_pts=1)
