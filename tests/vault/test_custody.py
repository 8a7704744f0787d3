"""A hold is in force until it is released, refuses whoever wants to destroy, and is never lost in a race."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.chunk_stores import MemoryChunkStore
from tests.fakes.recordings import OTHER_RECORDING, RECORDING, make_key_ring, write_recording
from vault.adapters.dir_store import DirChunkStore
from vault.core.custody_record import CustodyRecord
from vault.core.layout import custody_name
from vault.custody import is_held, place_hold, release_hold, verify_not_held
from vault.errors import (
    HeldError,
    IntegrityError,
    NotARecordingError,
    OtherSignerError,
    ShreddedError,
    StoreError,
)
from vault.ports import ChunkStore
from vault.shredding import shred_recording
from vault.verification import check_recording

RING = make_key_ring()
AT_US = 1_800_000_100_000_000


@pytest.fixture(params=["memory", "dir"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ChunkStore:
    made: ChunkStore = MemoryChunkStore() if request.param == "memory" else DirChunkStore(tmp_path)
    write_recording(made, RING)
    return made


def hold(store: ChunkStore, *, by: str = "legal") -> CustodyRecord:
    return place_hold(store, RING, recording_id=RECORDING, by=by, reason="case 7", at_us=AT_US)


def release(store: ChunkStore) -> CustodyRecord | None:
    return release_hold(store, RING, recording_id=RECORDING, by="legal", reason="over", at_us=AT_US)


def shred(store: ChunkStore) -> CustodyRecord:
    return shred_recording(store, RING, recording_id=RECORDING, by="ann", reason="asked", at_us=AT_US)


def held(store: ChunkStore) -> bool:
    return is_held(store.files(RECORDING), RING.public_key, recording_id=RECORDING)


def test_a_hold_is_in_force_until_it_is_released(store: ChunkStore) -> None:
    files = store.files(RECORDING)
    assert not held(store)
    verify_not_held(files, RING.public_key, recording_id=RECORDING)
    placed = hold(store)
    assert held(store)
    assert (placed.number, placed.by, placed.reason, placed.at_us) == (1, "legal", "case 7", AT_US)
    with pytest.raises(HeldError, match=r"under legal hold by 'legal' \(case 7\): release it first"):
        verify_not_held(files, RING.public_key, recording_id=RECORDING)
    released = release(store)
    assert released is not None
    assert (released.number, held(store)) == (2, False)
    assert hold(store).number == 3
    assert held(store)


def test_what_is_in_force_is_not_decreed_again(store: ChunkStore) -> None:
    assert release(store) is None
    first = hold(store)
    assert hold(store, by="somebody else") == first
    released = release(store)
    assert release(store) == released
    assert len([file for file in store.files(RECORDING).list_files() if "custody" in file.name]) == 2


def test_a_held_recording_is_not_shredded_and_a_released_one_is(store: ChunkStore) -> None:
    hold(store)
    before = store.files(RECORDING).list_files()
    with pytest.raises(HeldError, match="release it first"):
        shred(store)
    assert store.files(RECORDING).list_files() == before
    release(store)
    assert shred(store).number == 3


def test_a_shredded_recording_is_not_held(store: ChunkStore) -> None:
    shred(store)
    for decree in (hold, release):
        with pytest.raises(ShreddedError, match="was shredded by 'ann'"):
            decree(store)


def test_a_recording_under_hold_verifies_and_says_so(store: ChunkStore) -> None:
    hold(store)
    report = check_recording(store.files(RECORDING), RING.public_key).report
    assert (report.status, report.exit_code) == ("complete", 0)
    assert "Under legal hold since 2027-01-15T08:01:40+00:00 by 'legal': 'case 7'." in report.sentences()


def test_there_must_be_a_recording_and_a_reason(store: ChunkStore) -> None:
    with pytest.raises(NotARecordingError, match=OTHER_RECORDING):
        place_hold(store, RING, recording_id=OTHER_RECORDING, by="legal", reason="case 7", at_us=AT_US)
    with pytest.raises(ValueError, match=r"'by' has 0 characters, it takes 1\.\.256"):
        hold(store, by="")
    assert not held(store)


def _flip(data: bytes) -> bytes:
    return data[:200] + bytes([data[200] ^ 1]) + data[201:]


@pytest.mark.parametrize("damage", [_flip, lambda data: None], ids=["flipped", "removed"])
@pytest.mark.parametrize("number", [1, 2])
def test_what_cannot_be_read_counts_as_held(damage: Callable[[bytes], bytes | None], number: int) -> None:
    store = MemoryChunkStore()
    write_recording(store, RING)
    hold(store)
    release(store)
    hold(store)
    stored, name = store.recordings[RECORDING], custody_name(number)
    damaged = damage(stored.pop(name))
    if damaged is not None:
        stored[name] = damaged
    with pytest.raises(IntegrityError, match=name):
        held(store)
    with pytest.raises(IntegrityError, match=name):
        shred(store)
    report = check_recording(store.files(RECORDING), RING.public_key).report
    assert report.first_bad is not None
    assert report.first_bad.file == name


def test_another_signing_key_neither_reads_nor_places_a_hold(store: ChunkStore) -> None:
    hold(store)
    stranger = make_key_ring(2)
    with pytest.raises(OtherSignerError, match=custody_name(1)):
        is_held(store.files(RECORDING), stranger.public_key, recording_id=RECORDING)
    with pytest.raises(OtherSignerError):
        release_hold(store, stranger, recording_id=RECORDING, by="x", reason="x", at_us=AT_US)
    assert held(store)


def test_of_a_hold_and_a_shredding_at_the_same_time_the_second_sees_the_first() -> None:
    store = MemoryChunkStore()
    write_recording(store, RING)

    def held_just_before(name: str) -> None:
        store.before_put = lambda name: None
        hold(store)

    store.before_put = held_just_before
    with pytest.raises(HeldError):
        shred(store)
    report = check_recording(store.files(RECORDING), RING.public_key).report
    assert (report.status, held(store)) == ("complete", True)


def test_a_chain_that_others_never_leave_alone_is_given_up() -> None:
    store = MemoryChunkStore()
    write_recording(store, RING)
    is_busy = False

    def others(name: str) -> None:
        nonlocal is_busy
        if not is_busy:
            is_busy = True
            hold(store)
            release(store)
            is_busy = False

    store.before_put = others
    with pytest.raises(StoreError, match="20 other decrees came first"):
        shred(store)
    assert check_recording(store.files(RECORDING), RING.public_key).report.status == "complete"
