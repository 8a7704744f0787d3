"""A chunk store in memory that can be made to fail; it passes the suite of the port."""

from __future__ import annotations

import threading
from collections.abc import Callable

from vault.core.ids import RecordingId
from vault.core.layout import check_file_name
from vault.errors import ChunkExistsError, FileMissingError, FormatError, StoreFullError
from vault.ports import RecordingFiles, StoredFile


class MemoryRecording:
    """The files of one recording, as a dict from name to bytes that tests may change."""

    def __init__(self, stored: dict[str, bytes]) -> None:
        self.stored = stored

    def list_files(self) -> list[StoredFile]:
        return [StoredFile(name, len(data)) for name, data in sorted(self.stored.items())]

    def read(self, name: str, *, max_bytes: int) -> bytes:
        if check_file_name(name) not in self.stored:
            raise FileMissingError(f"{name} is missing")
        if len(self.stored[name]) > max_bytes:
            raise FormatError(f"it has {len(self.stored[name])} bytes, at most {max_bytes} are allowed here")
        return self.stored[name]

    def read_start(self, name: str, *, length: int) -> bytes:
        return self.read(name, max_bytes=2**40)[:length]


class MemoryHeldSpace:
    """Space that a fake store keeps aside."""

    def __init__(self, store: MemoryChunkStore, size_bytes: int) -> None:
        self._store, self._size_bytes = store, size_bytes

    def release(self) -> None:
        self._store.free_bytes += self._size_bytes
        self._size_bytes = 0


class MemoryChunkStore:
    """A ChunkStore that keeps everything in ``recordings``, as long as there are ``free_bytes``.

    ``before_put`` is called with each name before a put and may raise, as a store that fails would.
    """

    def __init__(self) -> None:
        self.recordings: dict[RecordingId, dict[str, bytes]] = {}
        self.free_bytes = 1 << 40
        self._counting = threading.Lock()
        self.before_put: Callable[[str], None] = lambda name: None

    def check(self) -> None:
        """It can always be used."""

    def put(self, recording_id: RecordingId, name: str, data: bytes) -> None:
        self.before_put(check_file_name(name))
        stored = self.recordings.setdefault(recording_id, {})
        if name in stored:
            if stored[name] != data:
                raise ChunkExistsError(f"{name} is stored already with other bytes")
            return
        with self._counting:
            if self.free_bytes < len(data):
                raise StoreFullError("no space left in memory")
            if stored.setdefault(name, data) != data:
                raise ChunkExistsError(f"{name} is stored already with other bytes")
            self.free_bytes -= len(data)

    def hold_space(self, size_bytes: int) -> MemoryHeldSpace:
        with self._counting:
            if self.free_bytes < size_bytes:
                raise StoreFullError(f"fewer than {size_bytes} bytes are left in memory")
            self.free_bytes -= size_bytes
        return MemoryHeldSpace(self, size_bytes)

    def delete(self, recording_id: RecordingId, name: str) -> None:
        self.free_bytes += len(self.recordings.get(recording_id, {}).pop(name, b""))

    def files(self, recording_id: RecordingId) -> RecordingFiles:
        return MemoryRecording(self.recordings.get(recording_id, {}))

    def list_recordings(self) -> list[RecordingId]:
        return sorted(recording for recording, stored in self.recordings.items() if stored)
