"""Upload recordings: chunks stored once, acknowledged, whole after a kill, no nonce used twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.chunk_stores import MemoryChunkStore
from tests.fakes.recordings import RECORDING, WALL_START_US, make_key_ring
from vault.adapters.dir_store import DirChunkStore
from vault.core.chunk_header import HEADER_BYTES, decode_header
from vault.core.ids import RecordingId
from vault.core.manifest import Gap
from vault.errors import (
    ExportError,
    IntegrityError,
    StoreError,
    UploadClosedError,
    UploadConflictError,
    WrongKeyError,
)
from vault.export import export_recording
from vault.open_recording import OpenRecording
from vault.ports import ChunkStore
from vault.reading import RecordingReader
from vault.uploads import MAX_INDEX, MAX_PART_BYTES, Place, Upload
from vault.verification import check_recording, verify_recording

KEYS = make_key_ring()


def opened(store: ChunkStore) -> Upload:
    return Upload.open(store, KEYS, recording_id=RECORDING, started_us=WALL_START_US)


def read(store: ChunkStore, place: Place) -> bytes:
    reader = RecordingReader.open(store.files(RECORDING), KEYS, recording_id=RECORDING)
    return reader.read_chunk(place.attempt, place.leaf)[1]


def status(store: ChunkStore) -> str:
    return check_recording(store.files(RECORDING), KEYS.public_key, recording_id=RECORDING).report.status


def test_what_is_put_is_acknowledged_read_closed_and_verified(tmp_path: Path) -> None:
    store = DirChunkStore(tmp_path)
    upload = opened(store)
    parts = [upload.put(index, bytes([index]) * (index + 1)) for index in range(3)]
    assert [part.place for part in parts] == [Place(1, 1), Place(1, 2), Place(1, 3)]
    assert [part.head.size for part in parts if part.head] == [2, 3, 4]
    assert [read(store, part.place) for part in parts] == [b"\0", b"\1\1", b"\2\2\2"]
    assert status(store) == "incomplete"
    manifest = upload.close(session="s1")
    report = verify_recording(tmp_path / RECORDING, KEYS.public_key)
    assert (report.exit_code, report.capture) == (0, "upload")
    assert (manifest.session, [a.closed for a in manifest.attempts]) == ("s1", ["own"])
    assert manifest.tracks[0].gaps == []
    assert upload.close(session="s1") == manifest
    with pytest.raises(UploadClosedError):
        upload.put(3, b"late")
    assert not upload.put(1, b"\1\1").is_new


def test_an_index_is_given_out_once(tmp_path: Path) -> None:
    store = DirChunkStore(tmp_path)
    upload = opened(store)
    first = upload.put(7, b"seven")
    again = upload.put(7, b"seven")
    assert (again.place, again.is_new) == (first.place, False)
    with pytest.raises(UploadConflictError, match=r"index 7 of upload .* holds other bytes"):
        upload.put(7, b"eight")
    upload.put(5, b"five")  # in any order
    assert upload.close(session="s1").tracks[0].gaps == [Gap(start_us=6_000_000, end_us=7_000_000)]
    assert status(store) == "complete"


def test_after_a_kill_the_next_chunk_begins_another_attempt_and_nothing_is_lost(tmp_path: Path) -> None:
    store = DirChunkStore(tmp_path)
    for index in range(4):
        upload = opened(store)  # each time as after a kill
        assert upload.put(index, b"x" * 10).place == Place(index + 1, 1)
    upload = opened(store)
    assert dict(upload.places) == {index: Place(index + 1, 1) for index in range(4)}
    assert not upload.put(2, b"x" * 10).is_new
    with pytest.raises(UploadConflictError):
        upload.put(2, b"y" * 10)
    manifest = opened(store).close(session="s1")
    assert [a.closed for a in manifest.attempts] == ["recovered"] * 4
    assert (manifest.gaps, [track.gaps for track in manifest.tracks]) == ([], [[]] * 4)
    assert status(store) == "complete"
    assert opened(store).close(session="s1") == manifest


class FailsOnce(MemoryChunkStore):
    """A store that refuses one put, or does it and loses the answer."""

    def __init__(self, at: int, *, is_done: bool) -> None:
        super().__init__()
        self.at, self.is_done, self.puts = at, is_done, 0

    def put(self, recording_id: RecordingId, name: str, data: bytes) -> None:
        self.puts += 1
        if self.puts == self.at and not self.is_done:
            raise StoreError("refused")
        super().put(recording_id, name, data)
        if self.puts == self.at:
            raise StoreError("the answer was lost")


@pytest.mark.parametrize("is_done", [False, True], ids=["refused", "answer lost"])
@pytest.mark.parametrize("at", range(1, 13))
def test_a_put_that_fails_costs_no_acknowledged_chunk(at: int, is_done: bool) -> None:
    store = FailsOnce(at, is_done=is_done)
    acknowledged: dict[int, Place] = {}
    upload = opened(store)
    while len(acknowledged) < 3:
        index = len(acknowledged)
        try:
            acknowledged[index] = upload.put(index, b"x" * (index + 1)).place
        except StoreError:
            upload = opened(store)
    try:
        manifest = upload.close(session="s1")
    except StoreError:
        manifest = opened(store).close(session="s1")
    assert store.puts >= at  # it did fail: without a failure there are twelve
    assert [read(store, acknowledged[index]) for index in range(3)] == [b"x", b"xx", b"xxx"]
    sizes = {attempt.attempt: attempt.size for attempt in manifest.attempts}
    assert all(place.leaf < sizes[place.attempt] for place in acknowledged.values())
    assert status(store) == "complete"


def test_no_nonce_is_used_twice_and_resuming_the_counter_would(tmp_path: Path) -> None:
    store = DirChunkStore(tmp_path)
    for index in range(6):
        opened(store).put(index, b"text %d" % index)  # a kill after each
    headers = [
        decode_header(path.read_bytes()[:HEADER_BYTES]) for path in (tmp_path / RECORDING).rglob("chunk-*")
    ]
    salts = {path.read_bytes() for path in (tmp_path / RECORDING).rglob("key-record-*")}
    assert len(salts) == 6
    assert len({(h.attempt, h.track, h.index) for h in headers}) == len(headers)
    # The control: one key for all of them, the counter begun anew at each kill.
    assert len({(h.track, h.index) for h in headers}) < len(headers)


@pytest.mark.parametrize(("index", "data"), [(-1, b"x"), (MAX_INDEX + 1, b"x"), (0, b"")])
def test_what_is_out_of_range_is_refused(index: int, data: bytes) -> None:
    with pytest.raises(ValueError, match=r"outside|has 1 to"):
        opened(MemoryChunkStore()).put(index, data)


def test_the_largest_chunk_is_taken_and_a_larger_one_is_not() -> None:
    store = MemoryChunkStore()
    upload = opened(store)
    assert read(store, upload.put(0, bytes(MAX_PART_BYTES)).place) == bytes(MAX_PART_BYTES)
    with pytest.raises(ValueError, match="a chunk of 4194305 bytes"):
        upload.put(1, bytes(MAX_PART_BYTES + 1))


def test_damage_is_named_and_not_closed_over() -> None:
    store = MemoryChunkStore()
    upload = opened(store)
    upload.put(0, b"zero")
    upload.put(1, b"one")
    name = "1/chunk-0000000001"
    stored = store.recordings[RECORDING][name]
    store.recordings[RECORDING][name] = stored[:-1] + bytes([stored[-1] ^ 1])
    with pytest.raises(IntegrityError, match=name):
        opened(store).put(0, b"zero")
    with pytest.raises(IntegrityError, match=name):
        opened(store).close(session="s1")
    assert "manifest" not in store.recordings[RECORDING]


def test_nothing_stored_is_nothing_to_close() -> None:
    with pytest.raises(ValueError, match="no attempt to complete"):
        opened(MemoryChunkStore()).close(session="s1")


def test_another_key_reads_nothing_of_it(tmp_path: Path) -> None:
    store = DirChunkStore(tmp_path)
    place = opened(store).put(0, b"secret words").place
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and b"secret" in p.read_bytes()]
    other = make_key_ring(9)
    other._public_key = KEYS.public_key
    with pytest.raises(WrongKeyError):
        RecordingReader.open(store.files(RECORDING), other, recording_id=RECORDING).read_chunk(
            place.attempt, place.leaf
        )


def test_no_player_and_no_export_takes_it_for_media(tmp_path: Path) -> None:
    store = DirChunkStore(tmp_path)
    upload = opened(store)
    upload.put(0, b"zero")
    upload.close(session="s1")
    assert OpenRecording.open(store.files(RECORDING), KEYS, recording_id=RECORDING).tracks == ()
    with pytest.raises(ExportError, match="is an upload: no media file can be made of it"):
        export_recording(tmp_path / RECORDING, KEYS, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()
