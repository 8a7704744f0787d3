"""The store path: numbers given out once, acknowledged in order, closed once."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.chunk_stores import MemoryChunkStore
from tests.fakes.recordings import (
    MILLISECONDS,
    PROLOGUE,
    RECORDING,
    complete,
    make_key_ring,
    open_writer,
    put_init,
    put_second,
    write_seconds,
)
from vault.core.checkpoint import decode_checkpoint
from vault.core.chunk_header import ChunkKind
from vault.core.ids import RecordingId
from vault.core.merkle import root_hash
from vault.core.sealing import chunk_nonce, verify_chunk
from vault.errors import ChunkExistsError, StoreError
from vault.recovery import recover_attempt
from vault.verification import check_recording
from vault.writing import AttemptWriter, SealedChunk

RING = make_key_ring()


@pytest.fixture
def store() -> MemoryChunkStore:
    return MemoryChunkStore()


@pytest.fixture
def writer(store: MemoryChunkStore) -> AttemptWriter:
    return open_writer(store, RING)


def seal(writer: AttemptWriter, second: int) -> SealedChunk:
    return writer.seal(1, b"fragments", first_pts=second * 1000, duration_pts=1000, has_keyframe=True)


def fail_puts(store: MemoryChunkStore, part: str) -> Callable[[], None]:
    """Let puts of names with ``part`` fail until the function returned is called."""

    def refuse(name: str) -> None:
        if part in name:
            raise StoreError("the store did not answer")

    def heal() -> None:
        store.before_put = lambda name: None

    store.before_put = refuse
    return heal


def test_an_attempt_begins_with_its_key_record(store: MemoryChunkStore, writer: AttemptWriter) -> None:
    assert list(store.recordings[RECORDING]) == ["1/key-record-0000000001"]
    assert writer.acknowledged is None


def test_an_attempt_is_begun_once(store: MemoryChunkStore, writer: AttemptWriter) -> None:
    with pytest.raises(ChunkExistsError, match="key-record"):
        open_writer(store, RING)
    open_writer(store, RING, attempt=2)


def test_numbers_are_given_out_in_order_of_sealing(writer: AttemptWriter) -> None:
    sealed = [writer.seal_init(1, PROLOGUE, b"init", time_base=MILLISECONDS, offset_us=0)]
    sealed += [seal(writer, 0)]
    sealed += [writer.seal_init(2, PROLOGUE, b"init", time_base=MILLISECONDS, offset_us=5)]
    sealed += [seal(writer, 1), writer.seal_init(1, PROLOGUE, b"init", time_base=MILLISECONDS, offset_us=9)]
    sealed += [seal(writer, 0), writer.seal_last(1)]
    headers = [one.header for one in sealed]
    assert [header.leaf for header in headers] == list(range(7))
    assert [(header.track, header.run, header.index) for header in headers] == [
        (1, 0, 0),
        (1, 0, 1),
        (2, 0, 0),
        (1, 0, 2),
        (1, 1, 3),
        (1, 1, 4),
        (1, 1, 5),
    ]
    assert [header.kind for header in headers[-3:]] == [ChunkKind.INIT, ChunkKind.MEDIA, ChunkKind.LAST]
    assert [header.offset_us for header in headers] == [0, 0, 5, 0, 9, 9, 9]
    assert sealed[3].name == "1/chunk-0000000003"


def test_a_refined_offset_holds_from_there_on(writer: AttemptWriter) -> None:
    put_init(writer, 1, offset_us=100)
    refined = writer.seal(1, b"x", first_pts=0, duration_pts=1, has_keyframe=True, offset_us=130)
    assert (refined.header.offset_us, seal(writer, 1).header.offset_us) == (130, 130)


def test_a_checkpoint_covers_what_is_put_without_a_hole(
    store: MemoryChunkStore, writer: AttemptWriter
) -> None:
    put_init(writer, 1)
    chunks = [seal(writer, second) for second in range(4)]
    writer.put(chunks[0])
    writer.put(chunks[2])
    first = writer.checkpoint()
    assert first is not None
    assert first.head.size == 2
    writer.put(chunks[3])
    assert writer.checkpoint() == first
    writer.put(chunks[1])
    last = writer.checkpoint()
    assert last is not None
    assert last == writer.acknowledged
    assert last.head.size == 5
    init = store.recordings[RECORDING]["1/chunk-0000000000"]
    init_hash = verify_chunk(init, public_key=RING.public_key)[1]
    assert last.head.root == root_hash([init_hash, *(chunk.leaf_hash for chunk in chunks)])
    stored = store.recordings[RECORDING]["1/checkpoint-0000000005"]
    assert stored.decode() == last.note
    assert (
        decode_checkpoint(stored, recording_id=RECORDING, attempt=1, public_key=RING.public_key) == last.head
    )


def test_one_checkpoint_is_kept(store: MemoryChunkStore, writer: AttemptWriter) -> None:
    put_init(writer, 1)
    for second in range(5):
        put_second(writer, 1, second)
        writer.checkpoint()
    names = [name for name in store.recordings[RECORDING] if "checkpoint" in name]
    assert names == ["1/checkpoint-0000000006"]


class SlowlyRemovingStore(MemoryChunkStore):
    """Lets something happen between a writer's look for a manifest and its removal of a checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.before_delete: Callable[[], object] = lambda: None

    def delete(self, recording_id: RecordingId, name: str) -> None:
        happen, self.before_delete = self.before_delete, lambda: None
        happen()
        super().delete(recording_id, name)


def test_a_checkpoint_that_becomes_the_closed_one_while_it_is_removed_is_put_back() -> None:
    store = SlowlyRemovingStore()
    woken = open_writer(store, RING)
    write_seconds(woken, tracks=[1])
    woken.checkpoint()
    close = recover_attempt(store.files(RECORDING), RING.public_key, recording_id=RECORDING, attempt=1)
    store.before_delete = lambda: complete(store, RING, close)
    woken.put(seal(woken, 3))
    woken.checkpoint()
    assert "1/checkpoint-0000000004" in store.recordings[RECORDING]
    report = check_recording(store.files(RECORDING), RING.public_key, recording_id=RECORDING).report
    assert report.exit_code == 0, report.sentences()


def test_nothing_is_acknowledged_before_its_checkpoint_is_stored(
    store: MemoryChunkStore, writer: AttemptWriter
) -> None:
    assert writer.checkpoint() is None
    put_init(writer, 1)
    heal = fail_puts(store, "checkpoint")
    with pytest.raises(StoreError):
        writer.checkpoint()
    assert writer.acknowledged is None
    heal()
    checkpoint = writer.checkpoint()
    assert checkpoint is not None
    assert checkpoint.head.size == 1


def test_a_put_that_failed_is_repeated_with_the_same_bytes(
    store: MemoryChunkStore, writer: AttemptWriter
) -> None:
    put_init(writer, 1)
    sealed = seal(writer, 0)
    heal = fail_puts(store, "chunk")
    with pytest.raises(StoreError):
        writer.put(sealed)
    heal()
    writer.put(sealed)
    writer.put(sealed)
    assert store.recordings[RECORDING][sealed.name] == sealed.data
    checkpoint = writer.checkpoint()
    assert checkpoint is not None
    assert checkpoint.head.size == 2


def test_another_writers_chunk_in_the_place_stops_the_attempt(
    store: MemoryChunkStore, writer: AttemptWriter
) -> None:
    put_init(writer, 1)
    store.recordings[RECORDING]["1/chunk-0000000001"] = b"another"
    with pytest.raises(ChunkExistsError):
        put_second(writer, 1, 0)


def test_closing_ends_every_track_and_can_be_repeated(store: MemoryChunkStore, writer: AttemptWriter) -> None:
    write_seconds(writer, seconds=2)
    writer.put(writer.seal_last(2))
    close = writer.close()
    assert (close.attempt, close.size, close.closed) == (1, 8, "own")
    assert writer.close() == close
    assert writer.acknowledged is not None
    assert writer.acknowledged.head == close.head
    assert len([name for name in store.recordings[RECORDING] if "chunk" in name]) == 8


def test_a_close_that_failed_on_the_way_is_repeated(store: MemoryChunkStore, writer: AttemptWriter) -> None:
    write_seconds(writer, seconds=1)
    for part in ("chunk-0000000005", "chunk-0000000004", "checkpoint"):
        heal = fail_puts(store, part)
        with pytest.raises(StoreError):
            writer.close()
        heal()
    assert writer.close().size == 6


def test_an_attempt_without_tracks_can_be_closed(writer: AttemptWriter) -> None:
    close = writer.close()
    assert (close.size, close.root) == (0, root_hash([]).hex())


def test_mistakes_of_the_caller_are_named(store: MemoryChunkStore, writer: AttemptWriter) -> None:
    with pytest.raises(ValueError, match="track 1 has not begun"):
        seal(writer, 0)
    with pytest.raises(ValueError, match="track 0 is outside"):
        put_init(writer, 0)
    put_init(writer, 1)
    with pytest.raises(ValueError, match="is empty"):
        writer.seal(1, b"", first_pts=0, duration_pts=1, has_keyframe=True)
    sealed = seal(writer, 0)
    with pytest.raises(ValueError, match="leaf 1 of 2 is sealed but not put"):
        writer.close()
    writer.put(sealed)
    with pytest.raises(ValueError, match="another attempt"):
        open_writer(store, RING, attempt=2).put(sealed)
    writer.put(writer.seal_last(1))
    with pytest.raises(ValueError, match="track 1 has ended"):
        seal(writer, 1)
    writer.close()
    with pytest.raises(ValueError, match="attempt 1 is closed"):
        put_init(writer, 2)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(["init 1", "init 2", "media 1", "media 2", "wrong"]), max_size=30))
def test_a_nonce_is_never_given_out_twice(steps: list[str]) -> None:
    writer = open_writer(MemoryChunkStore(), RING)
    places = []
    for step in steps:
        word, _, number = step.partition(" ")
        try:
            if word == "init":
                sealed = writer.seal_init(int(number), PROLOGUE, b"i", time_base=MILLISECONDS, offset_us=0)
            elif word == "media":
                sealed = writer.seal(int(number), b"m", first_pts=0, duration_pts=1, has_keyframe=True)
            else:
                sealed = writer.seal(1, b"m", first_pts=2**63, duration_pts=1, has_keyframe=True)
        except ValueError:
            continue
        places.append((sealed.header.track, sealed.header.index))
    nonces = {chunk_nonce(bytes(12), track=track, index=index) for track, index in places}
    assert len(nonces) == len(places)


def test_two_attempts_have_two_data_keys(store: MemoryChunkStore) -> None:
    sealed = []
    for attempt in (1, 2):
        writer = open_writer(store, RING, attempt=attempt)
        put_init(writer, 1)
        sealed.append(seal(writer, 0))
    assert sealed[0].data[104:129] != sealed[1].data[104:129]


def test_puts_from_many_threads_are_all_acknowledged(store: MemoryChunkStore, writer: AttemptWriter) -> None:
    put_init(writer, 1)
    chunks = [seal(writer, second) for second in range(40)]

    def put_some(first: int) -> None:
        for chunk in reversed(chunks[first::4]):
            writer.put(chunk)
            writer.checkpoint()

    threads = [threading.Thread(target=put_some, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert writer.acknowledged is not None
    assert writer.acknowledged.head.size == 41
