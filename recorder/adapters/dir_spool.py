"""The spool in a folder: a chunk store of its own, within a budget, and a lock for each attempt.

The lock is the kernel's, so what a recorder that was killed left is free at once, and what a frozen one
holds is not. Each recording has an equal share of the budget: none can take what another may need.

Source: recording.md §3; docs/RECORDER.md (when the store does not answer).
"""

from __future__ import annotations

import fcntl
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from recorder.ports import SpoolShare
from vault.adapters.dir_store import DirChunkStore
from vault.adapters.durable_files import make_directories
from vault.core.ids import RecordingId, is_recording_id
from vault.core.sealing import MAX_CHUNK_BYTES
from vault.errors import FormatError, StoreError, StoreFullError, StoreSetupError

_LOCKS: Final = ".locks"


class DirSpool:
    """A `Spool` below one folder; several recorders of a machine may share it.

    Args:
        path: the folder; made when it is not there.
        budget_bytes: all recordings of this process together.
        recordings: at most at the same time; each may use its part of the budget.

    Raises:
        StoreSetupError: the folder cannot be written.
    """

    def __init__(self, path: Path, *, budget_bytes: int, recordings: int) -> None:
        self.store = DirChunkStore(path)
        self._path, self._budget_bytes = path, budget_bytes
        self.share_bytes = budget_bytes // recordings
        self._lock = threading.Lock()
        self._used: dict[tuple[RecordingId, int], int] = {}
        self.store.check()
        try:
            make_directories(path / _LOCKS)
        except OSError as error:
            raise StoreSetupError(f"{path} cannot be written ({error.strerror}); name another") from error
        for recording_id, attempt in self.left_behind():
            self._used[recording_id, attempt] = sum(self._sizes(recording_id, attempt).values())

    def claim(self, recording_id: RecordingId, attempt: int) -> SpoolShare | None:
        """Take the share of one attempt; see `Spool.claim`."""
        path = self._path / _LOCKS / f"{recording_id}.{attempt}"
        try:
            descriptor = _lock(path)
        except OSError as error:
            raise StoreError(f"{path} cannot be locked: {error.strerror}") from error
        return None if descriptor is None else _DirShare(self, recording_id, attempt, path, descriptor)

    def left_behind(self) -> list[tuple[RecordingId, int]]:
        """The attempts that have files here; see `Spool.left_behind`."""
        try:
            return sorted(
                (RecordingId(folder.name), int(attempt.name))
                for folder in self._path.iterdir()
                if is_recording_id(folder.name)
                for attempt in folder.iterdir()
                if attempt.name.isascii() and attempt.name.isdigit()
            )
        except FileNotFoundError:  # somebody has just cleared one away
            return self.left_behind()
        except OSError as error:
            raise StoreError(f"{self._path} cannot be read: {error.strerror}") from error

    def _sizes(self, recording_id: RecordingId, attempt: int) -> dict[str, int]:
        files = self.store.files(recording_id).list_files()
        return {file.name: file.size_bytes or 0 for file in files if file.name.startswith(f"{attempt}/")}

    def _take(self, place: tuple[RecordingId, int], count: int) -> bool:
        with self._lock:
            used = self._used.get(place, 0) + count
            if used > self.share_bytes or sum(self._used.values()) + count > self._budget_bytes:
                return False
            self._used[place] = used
            return True

    def _give(self, place: tuple[RecordingId, int], count: int) -> None:
        with self._lock:
            self._used[place] = max(0, self._used.get(place, 0) - count)

    def _forget(self, place: tuple[RecordingId, int]) -> None:
        with self._lock:
            self._used.pop(place, None)

    def _clear(self, recording_id: RecordingId, attempt: int) -> None:
        for folder in (self._path / recording_id / str(attempt), self._path / recording_id):
            with suppress(OSError):  # not empty, or not there
                folder.rmdir()


class _DirShare:
    """One attempt's files, held by its lock."""

    def __init__(
        self, spool: DirSpool, recording_id: RecordingId, attempt: int, lock: Path, descriptor: int
    ) -> None:
        self._spool, self._lock, self._descriptor = spool, lock, descriptor
        self._recording_id, self._attempt = recording_id, attempt
        self._sizes = spool._sizes(recording_id, attempt)

    def keep(self, name: str, data: bytes) -> bool:
        """Store one file; see `SpoolShare.keep`."""
        place = (self._recording_id, self._attempt)
        if not self._spool._take(place, len(data)):
            return False
        try:
            self._spool.store.put(self._recording_id, name, data)
        except StoreFullError:
            self._spool._give(place, len(data))
            return False
        except StoreError:
            self._spool._give(place, len(data))
            raise
        self._sizes[name] = len(data)
        return True

    def read(self, name: str) -> bytes:
        """The whole of one file; see `SpoolShare.read`."""
        try:
            return self._spool.store.files(self._recording_id).read(name, max_bytes=MAX_CHUNK_BYTES)
        except FormatError as error:
            raise StoreError(f"{name} in the spool is none of ours: {error}") from error

    def drop(self, name: str) -> None:
        """Remove one file; see `SpoolShare.drop`."""
        self._spool.store.delete(self._recording_id, name)
        self._spool._give((self._recording_id, self._attempt), self._sizes.pop(name, 0))

    def names(self) -> list[str]:
        """Every file; see `SpoolShare.names`."""
        return sorted(self._spool._sizes(self._recording_id, self._attempt))

    def release(self) -> None:
        """Let others have it; see `SpoolShare.release`."""
        self._spool._clear(self._recording_id, self._attempt)
        if not self._sizes:
            self._spool._forget((self._recording_id, self._attempt))
            with suppress(OSError):
                self._lock.unlink()
        os.close(self._descriptor)


def _lock(path: Path) -> int | None:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its holder may have removed it between our opening and our locking: then it guards nothing.
            if path.exists() and os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except FileNotFoundError:
            pass
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)
