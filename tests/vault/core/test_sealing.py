"""Sealing gives the bytes of the format, opens what it sealed and nothing else, and never repeats a nonce."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.recordings import OTHER_RECORDING, RECORDING, make_key_ring
from vault.core.chunk_header import HEADER_BYTES, ChunkHeader, ChunkKind, decode_header
from vault.core.ids import VerifyKey
from vault.core.sealing import (
    AttemptScope,
    chunk_nonce,
    derive_kek_id,
    derive_keys,
    open_chunk,
    seal_chunk,
    unwrap_key,
    verify_chunk,
    verify_commitment,
    wrap_key,
)
from vault.errors import FormatError, IntegrityError, SignatureError, WrongKeyError

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors" / "sealing.json").read_text())
RING = make_key_ring()
SCOPE = AttemptScope(recording_id=RECORDING, attempt=1)
KEYS = derive_keys(bytes(32), salt=bytes(32), scope=SCOPE)
HEADER = ChunkHeader(
    kind=ChunkKind.MEDIA,
    recording_id=RECORDING,
    attempt=1,
    track=1,
    run=0,
    time_base=Fraction(1, 1000),
    index=1,
    leaf=1,
    plaintext_bytes=9,
    duration_pts=1000,
)
STORED, LEAF_HASH = seal_chunk(HEADER, b"fragments", keys=KEYS, sign=RING.sign)


def test_the_keys_are_those_of_the_vectors() -> None:
    scope = AttemptScope(recording_id=VECTORS["recording"], attempt=VECTORS["attempt"])
    data_key, kek = bytes.fromhex(VECTORS["data_key"]), bytes.fromhex(VECTORS["kek"])
    keys = derive_keys(data_key, salt=bytes.fromhex(VECTORS["salt"]), scope=scope)
    assert keys.chunk_key.hex() == VECTORS["chunk_key"]
    assert keys.base_nonce.hex() == VECTORS["base_nonce"]
    assert keys.commitment.hex() == VECTORS["commitment"]
    assert derive_kek_id(kek) == VECTORS["kek_id"]
    wrapped = wrap_key(data_key, kek=kek, nonce=bytes.fromhex(VECTORS["wrap_nonce"]), scope=scope)
    assert wrapped.hex() == VECTORS["wrapped_key"]
    assert unwrap_key(wrapped, kek=kek, scope=scope) == data_key


@pytest.mark.parametrize("chunk", VECTORS["chunks"], ids=range(4))
def test_the_chunks_are_those_of_the_vectors(chunk: dict[str, str]) -> None:
    scope = AttemptScope(recording_id=VECTORS["recording"], attempt=VECTORS["attempt"])
    keys = derive_keys(bytes.fromhex(VECTORS["data_key"]), salt=bytes.fromhex(VECTORS["salt"]), scope=scope)
    sign = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(VECTORS["signing_seed"])).sign
    stored, plaintext = bytes.fromhex(chunk["stored"]), bytes.fromhex(chunk["plaintext"])
    header, leaf_hash = verify_chunk(stored, public_key=VerifyKey(bytes.fromhex(VECTORS["public_key"])))
    assert leaf_hash.hex() == chunk["leaf_hash"]
    assert chunk_nonce(keys.base_nonce, track=header.track, index=header.index).hex() == chunk["nonce"]
    assert open_chunk(stored, header, keys=keys) == plaintext
    assert seal_chunk(header, plaintext, keys=keys, sign=sign) == (stored, leaf_hash)


@given(st.binary(min_size=1, max_size=300), st.integers(1, 2**32 - 1), st.integers(0, 2**48 - 1))
def test_what_was_sealed_is_opened(plaintext: bytes, track: int, index: int) -> None:
    header = replace(HEADER, plaintext_bytes=len(plaintext), track=track, index=index)
    stored, leaf_hash = seal_chunk(header, plaintext, keys=KEYS, sign=RING.sign)
    assert verify_chunk(stored, public_key=RING.public_key) == (header, leaf_hash)
    assert open_chunk(stored, header, keys=KEYS) == plaintext


@given(st.integers(0, len(STORED) * 8 - 1))
def test_every_bit_of_a_stored_chunk_counts(bit: int) -> None:
    flipped = bytearray(STORED)
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(IntegrityError):
        verify_chunk(bytes(flipped), public_key=RING.public_key)


@given(st.integers(0, (HEADER_BYTES + 9 + 16) * 8 - 1))
def test_every_bit_counts_for_the_cipher_alone_too(bit: int) -> None:
    flipped = bytearray(STORED)
    flipped[bit // 8] ^= 1 << bit % 8
    try:
        header = decode_header(bytes(flipped))
    except FormatError:
        return
    with pytest.raises(IntegrityError):
        open_chunk(bytes(flipped), header, keys=KEYS)


@pytest.mark.parametrize("length", range(0, len(STORED), 11))
def test_a_truncated_chunk_is_refused(length: int) -> None:
    with pytest.raises(FormatError):
        verify_chunk(STORED[:length], public_key=RING.public_key)
    with pytest.raises(FormatError):
        verify_chunk(STORED + bytes(length + 1), public_key=RING.public_key)


def test_another_signer_is_refused() -> None:
    with pytest.raises(SignatureError):
        verify_chunk(STORED, public_key=make_key_ring(2).public_key)


@pytest.mark.parametrize(
    "keys",
    [
        derive_keys(b"\1" * 32, salt=bytes(32), scope=SCOPE),
        derive_keys(bytes(32), salt=b"\1" * 32, scope=SCOPE),
        derive_keys(bytes(32), salt=bytes(32), scope=replace(SCOPE, attempt=2)),
        derive_keys(bytes(32), salt=bytes(32), scope=replace(SCOPE, recording_id=OTHER_RECORDING)),
        derive_keys(bytes(32), salt=bytes(32), scope=replace(SCOPE, tenant=b"\1" * 16)),
    ],
    ids=["data key", "salt", "attempt", "recording", "tenant"],
)
def test_other_keys_open_nothing_and_break_the_commitment(keys: Any) -> None:
    with pytest.raises(WrongKeyError):
        verify_commitment(keys, KEYS.commitment)
    with pytest.raises(IntegrityError):
        open_chunk(STORED, HEADER, keys=keys)
    verify_commitment(KEYS, KEYS.commitment)


@given(st.lists(st.tuples(st.integers(1, 2**32 - 1), st.integers(0, 2**48 - 1)), unique=True, max_size=50))
def test_no_two_places_share_a_nonce(places: list[tuple[int, int]]) -> None:
    nonces = {chunk_nonce(KEYS.base_nonce, track=track, index=index) for track, index in places}
    assert len(nonces) == len(places)


def test_another_kek_or_attempt_unwraps_nothing() -> None:
    kek = bytes(range(32))
    wrapped = wrap_key(b"d" * 32, kek=kek, nonce=bytes(12), scope=SCOPE)
    assert unwrap_key(wrapped, kek=kek, scope=SCOPE) == b"d" * 32
    attempts = [(b"k" * 32, SCOPE, wrapped), (kek, replace(SCOPE, attempt=2), wrapped)]
    attempts += [
        (kek, SCOPE, bytes([wrapped[0] ^ 1]) + wrapped[1:]),
        (kek, SCOPE, wrapped[:-1]),
        (kek, SCOPE, b""),
    ]
    for other_kek, scope, data in attempts:
        with pytest.raises(WrongKeyError, match="does not unwrap"):
            unwrap_key(data, kek=other_kek, scope=scope)


def test_no_key_is_shown() -> None:
    assert "base_nonce" not in repr(KEYS)
    assert KEYS.chunk_key.hex() not in repr(KEYS)


def test_a_length_that_the_header_does_not_state_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="a plaintext of 3 bytes, the header says 9"):
        seal_chunk(HEADER, b"abc", keys=KEYS, sign=RING.sign)
    with pytest.raises(ValueError, match="32 bytes each"):
        derive_keys(bytes(31), salt=bytes(32), scope=SCOPE)
