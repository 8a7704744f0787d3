"""Space that is kept aside on a file system: a file without a name, with its blocks.

The kernel frees it when the process ends, however it ends, so nothing is ever left over.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import IO


class HeldFile:
    """Keeps ``size_bytes`` of the file system that ``folder`` is on.

    Raises:
        OSError: there is not so much left, or the file system refused.
    """

    def __init__(self, folder: Path, size_bytes: int) -> None:
        # O_TMPFILE where the file system has it, else a file that is unlinked at once.
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - held
        try:
            os.posix_fallocate(self._file.fileno(), 0, size_bytes)
        except OSError:
            self._file.close()
            raise

    def release(self) -> None:
        """Give it back; see `HeldSpace.release`."""
        self._file.close()


class NothingHeld:
    """Where there is nothing to be kept."""

    def release(self) -> None:
        """Do nothing."""
