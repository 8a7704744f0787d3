"""After a shredding no key is left and nothing is read, and the proof is as good as before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.examples.both_verifiers import ALL, RING, empty, plain, taken_over, unfinished, with_late_files
from tests.fakes.chunk_stores import MemoryChunkStore, MemoryRecording
from tests.fakes.recordings import (
    OTHER_RECORDING,
    RECORDING,
    make_key_ring,
    open_writer,
    put_second,
    write_recording,
    write_seconds,
)
from vault.adapters.dir_store import DirChunkStore
from vault.core.custody_record import CustodyRecord
from vault.core.layout import custody_name, key_record_name, may_hold_key
from vault.custody import place_hold
from vault.errors import (
    HeldError,
    IntegrityError,
    NotARecordingError,
    OtherSignerError,
    ShreddedError,
    StoreError,
)
from vault.export import export_recording
from vault.ports import ChunkStore, KeyRing
from vault.reading import RecordingReader
from vault.shredding import delete_recording, shred_recording
from vault.verification import check_recording, verify_recording
from vault.verification_report import VerificationReport

AT_US = 1_800_000_100_000_000


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


def shred(store: ChunkStore, ring: KeyRing = RING, *copies: ChunkStore) -> CustodyRecord:
    return shred_recording(
        store, ring, recording_id=RECORDING, by="ann", reason="asked", at_us=AT_US, copies=copies
    )


def check(store: ChunkStore) -> VerificationReport:
    return check_recording(store.files(RECORDING), RING.public_key, recording_id=RECORDING).report


def keys_in(stored: dict[str, bytes]) -> list[str]:
    return [name for name in stored if may_hold_key(name)]


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_every_kind_of_recording_is_shredded_and_its_proof_stays(
    make: Callable[[], dict[str, bytes]],
) -> None:
    stored = make()
    store, before = store_of(stored), check(store_of(dict(stored)))
    tombstone = shred(store)
    assert keys_in(stored) == []
    report = check(store)
    assert (report.status, report.exit_code, report.problems) == ("shredded", 0, ())
    assert report.root == (before.root or tombstone.root)
    by_number = {attempt.attempt: (attempt.size, attempt.root) for attempt in report.attempts}
    assert by_number == {attempt.attempt: (attempt.size, attempt.root) for attempt in before.attempts}
    assert report.tracks == before.tracks
    with pytest.raises(ShreddedError, match="was shredded by 'ann' \\(asked\\)"):
        RecordingReader.open(store.files(RECORDING), RING, recording_id=RECORDING)


def test_the_report_says_who_and_why() -> None:
    store = store_of(plain())
    tombstone = shred(store)
    sentences = check(store).sentences()
    root = tombstone.root
    assert sentences[0] == (
        f"Recording {RECORDING} is shredded and its proof is good: 10 chunks, root {root}."
    )
    assert sentences[1] == "Shredded since 2027-01-15T08:01:40+00:00 by 'ann': 'asked'."


@pytest.mark.parametrize("make", [plain, taken_over, unfinished, with_late_files])
def test_a_shredding_killed_at_any_change_is_neither_bad_nor_undone(
    make: Callable[[], dict[str, bytes]],
) -> None:
    deaths = 0
    while True:
        stored = make()
        was = check(store_of(stored)).status
        try:
            shred(MortalStore(stored, dies_at=deaths))
        except Killed:
            deaths += 1
        else:
            break
        report = check(store_of(stored))
        assert report.status == (was if custody_name(1) not in stored else "shredding")
        if report.status == "shredding":
            assert report.exit_code == 3
            assert report.keys_left == tuple(sorted(keys_in(stored)))
            with pytest.raises(ShreddedError):
                RecordingReader.open(MemoryRecording(stored), RING, recording_id=RECORDING)
        shred(store_of(stored))
        assert (check(store_of(stored)).status, keys_in(stored)) == ("shredded", [])
    assert deaths >= 2


def test_the_control_that_puts_its_tombstone_last_leaves_a_bad_recording() -> None:
    stored = plain()
    del stored[key_record_name(1, 1)]  # killed here, before the tombstone
    assert check(store_of(stored)).status == "bad"


def test_repeating_changes_nothing() -> None:
    store = store_of(plain())
    first = shred(store)
    again = shred_recording(store, RING, recording_id=RECORDING, by="bob", reason="too", at_us=AT_US + 1)
    assert again == first


def test_keys_that_a_recorder_adds_later_are_seen_and_destroyed() -> None:
    store = store_of(unfinished())
    shred(store)
    late = open_writer(store, RING, attempt=2)
    write_seconds(late, seconds=1)
    late.checkpoint()
    report = check(store)
    assert (report.status, report.keys_left) == ("shredding", (key_record_name(2, 1),))
    assert "1 key files are left; shred it again." in report.sentences()[0]
    shred(store)
    report = check(store)
    assert (report.status, [attempt.attempt for attempt in report.attempts]) == ("shredded", [1])


def test_a_recorder_that_goes_on_does_not_spoil_the_proof() -> None:
    store = MemoryChunkStore()
    writer = open_writer(store, RING)
    write_seconds(writer, seconds=2)
    writer.checkpoint()
    size = shred(store).attempts[0].size
    put_second(writer, 1, 2)
    writer.checkpoint()  # and removes the checkpoint that the tombstone was made from
    report = check(store)
    assert (report.status, report.attempts[0].size) == ("shredded", size)


def test_a_folder_rolled_back_behind_its_tombstone_is_bad() -> None:
    stored = unfinished()
    shred(store_of(stored))
    for name in list(stored):
        if name.startswith("1/checkpoint") or name == "1/chunk-0000000003":
            del stored[name]
    report = check(store_of(stored))
    assert report.first_bad is not None
    assert (report.status, report.first_bad.file) == ("bad", "1/chunk-0000000003")


@pytest.mark.parametrize("name", ["manifest", "1/chunk-0000000002", "1/checkpoint-0000000010"])
def test_damage_after_a_shredding_is_still_seen(name: str) -> None:
    stored = plain()
    shred(store_of(stored))
    stored[name] = stored[name][:150] + bytes([stored[name][150] ^ 1]) + stored[name][151:]
    report = check(store_of(stored))
    assert report.first_bad is not None
    assert (report.status, report.first_bad.file) == ("bad", name)


def test_a_removed_tombstone_is_a_lost_key() -> None:
    stored = plain()
    shred(store_of(stored))
    del stored[custody_name(1)]
    report = check(store_of(stored))
    assert report.first_bad is not None
    assert (report.status, report.first_bad.file) == ("bad", key_record_name(1, 1))


def test_a_damaged_recording_can_be_shredded() -> None:
    stored = plain()
    stored[key_record_name(1, 2)] = b"damaged"
    stored[key_record_name(1, 1) + ".00ff.tmp"] = stored[key_record_name(1, 1)]
    stored["manifest"] = b"damaged"
    assert shred(store_of(stored)).attempts[0].size == 10
    assert [name for name in stored if "key" in name] == []


@pytest.mark.parametrize("make", [plain, unfinished, empty])
def test_a_wrong_key_destroys_nothing(make: Callable[[], dict[str, bytes]]) -> None:
    stored = make()
    before = dict(stored)
    with pytest.raises(OtherSignerError):
        shred(store_of(stored), make_key_ring(2))
    assert stored == before


def test_what_nothing_good_says_is_ours_is_not_destroyed() -> None:
    stored = {key_record_name(1, 1): b"damaged", "1/chunk-0000000000": b"damaged"}
    with pytest.raises(IntegrityError, match="no manifest or key record of it is good"):
        shred(store_of(stored))
    assert len(stored) == 2
    with pytest.raises(NotARecordingError, match=RECORDING):
        shred(MemoryChunkStore())


def test_copies_are_destroyed_too() -> None:
    stored, spooled = plain(), plain()
    shred(store_of(stored), RING, store_of(spooled))
    assert keys_in(stored) + keys_in(spooled) == []


def test_in_a_folder_the_bytes_of_the_keys_are_overwritten(tmp_path: Path) -> None:
    store = DirChunkStore(tmp_path)
    write_recording(store, RING)
    folder = tmp_path / RECORDING
    path = folder / key_record_name(1, 1)
    kept = tmp_path / "another name of the same bytes"
    kept.hardlink_to(path)
    cut_short = path.with_name(f"{path.name}.00112233aabbccdd.tmp")
    cut_short.write_bytes(path.read_bytes())
    size = path.stat().st_size
    shred(store)
    assert kept.read_bytes() == bytes(size)
    assert not path.exists()
    assert not cut_short.exists()
    report = verify_recording(folder, RING.public_key)
    assert (report.status, report.ignored) == ("shredded", ())
    with pytest.raises(ShreddedError):
        export_recording(folder, RING, tmp_path / "out.mp4")


class StubbornStore(MemoryChunkStore):
    """Refuses to delete."""

    def delete(self, recording_id: str, name: str) -> None:
        raise StoreError("no")


def test_a_store_that_refuses_leaves_a_shredding_that_can_be_finished() -> None:
    store = StubbornStore()
    store.recordings[RECORDING] = plain()
    with pytest.raises(StoreError):
        shred(store)
    assert check(store).status == "shredding"


def test_deleting_takes_everything_and_may_be_repeated() -> None:
    for make in ALL.values():
        store = store_of(make())
        for _ in range(2):
            delete_recording(
                store, RING, recording_id=RECORDING, by="retention", reason="30 days", at_us=AT_US
            )
        assert store.recordings[RECORDING] == {}
    write_recording(store, RING, recording_id=OTHER_RECORDING)
    delete_recording(store, RING, recording_id=RECORDING, by="x", reason="x", at_us=AT_US)
    assert store.recordings[OTHER_RECORDING] != {}


def test_a_deletion_killed_at_any_change_can_be_finished_and_reads_nothing() -> None:
    def delete(store: ChunkStore) -> None:
        delete_recording(store, RING, recording_id=RECORDING, by="x", reason="x", at_us=AT_US)

    deaths = 0
    while True:
        stored = plain()
        try:
            delete(MortalStore(stored, dies_at=deaths))
        except Killed:
            deaths += 1
        else:
            break
        assert set(stored) == set(plain()) or custody_name(1) in stored
        delete(store_of(stored))
        assert stored == {}
    assert deaths > 10


def test_a_held_recording_is_not_deleted() -> None:
    store = store_of(plain())
    place_hold(store, RING, recording_id=RECORDING, by="legal", reason="case 7", at_us=AT_US)
    before = dict(store.recordings[RECORDING])
    with pytest.raises(HeldError):
        delete_recording(store, RING, recording_id=RECORDING, by="x", reason="x", at_us=AT_US)
    assert store.recordings[RECORDING] == before
