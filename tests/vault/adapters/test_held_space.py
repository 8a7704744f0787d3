"""Space on a file system, kept by a file without a name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vault.adapters.dir_store import DirChunkStore
from vault.adapters.held_space import HeldFile
from vault.errors import StoreFullError


def free_bytes(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def test_it_takes_no_name_and_is_given_back(tmp_path: Path) -> None:
    held = HeldFile(tmp_path, 1 << 20)
    assert list(tmp_path.iterdir()) == []
    descriptors = os.listdir("/proc/self/fd")
    held.release()
    held.release()
    assert len(os.listdir("/proc/self/fd")) < len(descriptors)


def test_more_than_there_is_cannot_be_held(tmp_path: Path) -> None:
    with pytest.raises(StoreFullError, match="bytes are left in"):
        DirChunkStore(tmp_path / "recordings").hold_space(free_bytes(tmp_path) + (1 << 40))
    assert list((tmp_path / "recordings").iterdir()) == []
