"""A small file system in memory, for tests that fill a disk; mounting one needs the right to."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest


@asynccontextmanager
async def mounted_disk(folder: Path, mebibytes: int) -> AsyncIterator[Path]:
    """Mount it on a new folder; the test is skipped where nobody may mount."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
    try:
        await asyncio.to_thread(subprocess.run, mount, capture_output=True, check=True, timeout=10)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("this machine cannot: it gives no right to mount a file system")
    try:
        yield folder
    finally:
        # Lazily: what a failed test left open holds the disk no longer than its process.
        await asyncio.to_thread(subprocess.run, ["umount", "-l", str(folder)], check=True, timeout=10)
