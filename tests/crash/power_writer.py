"""Writes and completes recordings as fast as a disk lets it, and says what it holds for stored.

    python -m tests.crash.power_writer FOLDER PROMISES COUNT durable|careless|manifest_only

The last two are naive: one never asks the disk to keep anything, the other only for the manifest.
"""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import msgspec

from tests.fakes.recordings import complete, make_key_ring, open_writer, put_init, put_second
from vault.adapters.dir_store import DirChunkStore
from vault.core.ids import RecordingId
from vault.core.layout import MANIFEST_NAME

BYTES = 3_000  # of a chunk
SECONDS = 6
BATCH = 3  # chunks between two checkpoints
PAUSE_S = 0.2  # of the naive: meanwhile the kernel writes some of it by itself


class PromisedHead(msgspec.Struct, frozen=True, kw_only=True):
    """What is held for stored: the leaves of a checkpoint, or the whole recording."""

    recording: str
    size: int = 0
    root: str = ""
    is_complete: bool = False


def recording_of(number: int) -> RecordingId:
    """Id of the n-th recording."""
    return RecordingId(str(uuid.UUID(int=number + 1, version=4)))


class CarelessStore(DirChunkStore):
    """Naive: asks the disk to keep the manifest and nothing else, or nothing at all."""

    def __init__(self, root: Path, kept: str) -> None:
        super().__init__(root)
        self._kept = kept
        self._fsync: Callable[[int], None] = os.fsync

    def put(self, recording_id: RecordingId, name: str, data: bytes) -> None:
        """Write without waiting for the disk."""
        os.fsync = self._fsync if name == self._kept else (lambda descriptor: None)  # type: ignore[assignment]
        super().put(recording_id, name, data)


def write(folder: Path, promise: Callable[[PromisedHead], None], *, count: int, manner: str) -> None:
    """Write ``count`` recordings, each complete before the next begins."""
    kept = MANIFEST_NAME if manner == "manifest_only" else ""
    store = DirChunkStore(folder) if manner == "durable" else CarelessStore(folder, kept)
    key_ring = make_key_ring()
    for number in range(count):
        recording_id = recording_of(number)
        writer = open_writer(store, key_ring, recording_id=recording_id)
        for track in (1, 2):
            put_init(writer, track)
        for second in range(SECONDS):
            for track in (1, 2):
                put_second(writer, track, second, os.urandom(BYTES))
            if second % BATCH == BATCH - 1:
                checkpoint = writer.checkpoint()
                assert checkpoint is not None
                head = checkpoint.head
                promise(PromisedHead(recording=recording_id, size=head.size, root=head.root.hex()))
        complete(store, key_ring, writer.close(), recording_id=recording_id)
        promise(PromisedHead(recording=recording_id, is_complete=True))
        if manner != "durable":
            time.sleep(PAUSE_S)


def main() -> None:
    """Write, telling the pipe."""
    folder, pipe, count, manner = sys.argv[1:]
    with open(pipe, "wb", buffering=0) as told:

        def promise(head: PromisedHead) -> None:
            told.write(msgspec.json.encode(head) + b"\n")

        write(Path(folder), promise, count=int(count), manner=manner)


if __name__ == "__main__":
    main()
