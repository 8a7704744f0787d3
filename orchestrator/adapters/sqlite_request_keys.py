"""The rows of request keys in the SQLite store: looked up, bound, freed, and forgotten when they are old.

Rows are numbered in the order of their binding, so those that are old are a prefix, found without an index.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import apsw

from orchestrator.core.errors import KeyTakenError
from orchestrator.core.request_keys import KEPT, BoundKey, KeyScope, RequestKey

_KEPT: Final = round(KEPT.total_seconds() * 1e6)
_FORGET_BATCH: Final = 1000  # forgotten in one transaction, so that commits need not wait long

TABLE: Final = """
CREATE TABLE request_keys (
    id INTEGER PRIMARY KEY,
    caller TEXT NOT NULL,
    route TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    target TEXT NOT NULL,
    bound_at INTEGER NOT NULL,
    UNIQUE (caller, route, key)
) STRICT;
"""


def taken_keys(database: apsw.Cursor, keys: Sequence[RequestKey], *, now: int) -> set[KeyScope]:
    """Give those of some keys that are bound."""
    if not keys:
        return set()
    values = [text for key in keys for text in _scope(key.scope)]
    found = database.execute(_taken(len(keys)), (*values, now - _KEPT))
    return {KeyScope(caller=caller, route=route, key=key) for caller, route, key in found}


def bind_keys(database: apsw.Cursor, bound: Sequence[tuple[RequestKey, str]], *, now: int) -> None:
    """Bind keys that are free, each to its target; a row that is free by its age is replaced by a new one."""
    if bound:
        values: list[object] = []
        for key, target in bound:
            values += (*_scope(key.scope), key.fingerprint, target, now)
        database.execute(_bind(len(bound)), values)


def bind_key(database: apsw.Cursor, key: RequestKey, target: str, *, now: int) -> None:
    """Bind one key.

    Raises:
        KeyTakenError: it is bound already; nothing was written.
    """
    if taken_keys(database, (key,), now=now):
        raise key_taken()
    bind_keys(database, ((key, target),), now=now)


def key_taken() -> KeyTakenError:
    """Make the error for a key that another request has bound."""
    return KeyTakenError("another request with this key was faster")


def free_key(database: apsw.Cursor, scope: KeyScope, target: str) -> None:
    """Free a key that is bound to this target."""
    database.execute(
        "DELETE FROM request_keys WHERE caller = ? AND route = ? AND key = ? AND target = ?",
        (*_scope(scope), target),
    )


def read_key(database: apsw.Cursor, scope: KeyScope, *, now: int) -> BoundKey | None:
    """Give what a key is bound to."""
    query = (
        "SELECT fingerprint, target FROM request_keys"
        " WHERE caller = ? AND route = ? AND key = ? AND bound_at > ?"
    )
    found = database.execute(query, (*_scope(scope), now - _KEPT)).fetchone()
    return BoundKey(fingerprint=found[0], target=found[1]) if found is not None else None


def forget_keys(database: apsw.Cursor, *, now: int) -> tuple[int, bool]:
    """Drop a batch of old keys; give how many, and whether there may be more."""
    oldest: list[Any] = database.execute(
        "SELECT id, bound_at FROM request_keys ORDER BY id LIMIT ?", (_FORGET_BATCH,)
    ).fetchall()
    old = 0
    while old < len(oldest) and oldest[old][1] <= now - _KEPT:
        old += 1
    if old:
        database.execute("DELETE FROM request_keys WHERE id <= ?", (oldest[old - 1][0],))
    return old, old == _FORGET_BATCH


def _scope(scope: KeyScope) -> tuple[str, str, str]:
    return (scope.caller, scope.route, scope.key)


@cache
def _taken(count: int) -> str:
    rows = ", ".join(["(?, ?, ?)"] * count)
    return (
        "SELECT caller, route, key FROM request_keys"
        f" WHERE (caller, route, key) IN (VALUES {rows}) AND bound_at > ?"
    )


@cache
def _bind(count: int) -> str:
    rows = ", ".join(["(?, ?, ?, ?, ?, ?)"] * count)
    return (
        "INSERT OR REPLACE INTO request_keys (caller, route, key, fingerprint, target, bound_at)"
        f" VALUES {rows}"
    )
