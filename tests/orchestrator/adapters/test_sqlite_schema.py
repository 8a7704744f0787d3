"""How a file becomes a store: made with its mode, recognised, locked, and refused with one sentence."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from orchestrator.adapters.sqlite_schema import FileLock, connect, make_folder, prepare
from orchestrator.core.errors import SettingsError
from tests.fakes.clock import START, FakeClock


def test_a_new_file_is_made_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    kept = os.umask(0)
    try:
        database = connect(path, is_writer=True)
        prepare(database, path, FakeClock())
        FileLock(path).release()
    finally:
        os.umask(kept)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    database.close()
    assert modes == dict.fromkeys(["store.db", "store.db-wal", "store.db-shm", "store.db.lock"], 0o600)


def test_the_writer_is_durable_and_the_reader_reads_only(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    writer = connect(path, is_writer=True)
    prepare(writer, path, FakeClock())
    assert writer.pragma("journal_mode") == "wal"
    assert writer.pragma("synchronous") == 2  # FULL
    reader = connect(path, is_writer=False)
    with pytest.raises(apsw.ReadOnlyError):
        reader.execute("DELETE FROM sessions")
    reader.close()
    writer.close()


def test_a_file_keeps_its_generation_and_deployment(tmp_path: Path) -> None:
    path, clock = tmp_path / "store.db", FakeClock()
    database = connect(path, is_writer=True)
    made = prepare(database, path, clock)
    database.close()
    clock.advance(100)
    database = connect(path, is_writer=True)
    assert prepare(database, path, clock) == made
    database.close()
    assert made[0] == int(START.timestamp())


def test_another_programs_file_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    theirs = apsw.Connection(str(path))
    theirs.execute("CREATE TABLE notes (text)")
    theirs.close()
    before = path.read_bytes()
    with pytest.raises(SettingsError, match=r"notes\.db is a SQLite file of another program"):
        connect(path, is_writer=True)
    assert path.read_bytes() == before


def test_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    script = (
        "import sys; from pathlib import Path; from orchestrator.adapters.sqlite_schema import FileLock;"
        f"lock = FileLock(Path({str(path)!r})); print('locked', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", script], stdin=-1, stdout=-1)
    assert other.stdin is not None
    assert other.stdout is not None
    try:
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(SettingsError, match=f"in use by process {other.pid}; end that one"):
            FileLock(path)
    finally:
        other.kill()
        other.communicate(timeout=10)
    FileLock(path).release()  # the lock of a killed process is free


def test_folders_are_made(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()
    make_folder(tmp_path / "a" / "b" / "c")
