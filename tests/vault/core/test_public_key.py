"""A public key is one line of text, and a key that anyone could sign for is none."""

from __future__ import annotations

import base64

import pytest

from tests.fakes.recordings import make_key_ring
from vault.core.ids import VerifyKey
from vault.core.public_key import decode_public_key, derive_key_id, encode_public_key
from vault.errors import FormatError

KEY = make_key_ring().public_key
PRIME = 2**255 - 19


def test_a_key_is_read_back() -> None:
    line = encode_public_key(KEY)
    assert line == "greenroom-public-key-1 " + base64.b64encode(KEY).decode()
    assert decode_public_key(line) == KEY


def test_the_id_follows_from_the_key() -> None:
    assert len(derive_key_id(KEY)) == 16
    assert derive_key_id(KEY) != derive_key_id(make_key_ring(2).public_key)


@pytest.mark.parametrize(
    "text", ["", "greenroom-public-key-1 AAAA", "other " + base64.b64encode(KEY).decode()]
)
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match="it is not"):
        decode_public_key(text)


@pytest.mark.parametrize(
    "data",
    [
        bytes(32),
        bytes(31) + b"\x80",
        (1).to_bytes(32, "little"),
        (PRIME - 1).to_bytes(32, "little"),
        (PRIME + 1).to_bytes(32, "little"),
        bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    ],
)
def test_a_key_of_small_order_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError, match="weak"):
        decode_public_key(encode_public_key(VerifyKey(data)))
