"""What every chunk store promises: files appear whole, are never changed, and can be put again."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.fakes.chunk_stores import MemoryChunkStore
from tests.fakes.recordings import OTHER_RECORDING, RECORDING
from tests.integration.s3_servers import S3Server
from vault.adapters.dir_store import DirChunkStore
from vault.adapters.s3_store import S3ChunkStore
from vault.copied_checkpoints import CopiedCheckpoints
from vault.errors import ChunkExistsError, FileMissingError, FormatError
from vault.ports import ChunkStore, StoredFile

NAME = "1/chunk-0000000000"


@pytest.fixture(params=["memory", "dir", "copied", pytest.param("s3", marks=pytest.mark.integration)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ChunkStore:
    match request.param:
        case "memory":
            return MemoryChunkStore()
        case "dir":
            return DirChunkStore(tmp_path / "recordings")
        case "copied":
            return CopiedCheckpoints(
                DirChunkStore(tmp_path / "recordings"), DirChunkStore(tmp_path / "copies"), say=print
            )
    request.getfixturevalue("s3_credentials")
    server: S3Server = request.getfixturevalue("shared_s3_server")
    return S3ChunkStore(server.location(server.make_bucket()))


def test_a_store_can_be_checked_again_and_again_and_that_is_no_recording(store: ChunkStore) -> None:
    store.check()
    store.check()
    assert store.files(RECORDING).list_files() == []


def test_what_was_put_is_read_and_listed(store: ChunkStore) -> None:
    store.put(RECORDING, NAME, b"sealed")
    store.put(RECORDING, "manifest", b"note")
    assert store.files(RECORDING).read(NAME, max_bytes=6) == b"sealed"
    assert store.files(RECORDING).list_files() == [StoredFile(NAME, 6), StoredFile("manifest", 4)]


def test_the_same_bytes_may_be_put_again(store: ChunkStore) -> None:
    store.put(RECORDING, NAME, b"sealed")
    store.put(RECORDING, NAME, b"sealed")
    assert store.files(RECORDING).list_files() == [StoredFile(NAME, 6)]


@pytest.mark.parametrize("other", [b"SEALED", b"seal", b"sealed and longer", b""])
def test_other_bytes_are_refused_and_the_first_stay(store: ChunkStore, other: bytes) -> None:
    store.put(RECORDING, NAME, b"sealed")
    with pytest.raises(ChunkExistsError, match=NAME):
        store.put(RECORDING, NAME, other)
    assert store.files(RECORDING).read(NAME, max_bytes=99) == b"sealed"
    assert store.files(RECORDING).list_files() == [StoredFile(NAME, 6)]


def test_the_beginning_of_a_file_is_read_without_the_rest(store: ChunkStore) -> None:
    store.put(RECORDING, NAME, b"header and more")
    files = store.files(RECORDING)
    assert files.read_start(NAME, length=6) == b"header"
    assert files.read_start(NAME, length=99) == b"header and more"
    with pytest.raises(FileMissingError, match="manifest"):
        files.read_start("manifest", length=6)


def test_recordings_are_apart(store: ChunkStore) -> None:
    store.put(RECORDING, NAME, b"one")
    store.put(OTHER_RECORDING, NAME, b"other")
    assert store.files(RECORDING).read(NAME, max_bytes=9) == b"one"


def test_an_unknown_recording_has_no_files(store: ChunkStore) -> None:
    assert store.files(RECORDING).list_files() == []


def test_a_missing_file_is_said_to_be_missing(store: ChunkStore) -> None:
    with pytest.raises(FileMissingError, match=NAME):
        store.files(RECORDING).read(NAME, max_bytes=9)
    store.put(RECORDING, "manifest", b"note")
    with pytest.raises(FileMissingError, match=NAME):
        store.files(RECORDING).read(NAME, max_bytes=9)


def test_a_file_above_the_limit_is_refused(store: ChunkStore) -> None:
    store.put(RECORDING, NAME, b"sealed")
    with pytest.raises(FormatError, match="6 bytes, at most 5"):
        store.files(RECORDING).read(NAME, max_bytes=5)


def test_a_deleted_file_is_gone_and_its_place_is_free(store: ChunkStore) -> None:
    store.put(RECORDING, NAME, b"sealed")
    store.delete(RECORDING, NAME)
    assert store.files(RECORDING).list_files() == []
    store.put(RECORDING, NAME, b"other bytes")
    assert store.files(RECORDING).read(NAME, max_bytes=99) == b"other bytes"


def test_deleting_what_is_not_there_is_no_error(store: ChunkStore) -> None:
    store.delete(RECORDING, NAME)
    store.put(RECORDING, "manifest", b"note")
    store.delete(RECORDING, "1/chunk-0000000001")
    assert store.files(RECORDING).list_files() == [StoredFile("manifest", 4)]


@pytest.mark.parametrize("name", ["../manifest", "/etc/passwd", "1//chunk", "1/./chunk", "", "a\\b", "a\0b"])
def test_a_name_that_leads_out_is_the_callers_mistake(store: ChunkStore, name: str) -> None:
    with pytest.raises(ValueError, match="not a name below"):
        store.put(RECORDING, name, b"")
    with pytest.raises(ValueError, match="not a name below"):
        store.files(RECORDING).read(name, max_bytes=1)


def test_of_many_writers_with_other_bytes_one_wins(store: ChunkStore) -> None:
    winners: list[bytes] = []

    def put(data: bytes) -> None:
        try:
            store.put(RECORDING, NAME, data)
        except ChunkExistsError:
            return
        winners.append(data)

    threads = [threading.Thread(target=put, args=(bytes([number]),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert len(winners) == 1
    assert store.files(RECORDING).read(NAME, max_bytes=9) == winners[0]


def test_recordings_are_listed_by_their_names(store: ChunkStore) -> None:
    assert store.list_recordings() == []
    for recording_id in (OTHER_RECORDING, RECORDING):
        store.put(recording_id, NAME, b"sealed")
        store.put(recording_id, "manifest", b"note")
    assert store.list_recordings() == [RECORDING, OTHER_RECORDING]
