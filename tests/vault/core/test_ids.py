"""Ids have one spelling, and their bytes are fixed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.core.ids import (
    check_attempt,
    decode_recording_id,
    encode_recording_id,
    is_kek_id,
    is_recording_id,
    parse_recording_id,
)


@given(st.binary(min_size=16, max_size=16))
def test_sixteen_bytes_and_the_text_are_the_same_id(data: bytes) -> None:
    recording_id = decode_recording_id(data)
    assert is_recording_id(recording_id)
    assert encode_recording_id(recording_id) == data


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0F0E0D0C-0b0a-4908-8706-050403020100",
        "0f0e0d0c0b0a49088706050403020100",
        "0f0e0d0c-0b0a-4908-8706-050403020100\n",
        "../0d0c-0b0a-4908-8706-050403020100",
    ],
)
def test_another_spelling_is_refused_with_the_value(text: str) -> None:
    with pytest.raises(ValueError, match="is not a lowercase UUID"):
        parse_recording_id(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("0123456789abcdef", True), ("0123456789ABCDEF", False), ("0", False)]
)
def test_a_key_id_is_sixteen_hex_digits(text: str, expected: bool) -> None:
    assert is_kek_id(text) is expected


@pytest.mark.parametrize("attempt", [0, -1, 2**32])
def test_an_attempt_counts_from_one_in_32_bits(attempt: int) -> None:
    assert check_attempt(2**32 - 1) == 2**32 - 1
    with pytest.raises(ValueError, match=f"attempt {attempt} is outside"):
        check_attempt(attempt)
