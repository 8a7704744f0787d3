"""A rotation rewrites key records and nothing else, and whoever dies in it leaves everything readable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.examples.both_verifiers import ALL, plain, taken_over, unfinished
from tests.fakes.chunk_stores import MemoryChunkStore
from tests.fakes.recordings import OTHER_RECORDING, RECORDING, make_key_ring, open_writer, write_recording
from vault.adapters.key_files import KeyFiles
from vault.core.ids import KekId
from vault.core.layout import key_record_name, may_hold_key
from vault.core.sealing import derive_kek_id
from vault.errors import FileMissingError, KeyFileError, WrongKeyError
from vault.ports import ChunkStore, RecordingFiles, StoredFile
from vault.reading import RecordingReader
from vault.rotation import RETIRED_AFTER_S, destroy_kek, find_kek_use, rewrap_recording
from vault.shredding import shred_recording
from vault.verification import check_recording

NOW_S = 2_000_000_000
NEW_KEK = bytes(range(100, 132))
OLD_RING = make_key_ring()


def both_rings() -> KeyFiles:
    """A ring that opens what the old one wrapped, and wraps with a new key."""
    return RotatedKeys(
        Path("nowhere"),
        keks={**OLD_RING._keks, derive_kek_id(NEW_KEK): NEW_KEK},
        signing_key=OLD_RING._signing_key,
        public_key=OLD_RING.public_key,
    )


class RotatedKeys(KeyFiles):
    """Whose active key is the new one, without a file that says it."""

    @property
    def kek_id(self) -> KekId:
        return derive_kek_id(NEW_KEK)


RING = both_rings()


class Killed(BaseException):
    """Stands for a kill -9."""


class MortalStore(MemoryChunkStore):
    """Dies before its change number ``dies_at``, counted from 0."""

    def __init__(self, stored: dict[str, bytes], *, dies_at: int) -> None:
        super().__init__()
        self.recordings[RECORDING] = stored
        self.changes_left = dies_at
        self.before_put = self._count

    def delete(self, recording_id: str, name: str) -> None:
        self._count(name)
        self.recordings[RECORDING].pop(name, None)

    def _count(self, name: str) -> None:
        if self.changes_left == 0:
            raise Killed
        self.changes_left -= 1


def store_of(stored: dict[str, bytes]) -> MemoryChunkStore:
    store = MemoryChunkStore()
    store.recordings[RECORDING] = stored
    return store


def rewrap(store: ChunkStore, ring: KeyFiles = RING) -> int:
    return rewrap_recording(store, ring, recording_id=RECORDING)


def keys_in(stored: dict[str, bytes]) -> list[str]:
    return sorted(name for name in stored if may_hold_key(name))


def kek_use(store: MemoryChunkStore) -> dict[KekId, int]:
    use = find_kek_use(store, RING, [RECORDING])
    assert use.unknown == {}
    return dict(use.attempts)


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_every_kind_of_recording_opens_with_the_new_key_alone_and_verifies_as_before(
    make: Callable[[], dict[str, bytes]],
) -> None:
    stored = make()
    before, store = dict(stored), store_of(stored)
    report = check_recording(store.files(RECORDING), RING.public_key).report
    attempts = len(keys_in(stored))
    assert rewrap(store) == attempts
    assert {name: data for name, data in stored.items() if not may_hold_key(name)} == {
        name: data for name, data in before.items() if not may_hold_key(name)
    }
    assert kek_use(store) == {RING.kek_id: attempts}
    assert keys_in(stored) == [name.replace("-0000000001", "-0000000002") for name in keys_in(before)]
    after = check_recording(store.files(RECORDING), RING.public_key).report
    assert replace(after, ignored=()) == replace(report, ignored=())  # what is late has other names now
    only_new = KeyFiles(
        Path("nowhere"), keks={RING.kek_id: NEW_KEK}, signing_key=None, public_key=RING.public_key
    )
    RecordingReader.open(store.files(RECORDING), only_new, recording_id=RECORDING)
    with pytest.raises(WrongKeyError):
        RecordingReader.open(store.files(RECORDING), OLD_RING, recording_id=RECORDING)
    assert rewrap(store) == 0, "a repeat finds nothing to do"


@pytest.mark.parametrize("make", [plain, taken_over, unfinished])
def test_killed_at_any_change_everything_stays_readable_and_a_repeat_finishes(
    make: Callable[[], dict[str, bytes]],
) -> None:
    deaths = 0
    while True:
        stored = make()
        try:
            rewrap(MortalStore(stored, dies_at=deaths))
        except Killed:
            deaths += 1
        else:
            break
        store = store_of(stored)
        RecordingReader.open(store.files(RECORDING), RING, recording_id=RECORDING)
        assert check_recording(store.files(RECORDING), RING.public_key).report.problems == ()
        rewrap(store)
        assert set(kek_use(store)) == {RING.kek_id}
    assert deaths >= 2


def test_the_control_that_removes_first_leaves_nothing_to_open() -> None:
    stored = plain()
    del stored[key_record_name(1, 1)]  # killed here, before the next revision
    report = check_recording(store_of(stored).files(RECORDING), RING.public_key).report
    assert report.status == "bad"


def test_a_key_that_does_not_open_leaves_the_record_as_it_is() -> None:
    stored = plain()
    before = dict(stored)
    stranger = KeyFiles(
        Path("nowhere"),
        keks={RING.kek_id: NEW_KEK},
        signing_key=OLD_RING._signing_key,
        public_key=OLD_RING.public_key,
    )
    with pytest.raises(WrongKeyError):
        rewrap(store_of(stored), stranger)
    assert stored == before


def test_a_recorder_that_still_wraps_with_the_old_key_is_read_and_rewrapped() -> None:
    stored = plain()
    store = store_of(stored)
    rewrap(store)
    open_writer(store, OLD_RING, attempt=2)
    assert kek_use(store) == {RING.kek_id: 1, OLD_RING.kek_id: 1}
    RecordingReader.open(store.files(RECORDING), RING, recording_id=RECORDING)
    assert rewrap(store) == 1
    assert kek_use(store) == {RING.kek_id: 2}


def test_a_shredded_recording_is_left_alone() -> None:
    store = store_of(plain())
    shred_recording(store, RING, recording_id=RECORDING, by="ann", reason="asked", at_us=1)
    assert rewrap(store) == 0
    assert keys_in(store.recordings[RECORDING]) == []


def test_a_recording_that_is_shredded_meanwhile_gets_no_key_back() -> None:
    store = store_of(plain())

    def shredded_just_before(name: str) -> None:
        store.before_put = lambda name: None
        shred_recording(store, RING, recording_id=RECORDING, by="ann", reason="asked", at_us=1)

    store.before_put = shredded_just_before
    assert rewrap(store) == 0
    assert keys_in(store.recordings[RECORDING]) == []
    assert check_recording(store.files(RECORDING), RING.public_key).report.status == "shredded"


class StaleFiles(RecordingFiles):
    """Lists what there was before a rotation at first, as a reader beside one may see it."""

    def __init__(self, files: RecordingFiles, stale: list[StoredFile]) -> None:
        self.files, self.stale = files, stale

    def list_files(self) -> list[StoredFile]:
        stale, self.stale = self.stale, []
        return stale or self.files.list_files()

    def read(self, name: str, *, max_bytes: int) -> bytes:
        return self.files.read(name, max_bytes=max_bytes)

    def read_start(self, name: str, *, length: int) -> bytes:
        return self.files.read_start(name, length=length)


def test_readers_and_verifiers_beside_a_rotation_see_no_damage() -> None:
    store = store_of(plain())
    stale = store.files(RECORDING).list_files()
    rewrap(store)
    files = store.files(RECORDING)
    RecordingReader.open(StaleFiles(files, stale), RING, recording_id=RECORDING)
    report = check_recording(StaleFiles(files, stale), RING.public_key).report
    assert (report.status, report.problems) == ("complete", ())
    # And the control: a key record that is gone for good is still named.
    del store.recordings[RECORDING][key_record_name(1, 2)]
    with pytest.raises(FileMissingError):
        RecordingReader.open(GoneFiles(files, stale), RING, recording_id=RECORDING)
    report = check_recording(StaleFiles(files, stale), RING.public_key).report
    assert report.first_bad is not None
    assert report.first_bad.file == key_record_name(1, 1)


class GoneFiles(StaleFiles):
    """Lists for ever what is not there any more."""

    def list_files(self) -> list[StoredFile]:
        return self.stale


# --- destroying old keys ---


def directory_ring(tmp_path: Path) -> KeyFiles:
    return KeyFiles.create_or_open(tmp_path / "keys", now_s=NOW_S - 1_000_000)


def test_an_old_key_is_destroyed_only_when_nothing_needs_it(tmp_path: Path) -> None:
    ring, store = directory_ring(tmp_path), MemoryChunkStore()
    recordings = [RECORDING, OTHER_RECORDING]
    for recording_id in recordings:
        write_recording(store, ring, recording_id=recording_id)
    old = ring.kek_id
    ring.rotate(NOW_S)
    later_s = NOW_S + RETIRED_AFTER_S

    def destroy(now_s: float = later_s, kek_id: KekId = old) -> None:
        destroy_kek(ring, kek_id, use=find_kek_use(store, ring, recordings), now_s=now_s)

    with pytest.raises(KeyFileError, match=f"2 key records need key-encryption key {old}"):
        destroy()
    rewrap_recording(store, ring, recording_id=RECORDING)
    with pytest.raises(KeyFileError, match=f"1 key records need key-encryption key {old}"):
        destroy()
    rewrap_recording(store, ring, recording_id=OTHER_RECORDING)
    with pytest.raises(KeyFileError, match=r"less than 60 minutes ago: try again in 30 minutes"):
        destroy(now_s=NOW_S + 1800)
    with pytest.raises(ValueError, match="rotate first"):
        destroy(kek_id=ring.kek_id)
    with pytest.raises(ValueError, match="there is no key-encryption key"):
        destroy(kek_id=KekId("0" * 16))
    assert ring.has_kek(old)
    destroy()
    assert [kek.kek_id for kek in KeyFiles.open(tmp_path / "keys").keks()] == [ring.kek_id]
    for recording_id in recordings:
        RecordingReader.open(store.files(recording_id), ring, recording_id=recording_id)


def test_a_key_is_not_destroyed_while_a_record_cannot_be_read(tmp_path: Path) -> None:
    ring, store = directory_ring(tmp_path), MemoryChunkStore()
    write_recording(store, ring)
    old = ring.kek_id
    ring.rotate(NOW_S)
    rewrap(store, ring)
    store.recordings[RECORDING][key_record_name(7, 1)] = b"damaged"
    use = find_kek_use(store, ring, [RECORDING])
    with pytest.raises(KeyFileError, match=f"cannot be told whether recording {RECORDING} needs"):
        destroy_kek(ring, old, use=use, now_s=NOW_S + RETIRED_AFTER_S)
    assert ring.has_kek(old)


def test_what_a_death_left_of_a_key_record_is_removed_and_keeps_no_key_alive(tmp_path: Path) -> None:
    ring, store = directory_ring(tmp_path), MemoryChunkStore()
    write_recording(store, ring)
    stored, old = store.recordings[RECORDING], ring.kek_id
    copy, unborn = key_record_name(1, 1) + ".00ff.tmp", key_record_name(2, 1) + ".00ff.tmp"
    stored[copy] = stored[unborn] = stored[key_record_name(1, 1)]
    ring.rotate(NOW_S)
    rewrap(store, ring)
    assert copy not in stored
    stored[copy] = b"half"
    assert rewrap(store, ring) == 0
    assert copy not in stored
    assert unborn in stored, "whose attempt may be beginning just now"
    use = find_kek_use(store, ring, [RECORDING])
    destroy_kek(ring, old, use=use, now_s=NOW_S + RETIRED_AFTER_S)
    assert not ring.has_kek(old)
