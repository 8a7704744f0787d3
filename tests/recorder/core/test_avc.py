"""From start codes to lengths, and the codec string."""

from __future__ import annotations

import pytest

from recorder.core.avc import codec_string, length_prefixed

SPS = bytes([0x67, 0x64, 0x00, 0x1F, 0xAC])
PPS = bytes([0x68, 0xEE])
IDR = bytes([0x65, 0x88, 0x00, 0x01, 0x02])


def test_units_get_lengths_and_parameter_sets_stay_in_the_init_part() -> None:
    stream = b"\0\0\0\1" + SPS + b"\0\0\1" + PPS + b"\0\0\0\1" + IDR + b"\0\0\1\x09\xf0" + b"\0\0\1\x06\x05"
    assert length_prefixed(stream) == (5).to_bytes(4, "big") + IDR + (2).to_bytes(4, "big") + b"\x06\x05"


def test_nothing_with_a_start_code_is_nothing() -> None:
    assert length_prefixed(b"") == b""
    assert length_prefixed(b"\0\0\0\1") == b""


def test_the_codec_string_names_profile_and_level() -> None:
    assert codec_string(b"\0\0\0\1" + SPS + b"\0\0\0\1" + PPS) == "avc1.64001f"


def test_parameters_without_a_sequence_are_refused() -> None:
    with pytest.raises(ValueError, match="no sequence parameter set"):
        codec_string(b"\0\0\0\1" + PPS)
