"""The store's statements: each finds its rows by an index, however many there are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from orchestrator.adapters import sqlite_rows as rows
from orchestrator.adapters.sqlite_schema import connect, prepare
from orchestrator.core.ids import InstanceId, SessionId
from tests.fakes.clock import FakeClock


@pytest.fixture
def database(tmp_path: Path) -> Iterator[apsw.Cursor]:
    connection = connect(tmp_path / "store.db", is_writer=True)
    prepare(connection, tmp_path / "store.db", FakeClock())
    yield connection.cursor()
    connection.close()


def _plans(database: apsw.Cursor) -> list[str]:
    """Collect the plan of every statement that runs from now on."""
    plans: list[str] = []
    connection = database.connection

    def explain(cursor: apsw.Cursor, statement: str, bindings: object) -> bool:
        if not statement.startswith(("BEGIN", "COMMIT", "EXPLAIN")):
            explaining = connection.cursor()
            explaining.exec_trace = None
            found = explaining.execute(f"EXPLAIN QUERY PLAN {statement}", bindings)  # type: ignore[arg-type]
            plans.extend(str(row[3]) for row in found)
        return True

    database.exec_trace = explain
    return plans


def test_what_is_asked_every_second_uses_an_index(database: apsw.Cursor) -> None:
    plans = _plans(database)
    rows.claim_commands(database, 9, owner=InstanceId("me"), now=1, lease=1, all_orphaned=False)
    rows.read_due_sessions(database, 9, now=1)
    rows.read_feed(database, 0, session_id=None, limit=9, generation=1)
    rows.read_feed(database, 0, session_id=SessionId("s1"), limit=9, generation=1)
    assert any("commands_available" in plan for plan in plans)
    assert any("sessions_due" in plan for plan in plans)
    assert any("events_session" in plan for plan in plans)
    assert not [plan for plan in plans if "TEMP B-TREE" in plan]
