"""Signed notes: one signature, one spelling, no bit free."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.recordings import make_key_ring
from vault.core.note import MAX_NOTE_BYTES, key_hash, open_note, sign_note, verify_signature
from vault.errors import FormatError, IntegrityError, OtherSignerError, SignatureError

RING = make_key_ring()
NAME = "greenroom/recording/x/1"
TEXT = f"{NAME}\nsecond line, Grüße\n"
NOTE = sign_note(TEXT, public_key=RING.public_key, sign=RING.sign)


def test_a_note_is_read_back() -> None:
    assert open_note(NOTE, name=NAME, public_key=RING.public_key) == TEXT


def test_the_form_is_that_of_c2sp() -> None:
    text, _, signature_line = NOTE.decode().rpartition("\n\n")
    assert text + "\n" == TEXT
    dash, name, encoded = signature_line.removesuffix("\n").split(" ")
    raw = base64.b64decode(encoded)
    assert (dash, name, len(raw)) == ("\u2014", NAME, 68)
    Ed25519PublicKey.from_public_bytes(RING.public_key).verify(raw[4:], TEXT.encode())


def test_the_key_id_is_the_hash_of_name_type_and_key() -> None:
    expected = hashlib.sha256(NAME.encode() + b"\n\x01" + RING.public_key).digest()[:4]
    assert key_hash(NAME, RING.public_key) == expected
    assert base64.b64decode(NOTE.split(b" ")[-1])[:4] == expected


@given(st.integers(0, len(NOTE) * 8 - 1))
def test_every_bit_counts(bit: int) -> None:
    flipped = bytearray(NOTE)
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(IntegrityError):
        open_note(bytes(flipped), name=NAME, public_key=RING.public_key)


@pytest.mark.parametrize("length", [*range(0, len(NOTE), 7), len(NOTE) - 1])
def test_a_truncated_note_is_refused(length: int) -> None:
    with pytest.raises(IntegrityError):
        open_note(NOTE[:length], name=NAME, public_key=RING.public_key)


@pytest.mark.parametrize(
    "data",
    [NOTE + b"\n", NOTE[:-1] + b"\r\n", b"\n" + NOTE, NOTE + NOTE.rsplit(b"\n\n", 1)[1], NOTE[:-2] + b" =\n"],
)
def test_another_spelling_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        open_note(data, name=NAME, public_key=RING.public_key)


def test_a_note_under_another_name_is_refused() -> None:
    with pytest.raises(FormatError, match="it is the note"):
        open_note(NOTE, name=NAME + "0", public_key=RING.public_key)


def test_another_signer_is_told_from_an_altered_note() -> None:
    with pytest.raises(OtherSignerError):
        open_note(NOTE, name=NAME, public_key=make_key_ring(2).public_key)
    with pytest.raises(SignatureError) as caught:
        open_note(NOTE.replace(b"second", b"Second"), name=NAME, public_key=RING.public_key)
    assert not isinstance(caught.value, OtherSignerError)


def test_a_huge_note_is_refused_unread() -> None:
    with pytest.raises(FormatError, match="at most"):
        open_note(bytes(MAX_NOTE_BYTES + 1), name=NAME, public_key=RING.public_key)


@pytest.mark.parametrize("text", ["", "no newline", "\n", "a b\n", "a+b\n", "a\n\x07\n", "a\r\n"])
def test_a_text_that_cannot_be_a_note_is_the_callers_mistake(text: str) -> None:
    with pytest.raises(ValueError):
        sign_note(text, public_key=RING.public_key, sign=RING.sign)


def test_a_signature_is_checked_against_message_and_key() -> None:
    signature = RING.sign(b"message")
    verify_signature(b"message", signature, public_key=RING.public_key)
    for message, key in ((b"Message", RING.public_key), (b"message", make_key_ring(2).public_key)):
        with pytest.raises(SignatureError):
            verify_signature(message, signature, public_key=key)
