"""Writes many callers' changes of sessions with few statements: checks first, each change for itself.

Every statement lets go of Python's lock and has to get it back, which on a busy event loop costs more than
the statement. So a group's changes are looked up, inserted and removed together, whatever their number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

import apsw

from orchestrator.adapters.catalog_json import encode as encode_catalog
from orchestrator.adapters.session_json import encode_command, encode_session
from orchestrator.adapters.sqlite_catalog import write_records
from orchestrator.adapters.sqlite_request_keys import bind_keys, free_key, key_taken, taken_keys
from orchestrator.adapters.sqlite_rows import append_events, prepare_events, to_ticks
from orchestrator.core.errors import (
    FencedError,
    OrchestratorError,
    RoomNameTakenError,
    VersionConflictError,
)
from orchestrator.core.ids import InstanceId
from orchestrator.core.request_keys import KeyScope
from orchestrator.core.session import Session
from orchestrator.ports import Change, CommandRow

Outcome = tuple[CommandRow, ...] | OrchestratorError


class Written(NamedTuple):
    """A change as it goes into rows: encoded by its caller, so that what cannot be encoded spoils nothing."""

    change: Change
    record: bytes
    events: tuple[tuple[int, str, bytes], ...]
    commands: tuple[bytes, ...]
    next_due: int | None
    recordings: tuple[bytes, ...]

    @property
    def session(self) -> Session:
        """The record that is written."""
        return self.change.session

    @property
    def keys(self) -> frozenset[str | KeyScope]:
        """What it shares with no other change that is checked beside it: session, room name, request key."""
        change = self.change
        shared: list[str | KeyScope] = [change.session.id, change.session.room_name]
        if change.key is not None:
            shared.append(change.key.scope)
        if change.freed_key is not None:
            shared.append(change.freed_key)
        return frozenset(shared)

    @property
    def indexed(self) -> tuple[object, ...]:
        """The columns that stand in indexes."""
        session = self.change.session
        return (session.room_name, int(session.is_name_held), int(session.is_open), self.next_due)


class _Stored(NamedTuple):
    row_id: int
    version: int
    indexed: tuple[object, ...]


def prepare_change(change: Change) -> Written:
    """Encode a change.

    Raises:
        ValueError: a text in it is not encodable as UTF-8.
    """
    session = change.session
    return Written(
        change=change,
        record=encode_session(session),
        events=prepare_events(change.events, first=session.events - len(change.events) + 1),
        commands=tuple(map(encode_command, change.commands)),
        next_due=None if session.next_due is None else to_ticks(session.next_due),
        recordings=tuple(map(encode_catalog, change.recordings)),
    )


def commit_changes(
    database: apsw.Cursor, batch: Sequence[Written], *, owner: InstanceId, now: int, lease: int
) -> list[Outcome]:
    """Check each change, then write those that passed; one that is refused leaves no row behind.

    Args:
        database: inside a transaction.
        batch: changes whose `keys` do not meet.
        owner: who claims the new commands.
        now: the store's time, in microseconds; ``lease``: how long a claim holds, likewise.

    Returns:
        For each change its new command rows, or why it was refused.
    """
    stored = _stored(database, batch)
    fences = _fences(database, batch)
    holders = _holders(database, batch, stored)
    bound = taken_keys(database, [one.change.key for one in batch if one.change.key is not None], now=now)
    refused = [_refusal(one, stored.get(one.session.id), fences, holders, bound) for one in batch]
    passed = [one for one, error in zip(batch, refused, strict=True) if error is None]
    row_ids = _write_sessions(database, passed, stored)
    _delete_commands(database, passed)
    append_events(
        database,
        [(row_ids[one.session.id], *event) for one in passed for event in one.events],
        now=now,
    )
    made = iter(_insert_commands(database, passed, row_ids, owner=owner, until=now + lease))
    _write_keys(database, passed, now=now)
    write_records(
        database,
        [pair for one in passed for pair in zip(one.change.recordings, one.recordings, strict=True)],
        now=now,
    )
    return [next(made) if error is None else error for error in refused]


def _refusal(
    one: Written,
    stored: _Stored | None,
    fences: dict[int, int],
    holders: dict[str, str],
    bound: set[KeyScope],
) -> OrchestratorError | None:
    session = one.session
    version = stored.version if stored is not None else 0
    if version != session.version - 1:
        return VersionConflictError(
            f"session {session.id} is at version {version}, not {session.version - 1}"
        )
    if any(fences.get(row.id) != row.fence for row in one.change.finished):
        return FencedError(f"a command of session {session.id} was finished or claimed by another instance")
    if session.is_name_held and holders.get(session.room_name, session.id) != session.id:
        return RoomNameTakenError(session.room_name)
    if one.change.key is not None and one.change.key.scope in bound:
        return key_taken()
    return None


def _stored(database: apsw.Cursor, batch: Sequence[Written]) -> dict[str, _Stored]:
    query = _in(
        "SELECT session_id, id, version, room_name, is_name_held, is_open, next_due FROM sessions"
        " WHERE session_id",
        len(batch),
    )
    found = database.execute(query, tuple(one.session.id for one in batch))
    return {session_id: _Stored(row_id, version, tuple(rest)) for session_id, row_id, version, *rest in found}


def _fences(database: apsw.Cursor, batch: Sequence[Written]) -> dict[int, int]:
    ids = tuple(row.id for one in batch for row in one.change.finished)
    if not ids:
        return {}
    return dict(database.execute(_in("SELECT id, fence FROM commands WHERE id", len(ids)), ids))


def _holders(database: apsw.Cursor, batch: Sequence[Written], stored: dict[str, _Stored]) -> dict[str, str]:
    """Who holds the names that changes begin to hold."""
    names = tuple(
        one.session.room_name
        for one in batch
        if one.session.is_name_held
        and (one.session.id not in stored or stored[one.session.id].indexed[:2] != (one.session.room_name, 1))
    )
    if not names:
        return {}
    query = "SELECT room_name, session_id FROM sessions WHERE is_name_held = 1 AND room_name"
    return dict(database.execute(_in(query, len(names)), names))


def _write_sessions(
    database: apsw.Cursor, passed: Sequence[Written], stored: dict[str, _Stored]
) -> dict[str, int]:
    known = [one.session.id for one in passed if one.session.id in stored]
    row_ids: dict[str, int] = {session_id: stored[session_id].row_id for session_id in known}
    new = [one for one in passed if one.session.id not in stored]
    if new:
        values: list[Any] = []
        for one in new:
            values += (one.session.version, one.record, *one.indexed, one.session.id)
        database.execute(_insert("sessions", _SESSION, len(new)), values)
        # One statement and one writer: the ids follow each other.
        first = database.connection.last_insert_rowid() - len(new) + 1
        row_ids.update((one.session.id, first + place) for place, one in enumerate(new))
    for one in passed:
        before = stored.get(one.session.id)
        if before is None:
            continue
        # Naming a column in an UPDATE makes SQLite write its index again: only what changed is named.
        if before.indexed[:3] != one.indexed[:3]:
            database.execute(_UPDATE_ALL, (one.session.version, one.record, *one.indexed, before.row_id))
        elif before.indexed[3] != one.next_due:
            database.execute(_UPDATE_DUE, (one.session.version, one.record, one.next_due, before.row_id))
        else:
            database.execute(_UPDATE_RECORD, (one.session.version, one.record, before.row_id))
    return row_ids


def _delete_commands(database: apsw.Cursor, passed: Iterable[Written]) -> None:
    ids = tuple(row.id for one in passed for row in one.change.finished)
    if ids:
        database.execute(_in("DELETE FROM commands WHERE id", len(ids)), ids)


def _write_keys(database: apsw.Cursor, passed: Iterable[Written], *, now: int) -> None:
    changes = [one.change for one in passed]
    bind_keys(
        database, [(change.key, change.session.id) for change in changes if change.key is not None], now=now
    )
    for change in changes:
        if change.freed_key is not None:
            free_key(database, change.freed_key, change.session.id)


def _insert_commands(
    database: apsw.Cursor,
    passed: Sequence[Written],
    row_ids: dict[str, int],
    *,
    owner: InstanceId,
    until: int,
) -> list[tuple[CommandRow, ...]]:
    values: list[Any] = []
    count = 0
    for one in passed:
        for record in one.commands:
            values += (row_ids[one.session.id], 1, 0, until, owner, record)
            count += 1
    if not count:
        return [() for _ in passed]
    database.execute(_insert("commands", _COMMAND, count), values)
    following = database.connection.last_insert_rowid() - count + 1
    made: list[tuple[CommandRow, ...]] = []
    for one in passed:
        made.append(
            tuple(
                CommandRow(id=following + place, session_id=one.session.id, command=command, fence=1)
                for place, command in enumerate(one.change.commands)
            )
        )
        following += len(one.commands)
    return made


_SESSION: Final = "version, record, room_name, is_name_held, is_open, next_due, session_id"
_COMMAND: Final = "session, fence, tries, available_at, owner, record"
_UPDATE_RECORD: Final = "UPDATE sessions SET version = ?, record = ? WHERE id = ?"
_UPDATE_DUE: Final = "UPDATE sessions SET version = ?, record = ?, next_due = ? WHERE id = ?"
_UPDATE_ALL: Final = (
    "UPDATE sessions SET version = ?, record = ?, room_name = ?, is_name_held = ?, is_open = ?, next_due = ?"
    " WHERE id = ?"
)


@cache
def _in(query: str, count: int) -> str:
    return f"{query} IN ({', '.join('?' * count)})"


@cache
def _insert(table: str, columns: str, count: int) -> str:
    row = "(" + ", ".join("?" for _ in columns.split(",")) + ")"
    return f"INSERT INTO {table} ({columns}) VALUES " + ", ".join([row] * count)
