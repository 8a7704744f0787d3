"""A chunk store in memory that can be made to fail; it passes the suite of the port."""

from __future__ import annotations

from collections.abc import Callable

from vault.core.ids import RecordingId
from vault.core.layout import check_file_name
from vault.errors import ChunkExistsError, FileMissingError, FormatError
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


class MemoryChunkStore:
    """A ChunkStore that keeps everything in ``recordings``.

    ``before_put`` is called with each name before a put and may raise, as a store that fails would.
    """

    def __init__(self) -> None:
        self.recordings: dict[RecordingId, dict[str, bytes]] = {}
        self.before_put: Callable[[str], None] = lambda name: None

    def check(self) -> None:
        """It can always be used."""

    def put(self, recording_id: RecordingId, name: str, data: bytes) -> None:
        self.before_put(check_file_name(name))
        if self.recordings.setdefault(recording_id, {}).setdefault(name, data) != data:
            raise ChunkExistsError(f"{name} is stored already with other bytes")

    def delete(self, recording_id: RecordingId, name: str) -> None:
        self.recordings.get(recording_id, {}).pop(name, None)

    def files(self, recording_id: RecordingId) -> RecordingFiles:
        return MemoryRecording(self.recordings.get(recording_id, {}))

    def list_recordings(self) -> list[RecordingId]:
        return sorted(recording for recording, stored in self.recordings.items() if stored)
