"""A file is made whole under its name or not at all, for its owner only."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from vault.adapters import durable_files
from vault.adapters.durable_files import create_durably, destroy_durably, make_directories


def test_the_file_is_whole_and_private_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    create_durably(path, b"data" * 100_000)
    assert path.read_bytes() == b"data" * 100_000
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert os.listdir(path.parent) == ["file"]
    assert path.stat().st_nlink == 1


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"first")
    with pytest.raises(FileExistsError):
        create_durably(path, b"second")
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["file"]


def test_the_order_is_bytes_name_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, link = os.fsync, os.link

    def spy_fsync(descriptor: int) -> None:
        calls.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "bytes")
        fsync(descriptor)

    def spy_link(source: Path, target: Path) -> None:
        calls.append("name")
        link(source, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "link", spy_link)
    create_durably(tmp_path / "file", b"data")
    assert calls == ["bytes", "name", "directory"]


def test_each_new_directory_is_made_durable_in_the_one_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(durable_files, "sync_directory", synced.append)
    make_directories(tmp_path / "a" / "b")
    assert synced == [tmp_path, tmp_path / "a"]


def test_a_destroyed_file_is_overwritten_under_a_temporary_name(tmp_path: Path) -> None:
    path, other = tmp_path / "file", tmp_path / "other name"
    path.write_bytes(b"secret")
    other.hardlink_to(path)
    destroy_durably(path)
    assert other.read_bytes() == bytes(6)
    assert os.listdir(tmp_path) == ["other name"]
    destroy_durably(path)  # a repeat is no error


def test_a_destruction_that_was_cut_short_leaves_the_name_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"secret")

    def die(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(durable_files, "_overwrite", die)
    with pytest.raises(KeyboardInterrupt):
        destroy_durably(path)
    monkeypatch.undo()
    (left,) = os.listdir(tmp_path)
    assert left.startswith("file.")
    assert left.endswith(".tmp")
    destroy_durably(tmp_path / left)
    assert os.listdir(tmp_path) == []


def test_what_a_link_leads_to_is_not_overwritten(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link.tmp"
    target.write_bytes(b"kept")
    link.symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        destroy_durably(link)
    assert target.read_bytes() == b"kept"


def test_what_a_put_that_was_cut_short_left_is_removed_without_the_file_it_became(tmp_path: Path) -> None:
    create_durably(tmp_path / "key-record", b"wrapped")
    os.link(tmp_path / "key-record", tmp_path / "key-record.00.tmp")  # killed before it was unlinked
    destroy_durably(tmp_path / "key-record.00.tmp")
    assert (tmp_path / "key-record").read_bytes() == b"wrapped"
