"""What the SQLite store's threads do inside a transaction: rows in, rows out, no waiting, no threads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

import apsw

from orchestrator.adapters.session_json import (
    decode_command,
    decode_session,
    decode_worker,
)
from orchestrator.core.errors import (
    SessionNotFoundError,
)
from orchestrator.core.events import Event, FeedEvent, encode_data, name_of
from orchestrator.core.ids import InstanceId, SessionId
from orchestrator.core.session import SCHEMA_VERSION, Session
from orchestrator.core.workers import Registration
from orchestrator.ports import CommandRow, FeedPage

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TICK: Final = timedelta(microseconds=1)
_MAX_INTEGER: Final = 2**63 - 1
_TRIM_BATCH: Final = 1000  # events forgotten in one transaction, so that commits need not wait long


def prepare_events(events: Sequence[Event], *, first: int) -> tuple[tuple[int, str, bytes], ...]:
    """Encode events, numbered from ``first``; 0 means that they belong to no session and stay 0."""
    return tuple(
        (first + i if first else 0, name_of(event), encode_data(event)) for i, event in enumerate(events)
    )


def to_ticks(moment: datetime) -> int:
    """Give microseconds since 1970."""
    return (moment - _EPOCH) // _TICK


def from_ticks(ticks: int) -> datetime:
    """Give the moment of microseconds since 1970."""
    return _EPOCH + ticks * _TICK


_EVENT: Final = "session, number, at, schema_version, name, data"


@cache
def _insert_many(table: str, columns: str, count: int) -> str:
    """One statement for many rows: each statement is a moment in which the thread may lose its turn."""
    row = "(" + ", ".join("?" for _ in columns.split(",")) + ")"
    return f"INSERT INTO {table} ({columns}) VALUES " + ", ".join([row] * count)


def append_events(
    database: apsw.Cursor, events: Sequence[tuple[int | None, int, str, bytes]], *, now: int
) -> None:
    """Append encoded events to the feed, each with the row of its session (None: of the registry)."""
    if events:
        values: list[object] = []
        for session_row, number, name, data in events:
            values += (session_row, number, now, SCHEMA_VERSION, name, data)
        database.execute(_insert_many("events", _EVENT, len(events)), values)


def claim_commands(
    database: apsw.Cursor, limit: int, *, owner: InstanceId, now: int, lease: int, all_orphaned: bool
) -> list[CommandRow]:
    """Claim what is free, longest free first."""
    query = (
        "SELECT c.id, s.session_id, c.fence, c.tries, c.record FROM commands c JOIN sessions s"
        " ON s.id = c.session WHERE {} ORDER BY c.available_at, c.id LIMIT ?"
    )
    if all_orphaned:
        query = query.format("c.available_at <= ? OR c.owner <> ?")
        found = _select(database, query, (now, owner, limit))
    else:
        found = _select(database, query.format("c.available_at <= ?"), (now, limit))
    rows = [
        CommandRow(
            id=number, session_id=session_id, command=decode_command(record), fence=fence + 1, tries=tries
        )
        for number, session_id, fence, tries, record in found
    ]
    for row in rows:
        claim = "UPDATE commands SET fence = ?, owner = ?, available_at = ? WHERE id = ?"
        database.execute(claim, (row.fence, owner, now + lease, row.id))
    return rows


def postpone_command(database: apsw.Cursor, row: CommandRow, *, until: int) -> None:
    """Let a row rest."""
    database.execute(
        "UPDATE commands SET available_at = ?, tries = tries + 1 WHERE id = ? AND fence = ?",
        (until, row.id, row.fence),
    )


def finish_command(database: apsw.Cursor, row: CommandRow) -> None:
    """Remove a row."""
    database.execute("DELETE FROM commands WHERE id = ? AND fence = ?", (row.id, row.fence))


def save_worker(database: apsw.Cursor, worker_id: str, record: bytes) -> None:
    """Insert or replace a registration."""
    database.execute(
        "INSERT INTO workers (worker_id, record) VALUES (?, ?)"
        " ON CONFLICT (worker_id) DO UPDATE SET record = excluded.record",
        (worker_id, record),
    )


def delete_worker(database: apsw.Cursor, worker_id: str) -> None:
    """Forget a registration."""
    database.execute("DELETE FROM workers WHERE worker_id = ?", (worker_id,))


def trim_feed(database: apsw.Cursor, before: int) -> tuple[int, bool]:
    """Forget a batch of the oldest events; give how many, and whether there may be more."""
    oldest = _select(database, "SELECT seq, at FROM events ORDER BY seq LIMIT ?", (_TRIM_BATCH,))
    old = 0
    while old < len(oldest) and oldest[old][1] < before:
        old += 1
    if old:
        database.execute("DELETE FROM events WHERE seq <= ?", (oldest[old - 1][0],))
    return old, old == _TRIM_BATCH


def read_head(database: apsw.Cursor) -> int:
    """Give the number of the last event that was written, whether it is still kept or not."""
    found = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    return int(found[0]) if found else 0


def read_session(database: apsw.Cursor, session_id: SessionId) -> Session:
    """Give a session.

    Raises:
        SessionNotFoundError: there is none.
    """
    found = database.execute("SELECT record FROM sessions WHERE session_id = ?", (session_id,)).fetchone()
    if found is None:
        raise SessionNotFoundError(session_id)
    return decode_session(found[0])


def read_open_sessions(database: apsw.Cursor) -> list[Session]:
    """Give open sessions, oldest first."""
    query = "SELECT record FROM sessions WHERE is_open = 1 ORDER BY id"
    return [decode_session(record) for (record,) in database.execute(query)]


def read_due_sessions(database: apsw.Cursor, limit: int, *, now: int) -> list[SessionId]:
    """Give sessions with a due deadline, the earliest first."""
    query = "SELECT session_id FROM sessions WHERE next_due <= ? ORDER BY next_due LIMIT ?"
    return [SessionId(session_id) for (session_id,) in database.execute(query, (now, limit))]


def read_feed(
    database: apsw.Cursor, seq: int, *, session_id: SessionId | None, limit: int, generation: int
) -> FeedPage:
    """Give a page of events; all of it is of one moment."""
    query = (
        "SELECT e.seq, s.session_id, e.number, e.name, e.data, e.at FROM events e LEFT JOIN sessions s"
        " ON s.id = e.session WHERE {} e.seq > ? ORDER BY e.seq LIMIT ?"
    )
    after = min(max(seq, 0), _MAX_INTEGER)
    database.execute("BEGIN")
    try:
        if session_id is None:
            found = _select(database, query.format(""), (after, limit))
        else:
            own = "e.session = (SELECT id FROM sessions WHERE session_id = ?) AND"
            found = _select(database, query.format(own), (session_id, after, limit))
        head = read_head(database)
        ((oldest,),) = _select(database, "SELECT min(seq) FROM events")
    finally:
        database.execute("COMMIT")
    return FeedPage(
        events=tuple(
            FeedEvent(seq=number, session_id=sid, number=own, name=name, data=data, at=from_ticks(at))
            for number, sid, own, name, data, at in found
        ),
        generation=generation,
        oldest_seq=head + 1 if oldest is None else oldest,
        head_seq=head,
    )


def read_workers(database: apsw.Cursor) -> list[Registration]:
    """Give registrations, the first registered first."""
    return [decode_worker(record) for (record,) in database.execute("SELECT record FROM workers ORDER BY id")]


def _select(database: apsw.Cursor, query: str, bindings: tuple[object, ...] = ()) -> list[Any]:
    return database.execute(query, bindings).fetchall()
