"""However often a recorder crashes, no (key, nonce) pair is used twice; resumed counters repeat.

GREENROOM_FULL=1 seals 1,000,000 chunks instead of 100,000; 1,000 crashes either way.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterable
from fractions import Fraction

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.fakes.chunk_stores import MemoryChunkStore
from tests.fakes.recordings import PROLOGUE, RECORDING, WALL_START_US, make_key_ring
from vault.adapters.key_files import KeyFiles
from vault.core.chunk_header import HEADER_BYTES, decode_header, encode_header
from vault.core.key_record import decode_key_record
from vault.core.layout import ChunkFile, KeyRecordFile, key_record_name, parse_name
from vault.core.note import sign_note
from vault.core.sealing import AttemptScope, ChunkKeys, chunk_nonce, derive_keys
from vault.errors import ChunkExistsError
from vault.writing import AttemptWriter, SealedChunk, _OpenTrack

IS_FULL = os.environ.get("GREENROOM_FULL") == "1"
CHUNKS = 1_000_000 if IS_FULL else 100_000
CRASHES = 1_000
SECONDS = Fraction(1, 1000)


class QuickRing(KeyFiles):
    """Wraps with real keys and signs nothing: a signature has no part in nonces and takes most time."""

    def sign(self, message: bytes) -> bytes:
        return bytes(64)


REAL = make_key_ring()
RING = QuickRing(REAL._directory, keks=REAL._keks, signing_key=REAL._signing_key, public_key=REAL.public_key)


class Disk(MemoryChunkStore):
    """Keeps names only where bytes are of no use, so that a million chunks fit."""

    def put(self, recording_id: str, name: str, data: bytes) -> None:
        stored = self.recordings.setdefault(RECORDING, {})
        if name in stored and isinstance(parse_name(name), KeyRecordFile):
            raise ChunkExistsError(f"{name} is stored already")
        stored[name] = data if "key-record" in name else data[:HEADER_BYTES]


class NonceBook:
    """Counts every (key, nonce) pair that a chunk was sealed with."""

    def __init__(self) -> None:
        self.used: Counter[bytes] = Counter()
        self.crashes = 0

    def note(self, keys: ChunkKeys, sealed: Iterable[SealedChunk]) -> None:
        for chunk in sealed:
            nonce = chunk_nonce(keys.base_nonce, track=chunk.header.track, index=chunk.header.index)
            self.used[keys.chunk_key[:16] + nonce] += 1

    @property
    def sealed(self) -> int:
        return self.used.total()

    @property
    def repeated(self) -> int:
        return sum(1 for count in self.used.values() if count > 1)


def run_until_crash(writer: AttemptWriter, count: int, chance: random.Random) -> list[SealedChunk]:
    """Seal so many chunks; put some of them, some twice, and leave the rest to the crash."""
    sealed: list[SealedChunk] = []
    for number in range(count):
        track = chance.randint(1, 3)
        if track not in writer._tracks or chance.random() < 0.02:
            chunk = writer.seal_init(track, PROLOGUE, b"init", time_base=SECONDS, offset_us=0)
        else:
            chunk = writer.seal(
                track, chance.randbytes(8), first_pts=number, duration_pts=1, has_keyframe=True
            )
        sealed.append(chunk)
        if chance.random() < 0.9:  # what is put late is put after others, or never
            writer.put(chunk)
            if chance.random() < 0.1:
                writer.put(chunk)  # a put that timed out is repeated with the same bytes
    return sealed


def keys_of(store: Disk, attempt: int) -> ChunkKeys:
    """The keys that the stored key record of an attempt leads to."""
    text = store.recordings[RECORDING][key_record_name(attempt, 1)].decode().rpartition("\n\n")[0]
    record = decode_key_record(
        sign_note(f"{text}\n", public_key=REAL.public_key, sign=REAL.sign),  # which QuickRing left out
        recording_id=RECORDING,
        attempt=attempt,
        revision=1,
        public_key=REAL.public_key,
    )
    return derive_keys(REAL.unwrap(record.wrapped, record.scope), salt=record.salt, scope=record.scope)


def begin(store: Disk, attempt: int) -> AttemptWriter:
    return AttemptWriter.open(
        store, RING, recording_id=RECORDING, attempt=attempt, wall_start_us=WALL_START_US
    )


@pytest.mark.timeout(3_600 if IS_FULL else 300)
def test_no_pair_is_used_twice_over_a_thousand_crashes() -> None:
    book, chance, attempt = NonceBook(), random.Random(6), 0
    store = Disk()
    while book.crashes < CRASHES:
        if attempt % 50 == 0:
            store = Disk()  # another recording
            attempt = 0
        attempt += 1
        if chance.random() < 0.05:  # a crash between the key record and the first chunk
            begin(store, attempt)
            with pytest.raises(ChunkExistsError):
                begin(store, attempt)  # which was begun before, and is not begun again
            attempt += 1
        writer = begin(store, attempt)
        sealed = run_until_crash(writer, CHUNKS // CRASHES, chance)
        keys = keys_of(store, attempt)
        book.note(keys, sealed)
        # That these are the pairs that were used: the last chunk opens with the last of them.
        header, data = sealed[-1].header, sealed[-1].data
        nonce = chunk_nonce(keys.base_nonce, track=header.track, index=header.index)
        AESGCM(keys.chunk_key).decrypt(nonce, data[HEADER_BYTES:-64], encode_header(header))
        book.crashes += 1
    assert (book.sealed, book.crashes) == (CHUNKS, CRASHES)
    assert book.repeated == 0


class ResumingWriter(AttemptWriter):
    """The control: goes on with an attempt after a crash, counting from what it finds stored."""

    @classmethod
    def resume(cls, store: Disk, attempt: int) -> ResumingWriter:
        scope = AttemptScope(recording_id=RECORDING, attempt=attempt)
        writer = cls(store, RING, scope, keys_of(store, attempt))
        for name, data in store.recordings[RECORDING].items():
            if isinstance(parse_name(name), ChunkFile):
                header = decode_header(data)
                track = writer._tracks.setdefault(header.track, _OpenTrack(SECONDS, header.run, 0))
                track.next_index = max(track.next_index, header.index + 1)
                track.run = max(track.run, header.run)
                writer._next_leaf = max(writer._next_leaf, header.leaf + 1)
        return writer


def test_the_control_that_resumes_its_counters_repeats() -> None:
    book, chance, store = NonceBook(), random.Random(6), Disk()
    begin(store, 1)
    for _ in range(50):
        writer = ResumingWriter.resume(store, 1)
        book.note(writer._keys, run_until_crash(writer, 20, chance))
    assert book.sealed == 1000
    assert book.repeated > 0, "the check could not fail"


@pytest.mark.parametrize("keeps", ["the data key", "the salt"])
def test_every_attempt_has_keys_of_its_own(keeps: str) -> None:
    scopes = [AttemptScope(recording_id=RECORDING, attempt=attempt) for attempt in (1, 2)]
    data_key, salt = b"d" * 32, b"s" * 32
    other = (data_key, b"t" * 32) if keeps == "the data key" else (b"e" * 32, salt)
    found = {derive_keys(data_key, salt=salt, scope=scope).chunk_key for scope in scopes}
    found |= {derive_keys(other[0], salt=other[1], scope=scope).chunk_key for scope in scopes}
    assert len(found) == 4
