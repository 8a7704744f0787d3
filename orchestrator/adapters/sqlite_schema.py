"""The tables of the SQLite store, and how a file becomes one: made, recognised, locked, refused."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

import apsw

from orchestrator.adapters import sqlite_catalog, sqlite_request_keys, sqlite_webhooks
from orchestrator.core.errors import SettingsError
from orchestrator.ports import Clock

SCHEMA: Final = 3  # of the tables; a file with a higher number is refused
APPLICATION_ID: Final = 0x47526E6D  # "GRnm", in the file's header: it is a store of ours
WAL_PAGES: Final = 8000  # between checkpoints, which own the tail of the commit times
CACHE_KIB: Final = 32 * 1024
BUSY_MS: Final = 2000  # a backup or an inspection may hold the file this long

# Rowids are integers that grow with time and indexes are few and partial: a commit touches few pages.
# Moments are microseconds since 1970 UTC; `available_at` ends a claim, or the pause after a failure.
_TABLES: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY,
    session_id TEXT NOT NULL UNIQUE,
    version INTEGER NOT NULL,
    room_name TEXT NOT NULL,
    is_name_held INTEGER NOT NULL,
    is_open INTEGER NOT NULL,
    next_due INTEGER,
    record BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX sessions_held_name ON sessions (room_name) WHERE is_name_held = 1;
CREATE INDEX sessions_open ON sessions (id) WHERE is_open = 1;
CREATE INDEX sessions_due ON sessions (next_due) WHERE next_due IS NOT NULL;
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    session INTEGER,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    schema_version INTEGER NOT NULL,
    name TEXT NOT NULL,
    data BLOB NOT NULL
) STRICT;
CREATE INDEX events_session ON events (session) WHERE session IS NOT NULL;
CREATE TABLE commands (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    available_at INTEGER NOT NULL,
    owner TEXT NOT NULL,
    record BLOB NOT NULL
) STRICT;
CREATE INDEX commands_available ON commands (available_at);
CREATE TABLE workers (
    id INTEGER PRIMARY KEY,
    worker_id TEXT NOT NULL UNIQUE,
    record BLOB NOT NULL
) STRICT;
"""
_SINCE_2: Final = sqlite_request_keys.TABLE + sqlite_webhooks.TABLES
_SINCE_3: Final = sqlite_catalog.TABLE


class FileLock:
    """Holds `<file>.lock`, so that one process at a time has the store."""

    def __init__(self, path: Path) -> None:
        """Take the lock.

        Raises:
            SettingsError: another process has it.
        """
        self._descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            raise SettingsError(
                f"store.url: {path} is in use by process {pid}; end that one or choose another file"
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """Let go. The file stays: removing it would let two processes lock two files of one name."""
        os.close(self._descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it so that they survive a power cut."""
    missing = [part for part in (folder, *folder.parents) if not part.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in reversed(missing):
        descriptor = os.open(made.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def connect(path: Path, *, is_writer: bool) -> apsw.Connection:
    """Open a connection with the settings on which durability rests.

    Raises:
        SettingsError: the file is another program's, or cannot use a write-ahead log.
    """
    if is_writer:
        # Made here and not by SQLite, for the mode; the log and its index take it over.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    database = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    database.set_busy_timeout(BUSY_MS)
    if not is_writer:
        database.pragma("query_only", True)
        return database
    is_empty = not database.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
    if not is_empty and database.pragma("application_id") != APPLICATION_ID:
        raise SettingsError(f"store.url: {path} is a SQLite file of another program; choose another file")
    mode = database.pragma("journal_mode", "wal")
    if mode != "wal":
        raise SettingsError(f"store.url: {path} cannot use a write-ahead log there (mode {mode}); use a disk")
    database.pragma("synchronous", "FULL")
    database.pragma("cache_size", -CACHE_KIB)
    database.wal_autocheckpoint(WAL_PAGES)
    return database


def prepare(database: apsw.Connection, path: Path, clock: Clock) -> tuple[int, str]:
    """Make the tables in an empty file, bring those of an older version up, refuse those of a newer one.

    Returns:
        Generation of the feed and id of the deployment.

    Raises:
        SettingsError: the file is of a newer version.
    """
    database.execute("BEGIN IMMEDIATE")
    try:
        if not database.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall():
            _make_tables(database, clock)
        meta: dict[str, str] = dict(database.execute("SELECT name, value FROM meta"))
        if int(meta["schema_version"]) > SCHEMA:
            raise SettingsError(
                f"store.url: {path} has schema version {meta['schema_version']} and this version of Greenroom"
                f" reads up to {SCHEMA}; start the newer version again"
            )
        if int(meta["schema_version"]) < SCHEMA:
            _bring_up(database, int(meta["schema_version"]))
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")
    return int(meta["generation"]), meta["deployment_id"]


def _bring_up(database: apsw.Connection, version: int) -> None:
    """Make a file of an earlier version one of this, in the transaction that is open."""
    if version < 2:
        database.execute(_SINCE_2)
    database.execute(_SINCE_3)
    database.execute("UPDATE meta SET value = ? WHERE name = 'schema_version'", (str(SCHEMA),))


def _make_tables(database: apsw.Connection, clock: Clock) -> None:
    database.pragma("application_id", APPLICATION_ID)
    database.execute(_TABLES + _SINCE_2 + _SINCE_3)
    meta = {
        "schema_version": str(SCHEMA),
        # Another one for every store that is made: positions of the last one do not fit this one.
        "generation": str(int(clock.now().timestamp())),
        "deployment_id": clock.new_id(),
    }
    database.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
