"""Changes that are written together: each is checked for itself, few statements, no scan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from orchestrator.adapters.sqlite_commits import Outcome, commit_changes, prepare_change
from orchestrator.adapters.sqlite_schema import connect, prepare
from orchestrator.core.errors import FencedError, RoomNameTakenError, VersionConflictError
from orchestrator.core.ids import InstanceId
from orchestrator.ports import Change
from tests.contracts.session_changes import first_change, next_change
from tests.fakes.clock import FakeClock

ME = InstanceId("me")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[apsw.Cursor]:
    connection = connect(tmp_path / "store.db", is_writer=True)
    prepare(connection, tmp_path / "store.db", FakeClock())
    yield connection.cursor()
    connection.close()


def commit(database: apsw.Cursor, *changes: Change) -> list[Outcome]:
    return commit_changes(database, [prepare_change(change) for change in changes], owner=ME, now=1, lease=1)


def count(database: apsw.Cursor, table: str) -> int:
    return len(database.execute(f"SELECT 1 FROM {table}").fetchall())


def test_each_gets_its_own_rows_and_its_own_answer(database: apsw.Cursor) -> None:
    first, second = first_change("room-1", session_id="s1"), first_change("room-2", session_id="s2")
    one, two = commit(database, first, second)
    assert isinstance(one, tuple)
    assert isinstance(two, tuple)
    assert [row.session_id for row in (*one, *two)] == ["s1", "s2"]
    stored = dict(
        database.execute("SELECT c.id, s.session_id FROM commands c JOIN sessions s ON s.id = c.session")
    )
    assert stored == {row.id: row.session_id for row in (*one, *two)}
    events = "SELECT s.session_id, e.number FROM events e JOIN sessions s ON s.id = e.session ORDER BY e.seq"
    assert database.execute(events).fetchall() == [("s1", 1), ("s2", 1)]


def test_one_that_is_refused_leaves_nothing_and_spoils_no_other(database: apsw.Cursor) -> None:
    first = first_change("room-1", session_id="s1")
    (rows,) = commit(database, first)
    assert isinstance(rows, tuple)
    stale = replace(rows[0], fence=7)
    outcomes = commit(
        database,
        next_change(replace(first.session, version=5), "a version that is not there"),
        first_change("room-1", session_id="s2"),
        replace(first_change("room-3", session_id="s3"), finished=(stale,)),
        first_change("room-4", session_id="s4"),
    )
    assert [type(outcome) for outcome in outcomes] == [
        VersionConflictError,
        RoomNameTakenError,
        FencedError,
        tuple,
    ]
    assert [row[0] for row in database.execute("SELECT session_id FROM sessions ORDER BY id")] == ["s1", "s4"]
    assert count(database, "commands") == 2
    assert count(database, "events") == 2


def test_results_and_intents_go_together(database: apsw.Cursor) -> None:
    first = first_change("room-1", session_id="s1")
    (rows,) = commit(database, first)
    assert isinstance(rows, tuple)
    result = replace(next_change(first.session, "its room is there"), finished=rows)
    done, intent = commit(database, result, first_change("room-2", session_id="s2"))
    assert done == ()
    assert isinstance(intent, tuple)
    assert [row[0] for row in database.execute("SELECT id FROM commands")] == [intent[0].id]


def test_twenty_changes_take_few_statements(database: apsw.Cursor) -> None:
    statements: list[str] = []

    def note(_: apsw.Cursor, statement: str, __: object) -> bool:
        statements.append(statement)
        return True

    database.exec_trace = note
    commit(database, *(first_change(f"room-{n}", session_id=f"s{n}") for n in range(20)))
    assert len(statements) == 5


def test_a_commit_scans_nothing(database: apsw.Cursor) -> None:
    plans: list[str] = []
    connection = database.connection

    def explain(_: apsw.Cursor, statement: str, bindings: object) -> bool:
        explaining = connection.cursor()
        explaining.exec_trace = None
        found = explaining.execute(f"EXPLAIN QUERY PLAN {statement}", bindings)  # type: ignore[arg-type]
        plans.extend(str(row[3]) for row in found)
        return True

    database.exec_trace = explain
    (rows,) = commit(database, first_change())
    assert isinstance(rows, tuple)
    commit(database, replace(first_change("room-2", session_id="s2"), finished=rows))
    assert plans
    assert not [plan for plan in plans if plan.startswith("SCAN") and "CONSTANT" not in plan]
