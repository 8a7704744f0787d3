"""What counts of a recording is read with the public key alone, also while its recorder goes on."""

from __future__ import annotations

import pytest

from tests.fakes.chunk_stores import MemoryChunkStore, MemoryRecording
from tests.fakes.recordings import RECORDING, make_key_ring, open_writer, write_recording, write_seconds
from vault.errors import FileMissingError, IntegrityError, NotARecordingError
from vault.heads import read_heads, read_manifest

RING = make_key_ring()


def growing() -> dict[str, bytes]:
    store = MemoryChunkStore()
    writer = open_writer(store, RING)
    write_seconds(writer)
    writer.checkpoint()
    return store.recordings[RECORDING]


def test_the_manifest_comes_with_its_note() -> None:
    store = MemoryChunkStore()
    written = write_recording(store, RING)
    files = MemoryRecording(store.recordings[RECORDING])
    assert read_manifest(files, RING.public_key, RECORDING) == (written, files.stored["manifest"])
    assert read_manifest(MemoryRecording(growing()), RING.public_key, RECORDING) is None


def test_a_manifest_by_another_key_is_refused_and_named() -> None:
    store = MemoryChunkStore()
    write_recording(store, RING)
    files = MemoryRecording(store.recordings[RECORDING])
    with pytest.raises(IntegrityError, match="manifest: it is signed by another key"):
        read_manifest(files, make_key_ring(2).public_key, RECORDING)


class Moving(MemoryRecording):
    """Its recorder replaces the checkpoint each time that one is read, so many times."""

    def __init__(self, stored: dict[str, bytes], times: int) -> None:
        super().__init__(stored)
        self.times = times

    def read(self, name: str, *, max_bytes: int) -> bytes:
        if "checkpoint" in name and self.times:
            self.times -= 1
            raise FileMissingError(f"{name} is missing")
        return super().read(name, max_bytes=max_bytes)


def test_a_checkpoint_that_is_replaced_meanwhile_is_looked_for_again() -> None:
    [head] = read_heads(Moving(growing(), 3), RING.public_key, RECORDING)
    assert (head.attempt, head.size) == (1, 8)
    with pytest.raises(FileMissingError):
        read_heads(Moving(growing(), 99), RING.public_key, RECORDING)


def test_a_checkpoint_under_another_size_is_named() -> None:
    stored = growing()
    stored["1/checkpoint-0000000009"] = stored.pop("1/checkpoint-0000000008")
    with pytest.raises(IntegrityError, match="checkpoint-0000000009: it is the checkpoint over 8 leaves"):
        read_heads(MemoryRecording(stored), RING.public_key, RECORDING)


def test_nothing_is_no_recording() -> None:
    with pytest.raises(NotARecordingError):
        read_heads(MemoryRecording({}), RING.public_key, RECORDING)
