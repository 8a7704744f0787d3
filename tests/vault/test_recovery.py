"""Recovery closes an attempt at the longest verified run, and never below what was acknowledged."""

from __future__ import annotations

import pytest

from tests.fakes.chunk_stores import MemoryChunkStore, MemoryRecording
from tests.fakes.recordings import RECORDING, make_key_ring, open_writer, put_second, write_seconds
from vault.core.manifest import AttemptClose
from vault.errors import IntegrityError
from vault.ports import StoredFile
from vault.recovery import check_attempt, recover_attempt

RING = make_key_ring()


@pytest.fixture
def stored() -> dict[str, bytes]:
    """Six acknowledged leaves and two more."""
    store = MemoryChunkStore()
    writer = open_writer(store, RING)
    write_seconds(writer, seconds=2)
    writer.checkpoint()
    put_second(writer, 1, 2)
    put_second(writer, 2, 2)
    return store.recordings[RECORDING]


def recover(stored: dict[str, bytes]) -> AttemptClose:
    return recover_attempt(MemoryRecording(stored), RING.public_key, recording_id=RECORDING, attempt=1)


def test_all_that_verifies_is_taken(stored: dict[str, bytes]) -> None:
    close = recover(stored)
    assert (close.attempt, close.size, close.closed) == (1, 8, "recovered")
    assert len(close.root) == 64


def test_a_hole_ends_the_run(stored: dict[str, bytes]) -> None:
    del stored["1/chunk-0000000006"]
    assert recover(stored).size == 6


def test_a_bad_leaf_that_was_never_acknowledged_ends_the_run(stored: dict[str, bytes]) -> None:
    stored["1/chunk-0000000007"] = stored["1/chunk-0000000007"][:-1]
    assert recover(stored).size == 7


def test_without_a_checkpoint_the_run_still_counts(stored: dict[str, bytes]) -> None:
    del stored["1/checkpoint-0000000006"]
    assert recover(stored).size == 8


def test_an_attempt_that_only_began_is_closed_at_nothing() -> None:
    store = MemoryChunkStore()
    open_writer(store, RING)
    assert recover(store.recordings[RECORDING]).size == 0


@pytest.mark.parametrize("name", ["1/chunk-0000000005", "1/checkpoint-0000000006", "1/key-record-0000000001"])
def test_what_was_acknowledged_and_is_bad_stops_recovery(stored: dict[str, bytes], name: str) -> None:
    stored[name] = stored[name][:-1]
    with pytest.raises(IntegrityError, match=name):
        recover(stored)


def test_another_key_recovers_nothing(stored: dict[str, bytes]) -> None:
    with pytest.raises(IntegrityError, match="another key"):
        recover_attempt(
            MemoryRecording(stored), make_key_ring(2).public_key, recording_id=RECORDING, attempt=1
        )


def test_the_run_is_given_chunk_by_chunk(stored: dict[str, bytes]) -> None:
    verified = check_attempt(MemoryRecording(stored), RING.public_key, recording_id=RECORDING, attempt=1)
    assert [chunk.header.leaf for chunk in verified.chunks] == list(range(8))


def test_a_checkpoint_that_is_replaced_between_listing_and_reading_is_no_fault() -> None:
    store = MemoryChunkStore()
    writer = open_writer(store, RING)
    write_seconds(writer, seconds=2)
    writer.checkpoint()
    stored = store.recordings[RECORDING]

    class Moving(MemoryRecording):
        """Its recorder goes on once, right after it was listed."""

        has_moved = False

        def list_files(self) -> list[StoredFile]:
            listed = super().list_files()
            if not self.has_moved:
                self.has_moved = True
                put_second(writer, 1, 2)
                put_second(writer, 2, 2)
                writer.checkpoint()
                stored.pop("1/checkpoint-0000000006", None)
            return listed

    close = recover_attempt(Moving(stored), RING.public_key, recording_id=RECORDING, attempt=1)
    assert close.size == 8
