"""The ids of recordings, attempts, tracks and keys, and their fixed-width bytes.

Source: docs/RECORDING.md §2.
"""

from __future__ import annotations

import re
from typing import Final, NewType

RecordingId = NewType("RecordingId", str)
"""A UUID as lowercase text, 8-4-4-4-12."""

KekId = NewType("KekId", str)
"""16 lowercase hex digits, derived from the key-encryption key; in a key service ``<key>:<version>``."""

VerifyKey = NewType("VerifyKey", bytes)
"""32 bytes, an Ed25519 public key: what a verifier trusts."""

NO_TENANT: Final = bytes(16)  # until there are tenants
MAX_ATTEMPT: Final = 2**32 - 1
MAX_TRACK: Final = 2**32 - 1
MAX_LEAF: Final = 2**32 - 1
MAX_INDEX: Final = 2**48 - 1  # chunks of one track: the nonce has 48 bits for it

_RECORDING_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_KEK_ID: Final = re.compile(r"[0-9a-f]{16}\Z")
_SERVICE_KEK_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}:[1-9][0-9]{0,9}\Z")


def is_recording_id(text: str) -> bool:
    """Whether ``text`` is a UUID in the one spelling that is used for folders and files."""
    return _RECORDING_ID.match(text) is not None


def is_kek_id(text: str) -> bool:
    """Whether ``text`` has the form of a key id of ours."""
    return _KEK_ID.match(text) is not None


def is_service_kek_id(text: str) -> bool:
    """Whether ``text`` names a key and its version in a key service."""
    return _SERVICE_KEK_ID.match(text) is not None


def parse_recording_id(text: str) -> RecordingId:
    """Take a recording id from outside.

    Raises:
        ValueError: not a lowercase UUID with hyphens (the caller's mistake).
    """
    if not is_recording_id(text):
        raise ValueError(f"recording id {text!r} is not a lowercase UUID such as 8-4-4-4-12 hex digits")
    return RecordingId(text)


def encode_recording_id(recording_id: RecordingId) -> bytes:
    """The 16 bytes of a recording id, as headers hold them."""
    return bytes.fromhex(recording_id.replace("-", ""))


def decode_recording_id(data: bytes) -> RecordingId:
    """The recording id that 16 bytes stand for."""
    text = data.hex()
    return RecordingId("-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:])))


def check_attempt(attempt: int) -> int:
    """Return ``attempt`` when it can be one.

    Raises:
        ValueError: outside 1..2^32-1 (the caller's mistake).
    """
    if not 1 <= attempt <= MAX_ATTEMPT:
        raise ValueError(f"attempt {attempt} is outside 1..{MAX_ATTEMPT}")
    return attempt
