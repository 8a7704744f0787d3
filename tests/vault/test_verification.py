"""Verification names what was flipped, dropped, swapped, repeated, truncated or spliced, anywhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.fakes.chunk_stores import MemoryChunkStore, MemoryRecording
from tests.fakes.recordings import (
    OTHER_RECORDING,
    RECORDING,
    complete,
    make_key_ring,
    open_writer,
    put_init,
    put_second,
    write_recording,
    write_seconds,
)
from vault.adapters.dir_store import DirChunkStore
from vault.core.checkpoint import TreeHead, encode_checkpoint
from vault.core.manifest import decode_manifest, encode_manifest
from vault.errors import NotARecordingError, StoreError
from vault.ports import StoredFile
from vault.recovery import recover_attempt
from vault.verification import MAX_PROBLEMS, check_recording, verify_recording
from vault.verification_report import VerificationReport

RING = make_key_ring()
Stored = dict[str, bytes]


def verify(stored: Stored, *, ring: int = 1, against: tuple[TreeHead, ...] = ()) -> VerificationReport:
    files = MemoryRecording(stored)
    key = make_key_ring(ring).public_key
    return check_recording(files, key, recording_id=RECORDING, against=against).report


def written(*, seconds: int = 2) -> Stored:
    store = MemoryChunkStore()
    write_recording(store, RING, seconds=seconds)
    return store.recordings[RECORDING]


def killed(*, after: int = 1) -> Stored:
    """What a recorder leaves that was killed ``after`` puts later than its last checkpoint."""
    store = MemoryChunkStore()
    writer = open_writer(store, RING)
    write_seconds(writer, seconds=2)
    writer.checkpoint()
    for second in range(after):
        put_second(writer, 1, 2 + second)
    return store.recordings[RECORDING]


def chunk(leaf: int, attempt: int = 1) -> str:
    return f"{attempt}/chunk-{leaf:010}"


def flip(data: bytes, bit: int) -> bytes:
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)


def assert_bad(stored: Stored, name: str) -> None:
    report = verify(stored)
    assert (report.status, report.exit_code) == ("bad", 1)
    assert report.first_bad is not None
    assert report.first_bad.file == name, report.problems


def test_a_complete_recording() -> None:
    report = verify(written())
    assert (report.status, report.exit_code, report.problems, report.ignored) == ("complete", 0, (), ())
    assert report.recording_id == RECORDING
    (attempt,) = report.attempts
    assert (attempt.size, attempt.closed, attempt.unacknowledged) == (8, "own", 0)
    assert [(track.track, track.expected_s, track.recorded_s, track.cut) for track in report.tracks] == [
        (1, 2.0, 2.0, False),
        (2, 2.0, 2.0, False),
    ]
    assert len(report.root) == 64


def test_what_a_killed_recorder_leaves_is_incomplete_at_its_last_checkpoint() -> None:
    stored = killed(after=1)
    stored["1/chunk-0000000007.00.tmp"] = b"half a ch"
    report = verify(stored)
    assert (report.status, report.exit_code, report.problems, report.root) == ("incomplete", 3, (), "")
    (attempt,) = report.attempts
    assert (attempt.size, attempt.unacknowledged) == (6, 1)
    assert [track.cut for track in report.tracks] == [True, True]
    assert [ignored.file for ignored in report.ignored] == ["1/chunk-0000000007.00.tmp"]


def test_a_key_record_alone_is_incomplete_at_nothing() -> None:
    store = MemoryChunkStore()
    open_writer(store, RING)
    report = verify(store.recordings[RECORDING])
    assert (report.exit_code, report.attempts[0].size) == (3, 0)


@pytest.mark.parametrize("make", [written, killed], ids=["complete", "killed"])
def test_a_flipped_bit_in_any_file_is_named(make: Callable[[], Stored]) -> None:
    stored = make()
    assert len({name.split("/")[-1][:3] for name in stored}) >= 3
    for name, data in stored.items():
        middle = len(data) // 2
        spots = {0, 1, 7, middle, middle + 1, len(data) - 65, len(data) - 3, len(data) - 2, len(data) - 1}
        spots |= set(range(0, len(data), 29))
        for offset in sorted(spots):
            for bit in (0, 7):
                assert_bad(stored | {name: flip(data, offset * 8 + bit)}, name)


@pytest.mark.parametrize("make", [written, killed], ids=["complete", "killed"])
def test_a_truncated_or_longer_file_is_named(make: Callable[[], Stored]) -> None:
    stored = make()
    for name, data in stored.items():
        for length in {0, 1, len(data) // 3, len(data) // 2, len(data) - 64, len(data) - 1}:
            assert_bad(stored | {name: data[:length]}, name)
        assert_bad(stored | {name: data + b"\0"}, name)
        assert_bad(stored | {name: data + b"\n"}, name)


def test_a_dropped_file_is_named() -> None:
    stored = written()
    for name in stored:
        if name != "manifest":
            assert_bad({key: data for key, data in stored.items() if key != name}, name)


def test_dropping_the_manifest_makes_it_incomplete_never_complete() -> None:
    stored = written()
    del stored["manifest"]
    assert verify(stored).exit_code == 3


def test_dropping_the_end_is_named_while_a_checkpoint_is_there() -> None:
    stored = killed(after=0)
    del stored[chunk(5)]
    assert_bad(stored, chunk(5))
    del stored[chunk(4)]
    assert_bad(stored, chunk(4))
    assert "and 1 after it" in verify(stored).problems[0].reason


@pytest.mark.parametrize(("left", "right"), [(0, 1), (2, 3), (2, 4), (6, 7)])
def test_swapped_chunks_are_named(left: int, right: int) -> None:
    stored = written()
    swapped = stored | {chunk(left): stored[chunk(right)], chunk(right): stored[chunk(left)]}
    assert_bad(swapped, chunk(left))
    assert [problem.file for problem in verify(swapped).problems] == [chunk(left), chunk(right)]


def test_a_repeated_chunk_is_named() -> None:
    stored = written()
    assert_bad(stored | {chunk(3): stored[chunk(2)]}, chunk(3))
    without_end = killed(after=0)
    assert_bad(without_end | {chunk(6): without_end[chunk(5)]}, chunk(6))


def test_a_chunk_of_another_recording_or_attempt_is_named() -> None:
    store = MemoryChunkStore()
    write_recording(store, RING, recording_id=OTHER_RECORDING, seconds=2)
    writer = open_writer(store, RING, attempt=2)
    write_seconds(writer, seconds=2)
    stored = written()
    assert_bad(stored | {chunk(3): store.recordings[OTHER_RECORDING][chunk(3)]}, chunk(3))
    assert_bad(stored | {chunk(3): store.recordings[RECORDING][chunk(3, attempt=2)]}, chunk(3))


@pytest.mark.parametrize("name", ["manifest", "1/key-record-0000000001", "1/checkpoint-0000000008"])
def test_a_note_of_another_recording_is_named(name: str) -> None:
    store = MemoryChunkStore()
    write_recording(store, RING, recording_id=OTHER_RECORDING, seconds=2)
    assert_bad(written() | {name: store.recordings[OTHER_RECORDING][name]}, name)


def test_a_whole_other_recording_in_the_folder_is_bad(tmp_path: Path) -> None:
    store = DirChunkStore(tmp_path)
    write_recording(store, RING, recording_id=OTHER_RECORDING)
    assert verify_recording(tmp_path / OTHER_RECORDING, RING.public_key).exit_code == 0
    (tmp_path / OTHER_RECORDING).rename(tmp_path / RECORDING)
    report = verify_recording(tmp_path / RECORDING, RING.public_key)
    assert report.exit_code == 1
    (tmp_path / RECORDING).rename(tmp_path / "a copy")
    report = verify_recording(tmp_path / "a copy", RING.public_key)
    assert (report.exit_code, report.recording_id) == (0, OTHER_RECORDING)


def test_a_chunk_sealed_twice_for_one_place_does_not_pass_the_tree() -> None:
    # Each chunk is signed by our key and says the same place, but only one of them is in the signed tree.
    stored, other = written(), written()
    forged = stored | {chunk(3): other[chunk(3)]}
    assert stored[chunk(3)] != other[chunk(3)]
    assert_bad(forged, "1/checkpoint-0000000008")


@pytest.mark.parametrize(
    "name", ["notes.txt", "1/notes", "1/chunk-1", "0/chunk-0000000000", "manifest2", "1/2/chunk-0000000000"]
)
def test_a_file_that_the_format_does_not_have_is_named(name: str) -> None:
    assert_bad(written() | {name: b""}, name)


def test_a_link_is_named(tmp_path: Path) -> None:
    store = DirChunkStore(tmp_path)
    write_recording(store, RING)
    path = tmp_path / RECORDING / chunk(3)
    path.rename(tmp_path / "moved")
    path.symlink_to(tmp_path / "moved")
    report = verify_recording(tmp_path / RECORDING, RING.public_key)
    assert report.exit_code == 1
    assert {problem.file for problem in report.problems} == {chunk(3)}


def test_another_public_key_is_one_sentence() -> None:
    for stored in (written(), killed()):
        report = verify(stored, ring=2)
        assert (report.exit_code, len(report.problems)) == (1, 1)
        assert "by another key than the one given" in report.problems[0].reason


def test_a_recording_signed_anew_by_another_is_bad_under_our_key() -> None:
    store = MemoryChunkStore()
    write_recording(store, make_key_ring(2))
    assert verify(store.recordings[RECORDING], ring=2).exit_code == 0
    assert verify(store.recordings[RECORDING]).exit_code == 1


def test_late_files_of_a_closed_attempt_are_ignored_by_name_but_still_checked() -> None:
    store = MemoryChunkStore()
    writer = open_writer(store, RING)
    write_seconds(writer, seconds=2)
    close = recover_attempt(store.files(RECORDING), RING.public_key, recording_id=RECORDING, attempt=1)
    complete(store, RING, close)
    put_second(writer, 1, 2)  # the frozen recorder wakes
    writer.checkpoint()
    late = open_writer(store, RING, attempt=2)
    put_init(late, 1)
    stored = store.recordings[RECORDING]
    report = verify(stored)
    assert report.exit_code == 0
    assert [ignored.file for ignored in report.ignored] == [
        chunk(6),
        "1/checkpoint-0000000007",
        "2/key-record-0000000001",
        chunk(0, attempt=2),
    ]
    for name in (chunk(6), "1/checkpoint-0000000007", "2/key-record-0000000001", chunk(0, attempt=2)):
        assert_bad(stored | {name: flip(stored[name], 900)}, name)


def test_a_checkpoint_that_is_not_needed_is_still_checked() -> None:
    stored = written()
    head = TreeHead(attempt=1, size=3, root=bytes(32))
    stored["1/checkpoint-0000000003"] = encode_checkpoint(
        RECORDING, head, public_key=RING.public_key, sign=RING.sign
    )
    assert_bad(stored, "1/checkpoint-0000000003")
    stored["1/checkpoint-0000000004"] = stored.pop("1/checkpoint-0000000003")
    assert_bad(stored, "1/checkpoint-0000000004")


def test_a_folder_that_was_rolled_back_is_seen_against_known_heads() -> None:
    store = MemoryChunkStore()
    writer = open_writer(store, RING)
    write_seconds(writer, seconds=1)
    writer.checkpoint()
    old = dict(store.recordings[RECORDING])
    put_second(writer, 1, 1)
    known = writer.checkpoint()
    assert known is not None
    assert verify(store.recordings[RECORDING], against=(known.head,)).exit_code == 3
    assert verify(old).exit_code == 3
    report = verify(old, against=(known.head,))
    assert (report.exit_code, report.problems[0].file) == (1, chunk(4))
    other = TreeHead(attempt=1, size=4, root=bytes(32))
    assert verify(old, against=(other,)).exit_code == 1
    assert verify(old, against=(TreeHead(attempt=2, size=1, root=bytes(32)),)).exit_code == 1


def test_a_manifest_that_says_other_coverage_is_bad() -> None:
    # Signed with our key, so only a recorder of ours can have written it: still not called complete.
    stored = written()
    manifest = decode_manifest(stored["manifest"], recording_id=RECORDING, public_key=RING.public_key)
    track = msgspec.structs.replace(manifest.tracks[0], recorded_us=1)
    for tracks in ([track, manifest.tracks[1]], manifest.tracks[:1], []):
        changed = msgspec.structs.replace(manifest, tracks=tracks)
        note = encode_manifest(changed, public_key=RING.public_key, sign=RING.sign)
        assert_bad(stored | {"manifest": note}, "manifest")


def test_a_place_without_a_recording_is_misuse(tmp_path: Path) -> None:
    with pytest.raises(NotARecordingError, match="is not a folder"):
        verify_recording(tmp_path / "nowhere", RING.public_key)
    with pytest.raises(NotARecordingError, match=f"{tmp_path}: there is no file of a recording; name one"):
        verify_recording(tmp_path, RING.public_key)


def test_a_file_that_cannot_be_read_is_named() -> None:
    class Unreadable(MemoryRecording):
        def read(self, name: str, *, max_bytes: int) -> bytes:
            if name == chunk(2):
                raise StoreError("it cannot be read: Input/output error")
            return super().read(name, max_bytes=max_bytes)

    report = check_recording(Unreadable(written()), RING.public_key, recording_id=RECORDING).report
    assert (report.exit_code, [problem.file for problem in report.problems]) == (1, [chunk(2)])


def test_many_bad_files_are_counted() -> None:
    class Strange(MemoryRecording):
        def list_files(self) -> list[StoredFile]:
            return [*super().list_files(), *(StoredFile(f"x{number:04}", 0) for number in range(250))]

    report = check_recording(Strange(written()), RING.public_key).report
    assert len(report.problems) == MAX_PROBLEMS + 1
    assert report.problems[-1].reason == "150 more files are bad"


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    store = DirChunkStore(tmp_path)
    write_recording(store, RING)
    steps: list[tuple[int, int]] = []
    verify_recording(
        tmp_path / RECORDING, RING.public_key, on_progress=lambda done, total: steps.append((done, total))
    )
    size = sum(path.stat().st_size for path in (tmp_path / RECORDING).rglob("*") if path.is_file())
    assert steps[-1] == (size, size)
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_nothing_in_the_folder_is_changed(tmp_path: Path) -> None:
    store = DirChunkStore(tmp_path)
    write_recording(store, RING)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    verify_recording(tmp_path / RECORDING, make_key_ring(2).public_key)
    verify_recording(tmp_path / RECORDING, RING.public_key)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert sorted(os.listdir(tmp_path)) == [RECORDING]
