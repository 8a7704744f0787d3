"""Sealing: from plaintext to the file of one chunk and back, and the keys that this takes.

One AEAD (AES-256-GCM), one hash (SHA-256), one key derivation (HKDF-SHA-512), one signature (Ed25519).

Source: docs/RECORDING.md §4; NIST SP 800-38D; RFC 5869.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from vault.core.chunk_header import (
    HEADER_BYTES,
    MAX_PLAINTEXT_BYTES,
    ChunkHeader,
    decode_header,
    encode_header,
)
from vault.core.ids import KekId, RecordingId, VerifyKey, encode_recording_id
from vault.core.merkle import hash_leaf
from vault.core.note import SIGNATURE_BYTES, Sign, verify_signature
from vault.errors import FormatError, IntegrityError, WrongKeyError

WrapAlgorithm = Literal["aes-256-gcm", "vault-transit"]

KEY_BYTES: Final = 32
SALT_BYTES: Final = 32
TAG_BYTES: Final = 16
NONCE_BYTES: Final = 12
MAX_CHUNK_BYTES: Final = HEADER_BYTES + MAX_PLAINTEXT_BYTES + TAG_BYTES + SIGNATURE_BYTES

# The NUL keeps a signed chunk apart from every signed note, which cannot contain one.
_SIGNATURE_CONTEXT: Final = b"greenroom recording chunk v1\x00"
_DERIVE_CONTEXT: Final = b"greenroom recording keys v1\x00"
_WRAP_CONTEXT: Final = b"greenroom recording wrap v1\x00"
_KEK_ID_CONTEXT: Final = b"greenroom kek id v1\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptScope:
    """Whose data key it is: enters key derivation and wrapping, so that no key serves elsewhere."""

    recording_id: RecordingId
    attempt: int
    tenant: bytes = bytes(16)

    def encode(self) -> bytes:
        """36 bytes: tenant ‖ recording ‖ attempt."""
        return self.tenant + encode_recording_id(self.recording_id) + self.attempt.to_bytes(4, "big")


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedKey:
    """A data key under a key-encryption key, as a key record keeps it.

    Attributes:
        kek_id: which key wrapped it.
        data: what unwrapping takes besides that key.
        wrap: how; docs/RECORDING.md §4.3.
    """

    kek_id: KekId
    data: bytes = field(repr=False)
    wrap: WrapAlgorithm = "aes-256-gcm"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkKeys:
    """What a data key gives: the cipher's key and base nonce, and the commitment to that data key."""

    chunk_key: bytes = field(repr=False)
    base_nonce: bytes = field(repr=False)
    commitment: bytes


def derive_keys(data_key: bytes, *, salt: bytes, scope: AttemptScope) -> ChunkKeys:
    """Derive an attempt's keys.

    Args:
        data_key: 32 random bytes, one per attempt.
        salt: 32 random bytes, one per attempt, public.
        scope: the attempt.

    Raises:
        ValueError: a key or salt of another length (the caller's mistake).

    Source: RFC 5869; docs/RECORDING.md §4.2.
    """
    if len(data_key) != KEY_BYTES or len(salt) != SALT_BYTES:
        raise ValueError(f"data key and salt have {KEY_BYTES} bytes each")
    length = KEY_BYTES + NONCE_BYTES + 32
    info = _DERIVE_CONTEXT + scope.encode()
    output = HKDF(algorithm=SHA512(), length=length, salt=salt, info=info).derive(data_key)
    return ChunkKeys(chunk_key=output[:32], base_nonce=output[32:44], commitment=output[44:])


def verify_commitment(keys: ChunkKeys, commitment: bytes) -> None:
    """Check, before any decryption, that these keys are the ones the recording was sealed with.

    Raises:
        WrongKeyError: they are not.
    """
    if not hmac.compare_digest(keys.commitment, commitment):
        raise WrongKeyError("the data key does not match the commitment in the key record")


def chunk_nonce(base_nonce: bytes, *, track: int, index: int) -> bytes:
    """The nonce of one chunk: base XOR (16 zero bits ‖ 32-bit track ‖ 48-bit index).

    Unique under one chunk key because (track, index) is given out once per attempt and an attempt is
    written by one process that never resumes: a new attempt has a new data key.
    """
    number = (track << 48 | index).to_bytes(NONCE_BYTES, "big")
    return bytes(left ^ right for left, right in zip(base_nonce, number, strict=True))


def seal_chunk(header: ChunkHeader, plaintext: bytes, *, keys: ChunkKeys, sign: Sign) -> tuple[bytes, bytes]:
    """Encrypt and sign one chunk.

    Returns:
        The bytes to be stored, and their leaf hash.

    Raises:
        ValueError: the header states another length (the caller's mistake).
    """
    if len(plaintext) != header.plaintext_bytes:
        raise ValueError(f"a plaintext of {len(plaintext)} bytes, the header says {header.plaintext_bytes}")
    clear = encode_header(header)
    nonce = chunk_nonce(keys.base_nonce, track=header.track, index=header.index)
    ciphertext = AESGCM(keys.chunk_key).encrypt(nonce, plaintext, clear)
    leaf_hash = hash_leaf(clear, ciphertext)
    return b"".join((clear, ciphertext, sign(_SIGNATURE_CONTEXT + leaf_hash))), leaf_hash


def verify_chunk(data: bytes, *, public_key: VerifyKey) -> tuple[ChunkHeader, bytes]:
    """Check a stored chunk without any secret.

    Returns:
        Its header and leaf hash. That it stands in its place is the caller's check.

    Raises:
        FormatError: header or length are wrong.
        SignatureError: not signed by ``public_key``, or altered.
    """
    header = decode_header(data)
    length = HEADER_BYTES + header.plaintext_bytes + TAG_BYTES + SIGNATURE_BYTES
    if len(data) != length:
        raise FormatError(f"it has {len(data)} bytes, its header says {length}")
    view = memoryview(data)
    leaf_hash = hash_leaf(view[:-SIGNATURE_BYTES])
    verify_signature(_SIGNATURE_CONTEXT + leaf_hash, data[-SIGNATURE_BYTES:], public_key=public_key)
    return header, leaf_hash


def open_chunk(data: bytes, header: ChunkHeader, *, keys: ChunkKeys) -> bytes:
    """Decrypt a chunk that `verify_chunk` let through.

    Raises:
        IntegrityError: the ciphertext is not what was sealed under this header and key.
    """
    nonce = chunk_nonce(keys.base_nonce, track=header.track, index=header.index)
    try:
        return AESGCM(keys.chunk_key).decrypt(
            nonce, data[HEADER_BYTES:-SIGNATURE_BYTES], encode_header(header)
        )
    except InvalidTag:
        raise IntegrityError("its ciphertext was not sealed under its header and this key") from None


def derive_kek_id(kek: bytes) -> KekId:
    """The id of a key-encryption key: first 8 bytes of a hash, as hex."""
    return KekId(hashlib.sha256(_KEK_ID_CONTEXT + kek).hexdigest()[:16])


def wrap_key(data_key: bytes, *, kek: bytes, nonce: bytes, scope: AttemptScope) -> bytes:
    """Encrypt a data key with a key-encryption key: nonce ‖ ciphertext ‖ tag, 60 bytes.

    Args:
        data_key: 32 bytes.
        kek: 32 bytes.
        nonce: 12 fresh random bytes.
        scope: the attempt that the data key is for.
    """
    aad = _WRAP_CONTEXT + scope.encode() + derive_kek_id(kek).encode()
    return nonce + AESGCM(kek).encrypt(nonce, data_key, aad)


def unwrap_key(wrapped: bytes, *, kek: bytes, scope: AttemptScope) -> bytes:
    """Decrypt a wrapped data key; the inverse of `wrap_key`.

    Raises:
        WrongKeyError: another key-encryption key, another attempt, or altered bytes.
    """
    kek_id = derive_kek_id(kek)
    aad = _WRAP_CONTEXT + scope.encode() + kek_id.encode()
    try:
        return AESGCM(kek).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], aad)
    except (InvalidTag, ValueError):
        raise WrongKeyError(f"key-encryption key {kek_id} does not unwrap this data key") from None
