"""Checking one attempt: every bad file is blamed once, and what is good is told apart."""

from __future__ import annotations

import msgspec
import pytest

from tests.fakes.chunk_stores import MemoryChunkStore, MemoryRecording
from tests.fakes.recordings import RECORDING, make_key_ring, open_writer, put_init, put_second, write_seconds
from vault.attempts import AttemptChecker, VerifiedAttempt, verify_place
from vault.core.chunk_header import decode_header
from vault.core.key_record import decode_key_record, encode_key_record
from vault.errors import FormatError
from vault.listing import AttemptListing, read_listing

RING = make_key_ring()


@pytest.fixture
def stored() -> dict[str, bytes]:
    store = MemoryChunkStore()
    writer = open_writer(store, RING)
    write_seconds(writer, seconds=2)
    writer.checkpoint()
    put_second(writer, 1, 2)
    return store.recordings[RECORDING]


def check(
    stored: dict[str, bytes], *, closed_size: int | None = None
) -> tuple[VerifiedAttempt, list[tuple[str, str]]]:
    blamed: list[tuple[str, str]] = []
    files = MemoryRecording(stored)
    checker = AttemptChecker(
        files=files,
        listing=read_listing(files).attempts.get(1, AttemptListing(1)),
        recording_id=RECORDING,
        public_key=RING.public_key,
        blame=lambda name, error: blamed.append((name, str(error))),
        closed_size=closed_size,
    )
    return checker.check(), blamed


def test_what_is_good_and_what_counts(stored: dict[str, bytes]) -> None:
    verified, blamed = check(stored)
    assert blamed == []
    assert (verified.acknowledged_size, verified.size, len(verified.chunks)) == (6, 6, 7)
    assert verified.key_record is not None
    assert [track.recorded_us for track in verified.tracks] == [2_000_000, 2_000_000]


def test_the_close_decides_what_counts(stored: dict[str, bytes]) -> None:
    verified, blamed = check(stored, closed_size=4)
    assert blamed == [("1/checkpoint-0000000004", "it is missing")]
    assert [track.recorded_us for track in verified.tracks] == [1_000_000, 1_000_000]
    assert verified.late == [
        "1/chunk-0000000004",
        "1/chunk-0000000005",
        "1/chunk-0000000006",
        "1/checkpoint-0000000006",
    ]


def test_after_a_bad_leaf_the_others_are_still_checked(stored: dict[str, bytes]) -> None:
    stored["1/chunk-0000000002"] = b""
    stored["1/chunk-0000000005"] = b""
    del stored["1/chunk-0000000004"]
    verified, blamed = check(stored)
    assert [name for name, _ in blamed] == ["1/chunk-0000000002", "1/chunk-0000000004", "1/chunk-0000000005"]
    assert (len(verified.chunks), verified.root) == (2, b"")


def test_a_hole_after_the_last_checkpoint_is_no_fault_but_ends_what_is_good(stored: dict[str, bytes]) -> None:
    store = MemoryChunkStore()
    writer = open_writer(store, RING)
    put_init(writer, 1)
    writer.checkpoint()
    sealed = [writer.seal(1, b"x", first_pts=n, duration_pts=1, has_keyframe=True) for n in range(3)]
    writer.put(sealed[0])
    writer.put(sealed[2])
    verified, blamed = check(store.recordings[RECORDING])
    assert blamed == []
    assert (verified.size, len(verified.chunks)) == (1, 2)


def test_an_attempt_without_key_record_is_blamed() -> None:
    assert check({})[1] == [("1/key-record-0000000001", "the attempt's key record is missing")]


def test_revisions_of_the_key_record_differ_in_the_wrapping_only(stored: dict[str, bytes]) -> None:
    name = "1/key-record-0000000001"
    record = decode_key_record(
        stored[name], recording_id=RECORDING, attempt=1, revision=1, public_key=RING.public_key
    )
    rewrapped = msgspec.structs.replace(record, revision=2, wrapped_key=b"\1" * 60)
    other = msgspec.structs.replace(rewrapped, wall_start_us=7)
    for changed, blamed in ((rewrapped, []), (other, ["1/key-record-0000000002"])):
        note = encode_key_record(changed, public_key=RING.public_key, sign=RING.sign)
        verified, problems = check(stored | {"1/key-record-0000000002": note})
        assert [file for file, _ in problems] == blamed
        assert verified.key_record == (record if blamed else rewrapped)


def test_a_chunk_must_stand_in_its_place(stored: dict[str, bytes]) -> None:
    header = decode_header(stored["1/chunk-0000000002"])
    verify_place(header, recording_id=RECORDING, attempt=1, leaf=2)
    with pytest.raises(FormatError, match=f"leaf 2 of attempt 1 of {RECORDING}"):
        verify_place(header, recording_id=RECORDING, attempt=1, leaf=3)
