"""A file of an earlier version is brought up in place, with all that is in it, or left as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import apsw
import msgspec
import pytest

from orchestrator.adapters import sqlite_request_keys, sqlite_webhooks
from orchestrator.adapters.session_json import encode_session
from orchestrator.adapters.sqlite_schema import APPLICATION_ID, SCHEMA, connect, prepare
from orchestrator.adapters.sqlite_store import SqliteSessionStore
from orchestrator.core.errors import SettingsError
from orchestrator.core.ids import InstanceId
from orchestrator.core.session import Session
from tests.contracts.session_changes import first_change, next_change
from tests.contracts.test_session_store_keys import key_of, keyed
from tests.fakes.clock import FakeClock

# The tables as version 1 made them; read for ever.
TABLES_1 = """
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
META_1 = {"schema_version": "1", "generation": "1700000000", "deployment_id": "d1"}


def record_of_1(session: Session) -> bytes:
    """Encode a session as version 1 did: without the fields that came later."""
    envelope = msgspec.json.decode(encode_session(session))
    del envelope["record"]["request_key"]
    return msgspec.json.encode(envelope)


def file_of_1(path: Path) -> None:
    """Make a store as version 1 left it: one session, and its event."""
    session = first_change().session
    database = apsw.Connection(str(path))
    database.pragma("journal_mode", "wal")
    database.pragma("application_id", APPLICATION_ID)
    database.execute(TABLES_1)
    database.executemany("INSERT INTO meta VALUES (?, ?)", META_1.items())
    database.execute(
        "INSERT INTO sessions VALUES (1, ?, 1, ?, 1, 1, NULL, ?)",
        (session.id, session.room_name, record_of_1(session)),
    )
    database.execute("INSERT INTO events VALUES (57, 1, 1, 1, 1, 'session_created', x'7b7d')")
    database.close()


def file_of_2(path: Path) -> None:
    """Make a store as version 2 left it: that of version 1, brought up."""
    file_of_1(path)
    database = apsw.Connection(str(path))
    database.execute(sqlite_request_keys.TABLE + sqlite_webhooks.TABLES)
    database.execute("UPDATE meta SET value = '2' WHERE name = 'schema_version'")
    database.close()


def version_of(path: Path) -> str:
    database = apsw.Connection(str(path))
    ((version,),) = database.execute("SELECT value FROM meta WHERE name = 'schema_version'").fetchall()
    database.close()
    return str(version)


@pytest.mark.parametrize("make", [file_of_1, file_of_2])
async def test_a_file_of_an_earlier_version_goes_on_with_all_that_is_in_it(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = tmp_path / "store.db"
    make(path)
    store = SqliteSessionStore(path, clock=FakeClock(), instance_id=InstanceId("me"))
    await store.open()
    session = await store.load(first_change().session.id)
    assert session == first_change().session
    assert await store.deployment_id() == "d1"
    page = await store.feed_after(0, session_id=None, limit=9)
    assert (page.generation, page.head_seq) == (1700000000, 57)
    await store.commit(next_change(session, "an event"))
    await store.commit(keyed(key_of(), "room-2", session_id="s2"))
    assert await store.bound_key(key_of().scope) is not None
    assert (await store.catalog.entries(limit=9)).total == 0
    await store.close()
    assert version_of(path) == str(SCHEMA)


def test_a_new_file_and_one_brought_up_have_the_same_tables(tmp_path: Path) -> None:
    file_of_1(tmp_path / "old.db")
    file_of_2(tmp_path / "older.db")
    shapes = []
    for name in ("old.db", "older.db", "new.db"):
        database = connect(tmp_path / name, is_writer=True)
        prepare(database, tmp_path / name, FakeClock())
        query = "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
        shapes.append(database.execute(query).fetchall())
        prepare(database, tmp_path / name, FakeClock())  # again: nothing is left to be brought up
        database.close()
    assert shapes[0] == shapes[1] == shapes[2]


@pytest.mark.parametrize(
    ("make", "table", "version"), [(file_of_1, "request_keys", "1"), (file_of_2, "recordings", "2")]
)
def test_a_file_that_cannot_be_brought_up_stays_as_it_was(
    tmp_path: Path, make: Callable[[Path], None], table: str, version: str
) -> None:
    path = tmp_path / "store.db"
    make(path)
    database = connect(path, is_writer=True)
    database.execute(f"CREATE TABLE {table} (of_somebody_else)")
    with pytest.raises(apsw.SQLError):
        prepare(database, path, FakeClock())
    assert not database.in_transaction
    database.close()
    assert version_of(path) == version


def test_a_version_that_is_to_come_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    database = connect(path, is_writer=True)
    prepare(database, path, FakeClock())
    database.execute("UPDATE meta SET value = ? WHERE name = 'schema_version'", (str(SCHEMA + 1),))
    words = f"schema version {SCHEMA + 1} and this version of Greenroom reads up to {SCHEMA}"
    with pytest.raises(SettingsError, match=words):
        prepare(database, path, FakeClock())
    assert not database.in_transaction
    database.close()
