"""Files that appear whole or not at all and survive a power cut: what the adapters here write with.

Source: docs/RECORDING.md §8.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from vault.core.layout import TEMPORARY_SUFFIX


def create_durably(path: Path, data: bytes) -> None:
    """Make a file that was not there, for its owner only; its directories are made when missing.

    The name is given by a hard link, which fails where a file stands already; a rename would replace it.

    Raises:
        FileExistsError: there is a file of this name.
        OSError: the file system refused.
    """
    make_directories(path.parent)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")
    try:
        _write_new(temporary, data)
        os.link(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
    sync_directory(path.parent)


def replace_durably(path: Path, data: bytes) -> None:
    """Give a small file new bytes, for its owner only: there are always the old ones or the new ones.

    Raises:
        OSError: the file system refused.
    """
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")
    try:
        _write_new(temporary, data)
        os.replace(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
    sync_directory(path.parent)


def destroy_durably(path: Path) -> None:
    """Remove a file after its bytes are overwritten; one that is not there is no error.

    It first takes a temporary name, so that a file that was cut short never stands under its own. On a disk
    or file system that writes elsewhere than it is told (SSD, copy on write, snapshots) old bytes may stay.

    Raises:
        OSError: the file system refused.
    """
    temporary = path
    if not path.name.endswith(TEMPORARY_SUFFIX):
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")
        try:
            os.rename(path, temporary)
        except FileNotFoundError:
            return
        sync_directory(path.parent)
    with suppress(FileNotFoundError):
        # A put that was cut short leaves one file under two names: its temporary one goes alone.
        if temporary != path or os.lstat(temporary).st_nlink == 1:
            _overwrite(temporary)
        os.unlink(temporary)
    sync_directory(path.parent)


def make_directories(path: Path) -> None:
    """Make ``path`` and the directories above it that are missing, each name made durable."""
    missing: list[Path] = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        with suppress(FileExistsError):  # another thread was faster; the name is made durable all the same
            directory.mkdir(mode=0o700)
        sync_directory(directory.parent)


def sync_file(path: Path) -> None:
    """Make a file's bytes durable."""
    _sync(path, os.O_RDONLY | os.O_CLOEXEC)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _write_new(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb", buffering=0) as file:
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]
        os.fsync(descriptor)


def _overwrite(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "wb", buffering=0) as file:
        view = memoryview(bytes(os.fstat(descriptor).st_size))
        while view:
            view = view[file.write(view) :]
        os.fsync(descriptor)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
