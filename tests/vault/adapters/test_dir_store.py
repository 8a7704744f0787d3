"""Recordings in a directory, and what a directory can hold that no recorder wrote."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.fakes.recordings import RECORDING
from vault.adapters.dir_store import DirChunkStore, DirRecording
from vault.errors import ChunkExistsError, FormatError, StoreError, StoreFullError
from vault.ports import StoredFile

NAME = "1/chunk-0000000000"


@pytest.fixture
def store(tmp_path: Path) -> DirChunkStore:
    return DirChunkStore(tmp_path)


def fail_link(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def link(source: Path, target: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", link)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_space_left_is_said_so(store: DirChunkStore, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    fail_link(monkeypatch, number)
    with pytest.raises(StoreFullError, match="no space left"):
        store.put(RECORDING, NAME, b"sealed")
    monkeypatch.undo()
    assert store.files(RECORDING).list_files() == []
    store.put(RECORDING, NAME, b"sealed")


def test_a_failing_disk_is_worth_another_try(store: DirChunkStore, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_link(monkeypatch, errno.EIO)
    with pytest.raises(StoreError) as caught:
        store.put(RECORDING, NAME, b"sealed")
    assert not isinstance(caught.value, StoreFullError)
    monkeypatch.undo()
    store.put(RECORDING, NAME, b"sealed")
    assert store.files(RECORDING).list_files() == [StoredFile(NAME, 6)]


def test_a_file_system_without_hard_links_is_named(
    store: DirChunkStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_link(monkeypatch, errno.EPERM)
    with pytest.raises(StoreError, match="needs a file system with hard links"):
        store.put(RECORDING, NAME, b"sealed")


def test_a_place_taken_by_no_plain_file_is_refused(store: DirChunkStore, tmp_path: Path) -> None:
    place = tmp_path / RECORDING / NAME
    place.parent.mkdir(parents=True)
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ChunkExistsError):
        store.put(RECORDING, NAME, b"sealed")
    assert not (tmp_path / "elsewhere").exists()


def test_links_and_pipes_are_listed_as_no_files_and_never_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"elsewhere")
    folder = tmp_path / "recording"
    (folder / "1").mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "1" / "folder-link").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    (folder / "file").write_bytes(b"12")
    files = DirRecording(folder)
    assert files.list_files() == [
        StoredFile("1/folder-link", None),
        StoredFile("file", 2),
        StoredFile("link", None),
        StoredFile("pipe", None),
    ]
    for name in ("link", "pipe", "1"):
        with pytest.raises(FormatError, match="not a plain file"):
            files.read(name, max_bytes=100)


def test_an_empty_folder_is_no_entry(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    assert DirRecording(tmp_path).list_files() == []
