"""Ten thousand wrong raw keys open nothing: not the wrapped key, not the commitment, not a chunk."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.fakes.chunk_stores import MemoryChunkStore
from tests.fakes.recordings import RECORDING, make_key_ring, write_recording
from vault.core.key_record import decode_key_record
from vault.core.layout import chunk_name, key_record_name
from vault.core.sealing import derive_keys, open_chunk, unwrap_key, verify_chunk, verify_commitment
from vault.errors import IntegrityError, WrongKeyError

WRONG_KEYS = 10_000
RING = make_key_ring()


def wrong_keys(right: bytes) -> Iterator[bytes]:
    """Every key that differs in one bit, then random ones."""
    for bit in range(256):
        flipped = bytearray(right)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)
    chance = random.Random(10_000)
    for _ in range(WRONG_KEYS - 256):
        yield chance.randbytes(32)


def test_none_of_ten_thousand_wrong_keys_opens_anything() -> None:
    store = MemoryChunkStore()
    write_recording(store, RING)
    stored = store.recordings[RECORDING]
    record = decode_key_record(
        stored[key_record_name(1, 1)],
        recording_id=RECORDING,
        attempt=1,
        revision=1,
        public_key=RING.public_key,
    )
    sealed = stored[chunk_name(1, 4)]
    header, _ = verify_chunk(sealed, public_key=RING.public_key)
    (kek,) = RING._keks.values()
    tried = {"kek": 0, "commitment": 0, "chunk": 0}
    opened = dict.fromkeys(tried, 0)

    data_key = unwrap_key(record.wrapped_key, kek=kek, scope=record.scope)
    for wrong in wrong_keys(kek):
        tried["kek"] += 1
        try:
            unwrap_key(record.wrapped_key, kek=wrong, scope=record.scope)
        except WrongKeyError:
            continue
        opened["kek"] += 1
    for wrong in wrong_keys(data_key):
        keys = derive_keys(wrong, salt=record.salt, scope=record.scope)
        tried["commitment"] += 1
        try:
            verify_commitment(keys, record.commitment)
        except WrongKeyError:
            pass
        else:
            opened["commitment"] += 1
        tried["chunk"] += 1  # also where somebody left the commitment unchecked
        try:
            open_chunk(sealed, header, keys=keys)
        except IntegrityError:
            continue
        opened["chunk"] += 1
    assert tried == dict.fromkeys(tried, WRONG_KEYS)
    assert opened == dict.fromkeys(tried, 0)

    # The control: the right ones open, so that it is the keys that were wrong.
    keys = derive_keys(data_key, salt=record.salt, scope=record.scope)
    verify_commitment(keys, record.commitment)
    assert open_chunk(sealed, header, keys=keys) == b"fragments"
