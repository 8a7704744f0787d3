"""Signed notes: the form of every signed text in a recording (checkpoint, key record, manifest).

A stored note carries exactly one signature, and its key name is the first line of its text, so that no
note can stand for another. It has one spelling: what does not encode to the same bytes again is refused.

Source: C2SP signed-note; RFC 8032; docs/RECORDING.md §5.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from vault.core.ids import VerifyKey
from vault.errors import FormatError, OtherSignerError, SignatureError

Sign = Callable[[bytes], bytes]
"""Ed25519 over the bytes given; 64 bytes back."""

SIGNATURE_BYTES: Final = 64
MAX_NOTE_BYTES: Final = 4 * 1024 * 1024  # a larger one is refused unread

_ED25519: Final = b"\x01"  # signature type of C2SP signed-note
_DASH: Final = "\u2014"


def sign_note(text: str, *, public_key: VerifyKey, sign: Sign) -> bytes:
    """Sign ``text`` and give the bytes to be stored.

    Args:
        text: ends in a newline; its first line is the key name, without spaces or plus signs.
        public_key: the key that belongs to ``sign``.
        sign: makes the signature.

    Raises:
        ValueError: the text cannot be a note (the caller's mistake).
    """
    name = _key_name(text)
    signature = sign(text.encode())
    line = base64.b64encode(key_hash(name, public_key) + signature).decode()
    return f"{text}\n{_DASH} {name} {line}\n".encode()


def open_note(data: bytes, *, name: str, public_key: VerifyKey) -> str:
    """Check a stored note and give its text, trusted from here on.

    Args:
        data: the whole file.
        name: the first line that this note must have.
        public_key: the only key that may have signed it.

    Raises:
        FormatError: not a note in its one spelling, or another note than ``name``.
        OtherSignerError: signed by another key than ``public_key``.
        SignatureError: the signature does not fit.
    """
    text, signer_hash, signature = _split(data, name)
    if signer_hash != key_hash(name, public_key):
        raise OtherSignerError("it is signed by another key than the one given")
    verify_signature(text.encode(), signature, public_key=public_key)
    return text


def verify_signature(message: bytes, signature: bytes, *, public_key: VerifyKey) -> None:
    """Check one Ed25519 signature.

    Raises:
        SignatureError: the signature is not over ``message`` by ``public_key``.
    """
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except InvalidSignature:
        raise SignatureError("its signature does not fit its bytes and the key given") from None


def key_hash(name: str, public_key: VerifyKey) -> bytes:
    """The 4 bytes by which a signature line names its key."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public_key).digest()[:4]


def _split(data: bytes, name: str) -> tuple[str, bytes, bytes]:
    if len(data) > MAX_NOTE_BYTES:
        raise FormatError(f"it has {len(data)} bytes, a signed note at most {MAX_NOTE_BYTES}")
    try:
        text, tail = data.decode().rsplit("\n\n", 1)
        text += "\n"
        found_name = _key_name(text)
        if found_name != name:
            raise FormatError(f"it is the note {found_name!r}, not {name!r}")
        encoded = tail.removeprefix(f"{_DASH} {name} ").removesuffix("\n")
        raw = base64.b64decode(encoded, validate=True)
    except (UnicodeDecodeError, binascii.Error, ValueError):
        raise FormatError("it is not a signed note with one signature") from None
    if len(raw) != 4 + SIGNATURE_BYTES:
        raise FormatError("its signature line does not hold one Ed25519 signature")
    # Base64 and line ends have several spellings; only the one we write is taken, so that no bit is free.
    if f"{text}\n{_DASH} {name} {base64.b64encode(raw).decode()}\n".encode() != data:
        raise FormatError("it is not a signed note with one signature")
    return text, raw[:4], raw[4:]


def _key_name(text: str) -> str:
    if not text.endswith("\n") or any(ord(letter) < 0x20 and letter != "\n" for letter in text):
        raise ValueError("the text of a note ends in a newline and has no other control character")
    name = text.split("\n", 1)[0]
    if not name or "+" in name or any(letter.isspace() for letter in name):
        raise ValueError(f"{name!r} cannot be a key name: it is empty or has a space or a plus sign")
    return name
