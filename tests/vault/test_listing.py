"""A listing sorts files by attempt and number, and sets aside what does not belong."""

from __future__ import annotations

import pytest

from tests.fakes.chunk_stores import MemoryChunkStore, MemoryRecording
from tests.fakes.recordings import OTHER_RECORDING, RECORDING, make_key_ring, write_recording
from vault.errors import NotARecordingError
from vault.listing import find_recording_id, read_listing


def test_files_are_sorted_by_attempt_and_number() -> None:
    names = ["10/chunk-0000000001", "2/chunk-0000000010", "2/chunk-0000000002", "2/checkpoint-0000000003"]
    names += ["2/key-record-0000000001", "manifest", "notes.txt", "2/chunk-0000000003.ab.tmp"]
    listing = read_listing(MemoryRecording(dict.fromkeys(names, b"12")))
    assert list(listing.attempts) == [2, 10]
    assert listing.attempts[2].leaves == [2, 10]
    assert (listing.attempts[2].sizes, listing.attempts[2].revisions) == ([3], [1])
    assert (listing.has_manifest, listing.unknown) == (True, ["notes.txt"])
    assert listing.temporary == ["2/chunk-0000000003.ab.tmp"]
    assert listing.total_bytes == 16
    assert listing.attempts[2].names() == [
        "2/key-record-0000000001",
        "2/checkpoint-0000000003",
        "2/chunk-0000000002",
        "2/chunk-0000000010",
    ]


def test_without_files_of_the_format_there_is_no_recording() -> None:
    assert read_listing(MemoryRecording({"notes.txt": b""})).is_empty
    assert not read_listing(MemoryRecording({"manifest": b""})).is_empty


def test_a_recording_says_which_it_is_even_when_one_file_lies() -> None:
    store = MemoryChunkStore()
    write_recording(store, make_key_ring())
    stored = store.recordings[RECORDING]
    assert find_recording_id(MemoryRecording(stored), read_listing(MemoryRecording(stored))) == RECORDING
    stored["manifest"] = stored["manifest"].replace(RECORDING.encode(), OTHER_RECORDING.encode())
    assert find_recording_id(MemoryRecording(stored), read_listing(MemoryRecording(stored))) == RECORDING


def test_files_that_say_nothing_are_no_recording() -> None:
    files = MemoryRecording({"manifest": b"hello", "1/chunk-0000000000": b"hello"})
    with pytest.raises(NotARecordingError, match="no file here says"):
        find_recording_id(files, read_listing(files))


def test_custody_records_are_sorted_and_make_a_recording() -> None:
    listing = read_listing(MemoryRecording({"custody-0000000002": b"", "custody-0000000001": b""}))
    assert (listing.custody, listing.is_empty) == ([1, 2], False)
    assert listing.names() == ["custody-0000000001", "custody-0000000002"]


def test_files_that_may_hold_a_key_are_found_also_where_a_put_was_cut_short() -> None:
    names = ["1/key-record-0000000001", "2/key-record-0000000001.00ff.tmp", "1/chunk-0000000000.ab.tmp"]
    assert read_listing(MemoryRecording(dict.fromkeys(names, b""))).key_files == names[:2]
