"""The statements of request keys: by an index, few for many, none for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from orchestrator.adapters import sqlite_request_keys as request_keys
from orchestrator.adapters.sqlite_schema import connect, prepare
from orchestrator.core.errors import KeyTakenError
from orchestrator.core.ids import CallerId
from orchestrator.core.request_keys import KeyScope, RequestKey
from tests.fakes.clock import FakeClock


@pytest.fixture
def database(tmp_path: Path) -> Iterator[apsw.Cursor]:
    connection = connect(tmp_path / "store.db", is_writer=True)
    prepare(connection, tmp_path / "store.db", FakeClock())
    yield connection.cursor()
    connection.close()


def key_of(name: str) -> RequestKey:
    return RequestKey(scope=KeyScope(caller=CallerId(""), route="r", key=name), fingerprint="f")


def test_keys_are_looked_up_by_their_index(database: apsw.Cursor) -> None:
    plans: list[str] = []
    connection = database.connection

    def explain(_: apsw.Cursor, statement: str, bindings: object) -> bool:
        explaining = connection.cursor()
        explaining.exec_trace = None
        found = explaining.execute(f"EXPLAIN QUERY PLAN {statement}", bindings)  # type: ignore[arg-type]
        plans.extend(str(row[3]) for row in found)
        return True

    database.exec_trace = explain
    request_keys.taken_keys(database, [key_of(f"k{n}") for n in range(3)], now=1)
    request_keys.read_key(database, key_of("k").scope, now=1)
    request_keys.free_key(database, key_of("k").scope, "s1")
    searches = [plan for plan in plans if "request_keys" in plan]
    assert len(searches) == 3
    assert all("USING INDEX" in plan and "(caller=? AND route=? AND key=?)" in plan for plan in searches)


def test_many_keys_take_one_statement(database: apsw.Cursor) -> None:
    statements: list[str] = []

    def note(_: apsw.Cursor, statement: str, __: object) -> bool:
        statements.append(statement)
        return True

    keys = [key_of(f"k{n}") for n in range(20)]
    database.exec_trace = note
    assert request_keys.taken_keys(database, keys, now=1) == set()
    request_keys.bind_keys(database, [(key, "s1") for key in keys], now=1)
    assert len(statements) == 2
    assert request_keys.taken_keys(database, keys, now=1) == {key.scope for key in keys}


def test_a_change_without_keys_asks_nothing(database: apsw.Cursor) -> None:
    database.exec_trace = lambda *_: pytest.fail("a statement for nothing")
    assert request_keys.taken_keys(database, [], now=1) == set()
    request_keys.bind_keys(database, [], now=1)


def test_one_key_is_bound_once(database: apsw.Cursor) -> None:
    request_keys.bind_key(database, key_of("k"), "asr", now=1)
    with pytest.raises(KeyTakenError):
        request_keys.bind_key(database, key_of("k"), "tts", now=2)
    bound = request_keys.read_key(database, key_of("k").scope, now=2)
    assert bound is not None
    assert bound.target == "asr"
