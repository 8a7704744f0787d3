"""The folder that one Greenroom works in: made, checked and held, so that no second one writes there too."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from greenroom.errors import CommandError, FolderHeldError

LOCK_NAME: Final = ".greenroom.lock"


@contextmanager
def held_folder(path: Path) -> Iterator[Path]:
    """Make the folder when it is missing and hold it until the block ends; gives its absolute path.

    The kernel lets go of the lock when this process ends, however it ends; the number that stays in the file
    means nothing then. Children do not inherit the lock.

    Raises:
        CommandError: the folder cannot be made or written.
        FolderHeldError: another process holds it.
    """
    folder = path.resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "logs").mkdir(exist_ok=True)
        descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise CommandError(
            f"the data folder {folder} cannot be written ({error.strerror}); name another: --data DIR"
        ) from error
    with os.fdopen(descriptor, "r+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = lock.read().strip() or "another"
            raise FolderHeldError(
                f"the data folder {folder} is held by process {holder}; end it, or name another: --data DIR"
            ) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        try:
            yield folder
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)  # closing is not enough while a child is between fork and exec


def holder_of(path: Path) -> str | None:
    """Tell which process holds the folder, without making or changing anything; None when nobody does."""
    try:
        with (path / LOCK_NAME).open(encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(lock, fcntl.LOCK_UN)
    except BlockingIOError:
        return (path / LOCK_NAME).read_text(encoding="utf-8").strip() or "unknown"
    except OSError:
        return None
    return None
