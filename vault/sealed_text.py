"""A short secret of one recording, under the key-encryption key: text that may stand in stores and on wires.

The text is encrypted with a fresh data key, and that is wrapped as those of attempts are, for attempt 0,
which is none: neither can stand for the other.

Source: recording.md §4 (`e2ee_key`, kept wrapped); docs/RECORDING.md §4.3 (wrapping).
"""

from __future__ import annotations

import secrets
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vault.core.ids import KekId, RecordingId, encode_recording_id
from vault.core.sealing import NONCE_BYTES, AttemptScope, WrapAlgorithm, WrappedKey
from vault.errors import FormatError, WrongKeyError
from vault.ports import KeyRing

_CONTEXT: Final = b"greenroom sealed text v1\x00"
_DATA_KEY_BYTES: Final = 32
_ATTEMPT: Final = 0


class _Sealed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The form, as JSON; bytes are base64."""

    kek_id: KekId
    wrap: WrapAlgorithm
    wrapped_key: bytes
    nonce: bytes
    text: bytes


def seal_text(text: str, key_ring: KeyRing, *, recording_id: RecordingId) -> str:
    """Encrypt a text for those who hold the same keys.

    Args:
        text: what is to be kept.
        key_ring: its active key wraps.
        recording_id: whose secret it is; it opens for no other.

    Raises:
        KeyFileError: there is no key to wrap with, or the key service forbids it.
        KeyServiceError: the key service did not answer; worth trying again.
    """
    data_key, nonce = secrets.token_bytes(_DATA_KEY_BYTES), secrets.token_bytes(NONCE_BYTES)
    wrapped = key_ring.wrap(data_key, AttemptScope(recording_id=recording_id, attempt=_ATTEMPT))
    sealed = _Sealed(
        kek_id=wrapped.kek_id,
        wrap=wrapped.wrap,
        wrapped_key=wrapped.data,
        nonce=nonce,
        text=AESGCM(data_key).encrypt(nonce, text.encode(), _aad(recording_id)),
    )
    return msgspec.json.encode(sealed).decode()


def open_text(sealed: str, key_ring: KeyRing, *, recording_id: RecordingId) -> str:
    """Give the text; the inverse of `seal_text`.

    Raises:
        FormatError: it is no sealed text.
        WrongKeyError: the keys do not open it, it is another recording's, or it was altered.
        KeyFileError, KeyServiceError: as `KeyRing.unwrap`.
    """
    try:
        parts = msgspec.json.decode(sealed, type=_Sealed)
    except msgspec.DecodeError:
        raise FormatError("this is no sealed text") from None
    wrapped = WrappedKey(kek_id=parts.kek_id, data=parts.wrapped_key, wrap=parts.wrap)
    data_key = key_ring.unwrap(wrapped, AttemptScope(recording_id=recording_id, attempt=_ATTEMPT))
    try:
        opened = AESGCM(data_key).decrypt(parts.nonce, parts.text, _aad(recording_id))
    except (InvalidTag, ValueError):
        raise WrongKeyError("the sealed text was altered") from None
    return opened.decode()


def _aad(recording_id: RecordingId) -> bytes:
    return _CONTEXT + encode_recording_id(recording_id)
