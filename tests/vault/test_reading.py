"""Reading opens a chunk with the right key in its right place, and nothing else."""

from __future__ import annotations

import pytest

from tests.fakes.chunk_stores import MemoryChunkStore, MemoryRecording
from tests.fakes.recordings import (
    PROLOGUE,
    RECORDING,
    WALL_START_US,
    make_key_ring,
    open_writer,
    write_recording,
    write_seconds,
)
from vault.adapters.key_files import KeyFiles
from vault.core.chunk_header import ChunkKind
from vault.errors import FileMissingError, FormatError, IntegrityError, NotARecordingError, WrongKeyError
from vault.ports import RecordingFiles
from vault.reading import RecordingReader

RING = make_key_ring()


@pytest.fixture
def stored() -> dict[str, bytes]:
    store = MemoryChunkStore()
    write_recording(store, RING)
    return store.recordings[RECORDING]


def open_reader(stored: dict[str, bytes], ring: KeyFiles = RING) -> RecordingReader:
    files: RecordingFiles = MemoryRecording(stored)
    return RecordingReader.open(files, ring, recording_id=RECORDING)


def test_chunks_and_prologue_are_read(stored: dict[str, bytes]) -> None:
    reader = open_reader(stored)
    assert reader.read_init(1, 0) == (PROLOGUE, b"init part")
    header, plaintext = reader.read_chunk(1, 2)
    assert (header.kind, header.track, header.first_pts, plaintext) == (ChunkKind.MEDIA, 1, 0, b"fragments")
    assert reader.wall_start_us(1) == WALL_START_US


def test_another_kek_opens_nothing_and_changes_nothing(stored: dict[str, bytes]) -> None:
    other = make_key_ring(2)
    mixed = KeyFiles(
        other._directory,
        keks=other._keks,
        signing_key=None,
        public_key=RING.public_key,
    )
    before = dict(stored)
    with pytest.raises(WrongKeyError, match=f"{RING.kek_id} is not in"):
        open_reader(stored, mixed)
    assert stored == before


def test_a_kek_under_the_right_id_that_is_another_is_refused(stored: dict[str, bytes]) -> None:
    wrong = KeyFiles(
        RING._directory,
        keks={RING.kek_id: bytes(range(32))},
        signing_key=None,
        public_key=RING.public_key,
    )
    with pytest.raises(WrongKeyError, match="does not unwrap"):
        open_reader(stored, wrong)


def test_a_data_key_that_breaks_its_commitment_is_refused_before_decryption(stored: dict[str, bytes]) -> None:
    class OtherDataKey(KeyFiles):
        def unwrap(self, *args: object, **kwargs: object) -> bytes:
            return bytes(32)

    ring = OtherDataKey(RING._directory, keks=RING._keks, signing_key=None, public_key=RING.public_key)
    with pytest.raises(WrongKeyError, match="commitment"):
        open_reader(stored, ring)


def test_a_bad_chunk_is_named_and_none_of_it_released(stored: dict[str, bytes]) -> None:
    reader = open_reader(stored)
    good = stored["1/chunk-0000000003"]
    for bad in (good[:-1], stored["1/chunk-0000000002"], good[:110] + b"\0" + good[111:]):
        stored["1/chunk-0000000003"] = bad
        with pytest.raises(IntegrityError, match="1/chunk-0000000003"):
            reader.read_chunk(1, 3)
    del stored["1/chunk-0000000003"]
    with pytest.raises(FileMissingError):
        reader.read_chunk(1, 3)


def test_a_chunk_other_than_the_verified_one_is_refused(stored: dict[str, bytes]) -> None:
    with pytest.raises(IntegrityError, match="not the chunk that was verified"):
        open_reader(stored).read_chunk(1, 3, leaf_hash=bytes(32))


def test_a_validly_signed_chunk_under_another_data_key_is_refused(stored: dict[str, bytes]) -> None:
    other = MemoryChunkStore()
    write_seconds(open_writer(other, RING))
    stored["1/chunk-0000000003"] = other.recordings[RECORDING]["1/chunk-0000000003"]
    with pytest.raises(IntegrityError, match="was not sealed under its header and this key"):
        open_reader(stored).read_chunk(1, 3)


def test_a_media_chunk_is_no_init_chunk(stored: dict[str, bytes]) -> None:
    with pytest.raises(FormatError, match="does not begin an init run"):
        open_reader(stored).read_init(1, 2)


def test_a_bad_key_record_is_named(stored: dict[str, bytes]) -> None:
    stored["1/key-record-0000000001"] = b""
    with pytest.raises(IntegrityError, match="1/key-record-0000000001"):
        open_reader(stored)


def test_without_an_attempt_there_is_nothing_to_read() -> None:
    with pytest.raises(NotARecordingError):
        open_reader({})
