"""Recordings in a folder with their keys beside them, as an orchestrator finds them; and small stores."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from orchestrator.recording_settings import EncryptionSettings, RecordingSettings
from orchestrator.service.exports import Exports
from orchestrator.service.playback import Playback
from orchestrator.settings import Settings
from tests.fakes.chunk_stores import MemoryChunkStore
from tests.fakes.media import Track
from tests.fakes.recordings import RECORDING, WALL_START_US, complete, open_writer, write_media
from vault.adapters.dir_store import DirChunkStore
from vault.adapters.key_files import KeyFiles
from vault.core.ids import RecordingId
from vault.ports import ChunkStore, RecordingFiles, StoredFile

Attempt = Iterable[tuple[int, int, Track]]  # track number, offset in microseconds, media


class StoredRecordings:
    """A chunk store and a key folder below one folder; `settings` are what finds them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key_dir = folder / "keys"
        self.ring = KeyFiles.create_or_open(self.key_dir)

    @property
    def settings(self) -> Settings:
        return Settings(
            recording=RecordingSettings(chunk_store=str(self.folder / "recordings")),
            encryption=EncryptionSettings(key_dir=self.key_dir),
        )

    def playback(self, store: ChunkStore, *, monotonic: Callable[[], float] = time.monotonic) -> Playback:
        """A playback over another way to the same recordings."""
        return Playback(store, self.open_keys, exports=self.exports(store), monotonic=monotonic)

    def exports(
        self, store: ChunkStore, *, budget_bytes: int = 2**30, now: Callable[[], float] = time.time
    ) -> Exports:
        """Exports of the same recordings."""
        return Exports(store, self.open_keys, self.export_dir, budget_bytes=budget_bytes, now=now)

    def open_keys(self) -> KeyFiles:
        """Read the keys that are there."""
        return KeyFiles.open(self.key_dir)

    @property
    def chunks(self) -> DirChunkStore:
        """The store, to be written to as a recorder does."""
        return DirChunkStore(self.folder / "recordings")

    @property
    def export_dir(self) -> Path:
        return self.folder / "exports"

    def path(self, name: str, recording_id: RecordingId = RECORDING) -> Path:
        """Where a file of a recording lies."""
        return self.folder / "recordings" / recording_id / name

    def write(
        self,
        *attempts: Attempt,
        recording_id: RecordingId = RECORDING,
        apart_us: int = 10_000_000,
        is_complete: bool = True,
    ) -> None:
        """Write a recording; its attempts begin ``apart_us`` after each other.

        It is made in memory first: what is durable is not what these tests are about, and fsync takes time.
        """
        store, closes = MemoryChunkStore(), []
        for number, tracks in enumerate(attempts):
            writer = open_writer(
                store,
                self.ring,
                recording_id=recording_id,
                attempt=number + 1,
                wall_start_us=WALL_START_US + number * apart_us,
            )
            write_media(writer, tracks)
            if is_complete:
                closes.append(writer.close())
            else:
                writer.checkpoint()
        if is_complete:
            complete(store, self.ring, *closes, recording_id=recording_id)
        shutil.rmtree(self.path("", recording_id), ignore_errors=True)  # what it was before
        for name, data in store.recordings[recording_id].items():
            path = self.path(name, recording_id)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def flip(self, name: str, at: int, recording_id: RecordingId = RECORDING) -> None:
        """Flip one bit of a file."""
        path = self.path(name, recording_id)
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        path.write_bytes(data)


class CountingStore(DirChunkStore):
    """A chunk store that counts the chunks that are read as a whole, by name, and waits before each read."""

    def __init__(self, root: Path, *, before_read: Callable[[str], None] = lambda name: None) -> None:
        super().__init__(root)
        self.read_names: Counter[str] = Counter()
        self.before_read = before_read

    def files(self, recording_id: RecordingId) -> RecordingFiles:
        return _CountingFiles(super().files(recording_id), self)

    @property
    def chunks_read(self) -> int:
        return sum(count for name, count in self.read_names.items() if "chunk-" in os.path.basename(name))


class _CountingFiles:
    def __init__(self, files: RecordingFiles, store: CountingStore) -> None:
        self._files, self._store = files, store

    def list_files(self) -> list[StoredFile]:
        return self._files.list_files()

    def read(self, name: str, *, max_bytes: int) -> bytes:
        self._store.before_read(name)
        self._store.read_names[name] += 1
        return self._files.read(name, max_bytes=max_bytes)

    def read_start(self, name: str, *, length: int) -> bytes:
        return self._files.read_start(name, length=length)
