"""A recorder's store path as a program to be killed: writes media for ever, says what is acknowledged.

    python killed_writer.py DIRECTORY MEDIA durable|naive

Each line of output is the size and root of a checkpoint that is stored.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

from tests.fakes.media import Track
from tests.fakes.recordings import RECORDING, WALL_START_US
from vault.adapters.dir_store import DirChunkStore
from vault.adapters.key_files import KeyFiles
from vault.core.ids import RecordingId
from vault.writing import AttemptWriter, SealedChunk


class NaiveStore(DirChunkStore):
    """The control: says that a chunk is stored while it still waits behind eight others.

    Eight is more than the puts between two checkpoints, so that something acknowledged is always missing.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._waiting: list[tuple[RecordingId, str, bytes]] = []

    def put(self, recording_id: RecordingId, name: str, data: bytes) -> None:
        if "chunk" not in name:
            super().put(recording_id, name, data)
            return
        self._waiting.append((recording_id, name, data))
        if len(self._waiting) > 8:
            super().put(*self._waiting.pop(0))


def write_for_ever(directory: Path, tracks: list[Track], *, is_naive: bool) -> None:
    """Write all tracks fragment by fragment, over and over, each time as a new init run."""
    root = directory / "recordings"
    store = NaiveStore(root) if is_naive else DirChunkStore(root)
    key_ring = KeyFiles.create_or_open(directory / "keys")
    writer = AttemptWriter.open(
        store, key_ring, recording_id=RECORDING, attempt=1, wall_start_us=WALL_START_US
    )
    span_us = 4_000_000
    for turn in range(1_000_000):
        sealed: list[SealedChunk] = []
        for number, track in enumerate(tracks, start=1):
            sealed.append(
                writer.seal_init(
                    number,
                    track.prologue,
                    track.init_part,
                    time_base=track.time_base,
                    offset_us=turn * span_us,
                )
            )
        for index in range(max(len(track.fragments) for track in tracks)):
            for number, track in enumerate(tracks, start=1):
                if index < len(track.fragments):
                    fragment = track.fragments[index]
                    sealed.append(
                        writer.seal(
                            number,
                            fragment.data,
                            first_pts=fragment.first_pts,
                            duration_pts=fragment.duration_pts,
                            has_keyframe=fragment.has_keyframe,
                        )
                    )
        for count, chunk in enumerate(sealed):
            writer.put(chunk)
            if count % 3 == 0:
                checkpoint = writer.checkpoint()
                assert checkpoint is not None
                print(checkpoint.head.size, checkpoint.head.root.hex(), flush=True)


if __name__ == "__main__":
    media: list[Track] = pickle.loads(Path(sys.argv[2]).read_bytes())
    write_for_ever(Path(sys.argv[1]), media, is_naive=sys.argv[3] == "naive")
