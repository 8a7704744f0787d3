"""Recordings in a directory: one folder per recording, files that appear whole or not at all.

A file is written under a temporary name, fsynced, given its name by a hard link (which fails where a file
stands already, as a rename would not), and its directory is fsynced. Source: docs/RECORDING.md §3, §8.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vault.adapters.durable_files import (
    create_durably,
    destroy_durably,
    make_directories,
    sync_directory,
    sync_file,
)
from vault.adapters.held_space import HeldFile
from vault.core.ids import RecordingId, is_recording_id, parse_recording_id
from vault.core.layout import check_file_name, may_hold_key
from vault.errors import (
    ChunkExistsError,
    FileMissingError,
    FormatError,
    StoreError,
    StoreFullError,
    StoreSetupError,
)
from vault.ports import RecordingFiles, StoredFile

_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EXDEV}


class DirChunkStore:
    """A ChunkStore on a directory of a file system with hard links."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def check(self) -> None:
        """Make the folder when it is not there; see `ChunkStore.check`."""
        try:
            make_directories(self._root)
            if not self._root.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise StoreSetupError(
                f"{self._root} cannot be written ({reason}); name another folder"
            ) from error

    def put(self, recording_id: RecordingId, name: str, data: bytes) -> None:
        """Store one file durably; see `ChunkStore.put`."""
        path = self._place(recording_id, name)
        try:
            create_durably(path, data)
        except FileExistsError:
            self._accept_repeat(path, name, data)
        except OSError as error:
            raise _store_error(error, path) from error

    def hold_space(self, size_bytes: int) -> HeldFile:
        """Keep space aside on the folder's file system; see `ChunkStore.hold_space`."""
        try:
            make_directories(self._root)
            return HeldFile(self._root, size_bytes)
        except OSError as error:
            if isinstance(full := _store_error(error, self._root), StoreFullError):
                raise StoreFullError(f"fewer than {size_bytes} bytes are left in {self._root}") from error
            raise full from error

    def delete(self, recording_id: RecordingId, name: str) -> None:
        """Remove one file; see `ChunkStore.delete`. One that may hold a wrapped key is overwritten first."""
        path = self._place(recording_id, name)
        try:
            if may_hold_key(name) and path.is_file() and not path.is_symlink():
                destroy_durably(path)
                return
            path.unlink(missing_ok=True)
            if path.parent.is_dir():
                sync_directory(path.parent)
        except OSError as error:
            raise _store_error(error, path) from error

    def files(self, recording_id: RecordingId) -> RecordingFiles:
        """The files of one recording; see `ChunkStore.files`."""
        return DirRecording(self._root / parse_recording_id(recording_id))

    def list_recordings(self) -> list[RecordingId]:
        """Every folder that is named like a recording; see `ChunkStore.list_recordings`."""
        try:
            with os.scandir(self._root) as entries:
                names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _store_error(error, self._root) from error
        return sorted(RecordingId(name) for name in names if is_recording_id(name))

    def _place(self, recording_id: RecordingId, name: str) -> Path:
        return self._root / parse_recording_id(recording_id) / check_file_name(name)

    def _accept_repeat(self, path: Path, name: str, data: bytes) -> None:
        try:
            stored = _read_file(path, max_bytes=len(data))
            if stored == data:
                # The earlier put may have been cut short before its own fsync of the directory.
                sync_file(path)
                sync_directory(path.parent)
                return
        except FormatError:
            pass  # larger, or no plain file: other bytes
        except OSError as error:
            raise _store_error(error, path) from error
        raise ChunkExistsError(f"{name} is stored already with other bytes, in {path.parent}")


class DirRecording:
    """The files of one recording in a folder of any name. Links are never followed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def list_files(self) -> list[StoredFile]:
        """Every entry below the folder; see `RecordingFiles.list_files`."""
        try:
            return sorted(_walk(self._path, ""), key=lambda file: file.name)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _store_error(error, self._path) from error

    def read(self, name: str, *, max_bytes: int) -> bytes:
        """The whole of one file; see `RecordingFiles.read`."""
        return self._read(name, lambda path: _read_file(path, max_bytes=max_bytes))

    def read_start(self, name: str, *, length: int) -> bytes:
        """The beginning of one file; see `RecordingFiles.read_start`."""
        return self._read(name, lambda path: _read_start(path, length=length))

    def _read(self, name: str, read: Callable[[Path], bytes]) -> bytes:
        path = self._path / check_file_name(name)
        try:
            return read(path)
        except (FileNotFoundError, NotADirectoryError):
            raise FileMissingError(f"{name} is missing in {self._path}") from None
        except OSError as error:
            raise _store_error(error, path) from error


def _walk(folder: Path, prefix: str) -> Iterator[StoredFile]:
    # A folder is not an entry: an empty one, as a put that was cut short leaves it, holds nothing.
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(folder / entry.name, f"{prefix}{entry.name}/")
        elif entry.is_file(follow_symlinks=False):
            yield StoredFile(prefix + entry.name, entry.stat(follow_symlinks=False).st_size)
        else:
            yield StoredFile(prefix + entry.name, None)


def _read_file(path: Path, *, max_bytes: int) -> bytes:
    with _opened(path) as (descriptor, size):
        if size > max_bytes:
            raise FormatError(f"it has {size} bytes, at most {max_bytes} are allowed here")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(max_bytes)


def _read_start(path: Path, *, length: int) -> bytes:
    with _opened(path) as (descriptor, _):
        return os.pread(descriptor, length, 0)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[int, int]]:
    """Open a plain file; gives its descriptor and size."""
    try:
        # O_NONBLOCK: a pipe that stands here must not make a verifier wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise FormatError("it is not a plain file") from None
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise FormatError("it is not a plain file")
        yield descriptor, status.st_size
    finally:
        os.close(descriptor)


def _store_error(error: OSError, path: Path) -> StoreError:
    reason = error.strerror or type(error).__name__
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFullError(f"no space left for {path}")
    if error.errno in _NO_LINKS:
        return StoreError(f"{path}: {reason}; the chunk store needs a file system with hard links")
    return StoreError(f"{path} cannot be read or written: {reason}")
