"""A record has one JSON spelling."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.core.canonical_json import MAX_INTEGER, decode_json, encode_json
from vault.errors import FormatError


class Inner(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    b: int
    a: bool


class Outer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    z: str
    m: list[Inner]


RECORD = Outer(z='Grüße "\\\n\x1f\x7f', m=[Inner(b=-1, a=True)])
TEXT = '{"m":[{"a":true,"b":-1}],"z":"Grüße \\"\\\\\\n\\u001f\x7f"}'


def test_the_spelling_is_fixed() -> None:
    assert encode_json(RECORD) == TEXT
    assert decode_json(TEXT, Outer) == RECORD


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(-MAX_INTEGER, MAX_INTEGER))
def test_what_is_written_is_read_and_is_json(text: str, number: int) -> None:
    record = Outer(z=text, m=[Inner(b=number, a=False)])
    assert decode_json(encode_json(record), Outer) == record
    assert json.loads(encode_json(record)) == {"m": [{"a": False, "b": number}], "z": text}


@pytest.mark.parametrize(
    "text",
    [
        '{"z":"","m":[]}',  # order
        '{"m": [],"z":""}',  # white space
        '{"m":[],"z":"","y":1}',  # unknown
        '{"m":[],"z":"","z":""}',  # twice
        '{"m":[]}',  # missing
        '{"m":[],"z":1}',  # mistyped
        '{"m":[],"z":"\\u0041"}',  # another escape
        '{"m":[{"a":true,"b":1.0}],"z":""}',  # not whole
        '{"m":[{"a":true,"b":9007199254740992}],"z":""}',  # too large
        '{"m":[],"z":"\\ud800"}',  # no Unicode
        "[]",
        "",
    ],
)
def test_another_spelling_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        decode_json(text, Outer)


def test_what_has_no_spelling_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="larger than"):
        encode_json(Inner(b=MAX_INTEGER + 1, a=True))
    with pytest.raises(ValueError):
        encode_json(Outer(z="\ud800", m=[]))
