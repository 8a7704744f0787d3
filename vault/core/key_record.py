"""The key record: the wrapped data key of one attempt, signed, apart from the manifest.

It stands apart so that rotation can re-wrap it under a new revision, and shredding can destroy it, without
touching anything that the proof is made of.

Source: docs/RECORDING.md §5.1.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final, Literal, assert_never

import msgspec

from vault.core.canonical_json import decode_json, encode_json
from vault.core.checkpoint import checkpoint_origin
from vault.core.ids import KekId, RecordingId, VerifyKey, is_kek_id, is_service_kek_id
from vault.core.note import Sign, open_note, sign_note
from vault.core.sealing import SALT_BYTES, AttemptScope, WrapAlgorithm, WrappedKey
from vault.errors import FormatError

_FORMAT: Final = "greenroom-key-record/1"
_WRAPPED_BYTES: Final = 60  # aes-256-gcm
_MAX_SERVICE_BYTES: Final = 1024  # what a key service may answer


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What opening an attempt takes besides the key-encryption key.

    Attributes:
        wall_start_us: Unix time in microseconds at which the attempt's clock begins; offsets count from it.
    """

    recording_id: RecordingId
    attempt: int
    wall_start_us: int
    salt: bytes
    commitment: bytes
    kek_id: KekId
    wrapped_key: bytes
    wrap: WrapAlgorithm = "aes-256-gcm"
    revision: int = 1
    tenant: bytes = bytes(16)

    @property
    def wrapped(self) -> WrappedKey:
        """The data key as the ring takes it."""
        return WrappedKey(kek_id=self.kek_id, data=self.wrapped_key, wrap=self.wrap)

    @property
    def scope(self) -> AttemptScope:
        """The attempt that the data key is for."""
        return AttemptScope(recording_id=self.recording_id, attempt=self.attempt, tenant=self.tenant)


class _KeyRecordJson(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    attempt: int
    commitment: str
    format: Literal["greenroom-key-record/1"]
    kek_id: str
    recording: str
    revision: int
    salt: str
    tenant: str
    wall_start_us: int
    wrap: WrapAlgorithm
    wrapped_key: str


def encode_key_record(record: KeyRecord, *, public_key: VerifyKey, sign: Sign) -> bytes:
    """Sign a key record and give the bytes to be stored."""
    body = _KeyRecordJson(
        attempt=record.attempt,
        commitment=record.commitment.hex(),
        format=_FORMAT,
        kek_id=record.kek_id,
        recording=record.recording_id,
        revision=record.revision,
        salt=record.salt.hex(),
        tenant=record.tenant.hex(),
        wall_start_us=record.wall_start_us,
        wrap=record.wrap,
        wrapped_key=base64.b64encode(record.wrapped_key).decode(),
    )
    name = _note_name(record.recording_id, record.attempt)
    return sign_note(f"{name}\n{encode_json(body)}\n", public_key=public_key, sign=sign)


def decode_key_record(
    data: bytes, *, recording_id: RecordingId, attempt: int, revision: int, public_key: VerifyKey
) -> KeyRecord:
    """Check a key record's signature and read it.

    Raises:
        FormatError: not the key record of this attempt and revision.
        SignatureError: not signed by ``public_key``.
    """
    name = _note_name(recording_id, attempt)
    lines = open_note(data, name=name, public_key=public_key).split("\n")
    if len(lines) != 3:
        raise FormatError("its text is not a name and one line of JSON")
    body = decode_json(lines[1], _KeyRecordJson)
    if (body.recording, body.attempt, body.revision) != (recording_id, attempt, revision):
        raise FormatError(f"it is revision {body.revision} of attempt {body.attempt} of {body.recording}")
    wrapped_key = _decode_wrapped(body)
    return KeyRecord(
        recording_id=recording_id,
        attempt=attempt,
        wall_start_us=body.wall_start_us,
        salt=decode_hex("salt", body.salt, SALT_BYTES),
        commitment=decode_hex("commitment", body.commitment, 32),
        kek_id=KekId(body.kek_id),
        wrapped_key=wrapped_key,
        wrap=body.wrap,
        revision=revision,
        tenant=decode_hex("tenant", body.tenant, 16),
    )


def decode_hex(name: str, text: str, length: int) -> bytes:
    """Read ``length`` bytes from lowercase hex.

    Raises:
        FormatError: another length, or not lowercase hex.
    """
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != length or value.hex() != text:
        raise FormatError(f"its {name} is not {length} bytes in lowercase hex")
    return value


def _decode_wrapped(body: _KeyRecordJson) -> bytes:
    try:
        wrapped_key = base64.b64decode(body.wrapped_key, validate=True)
    except (binascii.Error, ValueError):
        wrapped_key = b""
    is_canonical = base64.b64encode(wrapped_key).decode() == body.wrapped_key
    match body.wrap:
        case "aes-256-gcm":
            if not is_kek_id(body.kek_id):
                raise FormatError(f"its key id {body.kek_id!r} is not 16 hex digits")
            if len(wrapped_key) != _WRAPPED_BYTES or not is_canonical:
                raise FormatError(f"its wrapped key is not {_WRAPPED_BYTES} bytes in base64")
        case "vault-transit":
            if not is_service_kek_id(body.kek_id):
                raise FormatError(f"its key id {body.kek_id!r} is not the name of a key and its version")
            if not 1 <= len(wrapped_key) <= _MAX_SERVICE_BYTES or not is_canonical:
                raise FormatError(f"its wrapped key is not 1..{_MAX_SERVICE_BYTES} bytes in base64")
        case other:
            assert_never(other)
    return wrapped_key


def _note_name(recording_id: RecordingId, attempt: int) -> str:
    return f"{checkpoint_origin(recording_id, attempt)}/key-record"
