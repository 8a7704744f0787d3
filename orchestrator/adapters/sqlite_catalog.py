"""The catalog of recordings in the SQLite store: its table, and the calls that the two threads carry out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

import apsw

from orchestrator.adapters.catalog_json import decode_custody, decode_record, encode
from orchestrator.adapters.sqlite_lane import Lane
from orchestrator.adapters.sqlite_rows import append_events, from_ticks, prepare_events, to_ticks
from orchestrator.catalog_ports import CatalogPage, Usage
from orchestrator.core.catalog import CatalogEntry, CatalogRecord, Custody
from orchestrator.core.errors import RecordingNotFoundError, VersionConflictError
from orchestrator.core.events import RegistryEvent
from orchestrator.core.ids import RecordingId, SessionId
from orchestrator.core.recording import RecordingStatus

# `deletion`: 0 none, 1 under way, 2 done; `measured`: bytes in the store, NULL until somebody looked.
TABLE: Final = """
CREATE TABLE recordings (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    recording_id TEXT NOT NULL UNIQUE,
    session_id TEXT NOT NULL,
    status TEXT NOT NULL,
    reported INTEGER NOT NULL,
    measured INTEGER,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    is_held INTEGER NOT NULL DEFAULT 0,
    deletion INTEGER NOT NULL DEFAULT 0,
    version INTEGER NOT NULL DEFAULT 0,
    record BLOB NOT NULL,
    custody BLOB
) STRICT;
CREATE INDEX recordings_session ON recordings (session_id);
CREATE INDEX recordings_ended ON recordings (ended_at) WHERE deletion = 0 AND ended_at IS NOT NULL;
CREATE INDEX recordings_deletion ON recordings (id) WHERE deletion = 1;
CREATE INDEX recordings_unmeasured ON recordings (id)
    WHERE measured IS NULL AND deletion = 0 AND ended_at IS NOT NULL;
CREATE INDEX recordings_usage ON recordings (status, deletion, measured, reported);
"""
_ENTRY: Final = "id, record, custody, started_at, ended_at"
_STATUS: Final = "CASE deletion WHEN 2 THEN 'deleted' ELSE status END"
USAGE: Final = (
    f"SELECT {_STATUS} AS word, count(*),"
    " sum(CASE deletion WHEN 2 THEN 0 ELSE coalesce(measured, reported) END)"
    " FROM recordings GROUP BY word"
)
_UPSERT: Final = """
INSERT INTO recordings (recording_id, session_id, status, reported, started_at, ended_at, record)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (recording_id) DO UPDATE SET session_id = excluded.session_id, status = excluded.status,
    reported = excluded.reported, ended_at = coalesce(ended_at, excluded.ended_at), record = excluded.record
"""


class SqliteCatalog:
    """Implements `CatalogStore` with the threads of a `SqliteSessionStore`."""

    def __init__(
        self, *, writer: Lane[apsw.Cursor], reader: Lane[apsw.Cursor], now: Callable[[], datetime]
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._now = now

    async def save(
        self, record: CatalogRecord, *, started_at: datetime | None = None, ended_at: datetime | None = None
    ) -> None:
        """Insert or replace what a maker reports."""
        now = self._now()
        values = row_of(
            record, encode(record), started=to_ticks(started_at or now), ended=to_ticks(ended_at or now)
        )
        await self._writer.call(partial(_execute, query=_UPSERT, values=values))

    async def entry(self, recording_id: RecordingId) -> CatalogEntry:
        """Give a recording."""
        if not recording_id.isascii():
            raise RecordingNotFoundError(recording_id)  # ids are ASCII; others might not even be encodable
        return await self._reader.call(partial(_read_entry, recording_id=recording_id))

    async def entries(
        self,
        *,
        limit: int,
        before: int | None = None,
        session_id: SessionId | None = None,
        status: RecordingStatus | None = None,
    ) -> CatalogPage:
        """Give recordings, the newest first."""
        return await self._reader.call(
            partial(
                _read_page,
                limit=limit,
                before=before,
                session_id=session_id,
                status=None if status is None else status.value,
            )
        )

    async def save_custody(
        self, recording_id: RecordingId, custody: Custody, events: Sequence[RegistryEvent] = ()
    ) -> None:
        """Replace the custody of a recording and append events."""
        encoded = _encoded(events)
        record = encode(custody)

        def work(database: apsw.Cursor) -> None:
            _save_custody(database, recording_id, custody, record)
            append_events(database, encoded, now=to_ticks(self._now()))

        await self._writer.call(work)

    async def forget(self, recording_id: RecordingId, events: Sequence[RegistryEvent] = ()) -> None:
        """Remove a recording from the catalog."""
        encoded = _encoded(events)

        def work(database: apsw.Cursor) -> None:
            database.execute("DELETE FROM recordings WHERE recording_id = ?", (recording_id,))
            if database.connection.changes():
                append_events(database, encoded, now=to_ticks(self._now()))

        await self._writer.call(work)

    async def say(self, *events: RegistryEvent) -> None:
        """Append events."""
        encoded = _encoded(events)
        await self._writer.call(lambda database: append_events(database, encoded, now=to_ticks(self._now())))

    async def being_deleted(self, limit: int) -> list[CatalogEntry]:
        """Give recordings whose deletion is not done."""
        return await self._reader.call(
            partial(_read, where="deletion = 1 ORDER BY id", values=(), limit=limit)
        )

    async def deletable(
        self, *, ended_before: datetime, limit: int, status: RecordingStatus | None = None
    ) -> list[CatalogEntry]:
        """Give recordings that ended before a moment and may go, oldest end first."""
        where = (
            "ended_at < ? AND (? IS NULL OR status = ?) AND is_held = 0 AND deletion = 0"
            " ORDER BY ended_at, id"
        )
        word = None if status is None else status.value
        values = (to_ticks(ended_before), word, word)
        return await self._reader.call(partial(_read, where=where, values=values, limit=limit))

    async def unmeasured(self, limit: int) -> list[CatalogEntry]:
        """Give ended recordings whose bytes nobody looked up."""
        where = "ended_at IS NOT NULL AND measured IS NULL AND deletion = 0 ORDER BY id"
        return await self._reader.call(partial(_read, where=where, values=(), limit=limit))

    async def usage(self) -> Usage:
        """Give what all of them take."""
        return await self._reader.call(_read_usage)


def _encoded(events: Sequence[RegistryEvent]) -> list[tuple[None, int, str, bytes]]:
    return [(None, *event) for event in prepare_events(events, first=0)]


def row_of(record: CatalogRecord, encoded: bytes, *, started: int, ended: int) -> tuple[object, ...]:
    """Give the values of a row; ``ended`` counts when the record is ended."""
    return (
        record.recording_id,
        record.session_id,
        record.status.value,
        record.reported_bytes,
        started,
        ended if record.is_ended else None,
        encoded,
    )


# --- in threads ---


def write_records(database: apsw.Cursor, records: Sequence[tuple[CatalogRecord, bytes]], *, now: int) -> None:
    """Write what commits of sessions say of their recordings."""
    if records:
        rows = [row_of(record, encoded, started=now, ended=now) for record, encoded in records]
        database.executemany(_UPSERT, rows)


def _execute(database: apsw.Cursor, *, query: str, values: tuple[object, ...]) -> None:
    database.execute(query, values)


def _read_entry(database: apsw.Cursor, *, recording_id: RecordingId) -> CatalogEntry:
    found = _read(database, where="recording_id = ?", values=(recording_id,), limit=1)
    if not found:
        raise RecordingNotFoundError(recording_id)
    return found[0]


def _read_page(
    database: apsw.Cursor, *, limit: int, before: int | None, session_id: str | None, status: str | None
) -> CatalogPage:
    # Only the filters that are given: one that might be would keep SQLite from the index.
    filters = {"session_id = ?": session_id, f"{_STATUS} = ?": status}
    given = {words: value for words, value in filters.items() if value is not None}
    where = " AND ".join(given) or "1"
    values: tuple[object, ...] = tuple(given.values())
    ((total,),) = list[Any](database.execute(f"SELECT count(*) FROM recordings WHERE {where}", values))
    if before is not None:
        where, values = f"{where} AND id < ?", (*values, before)
    entries = _read(database, where=f"{where} ORDER BY id DESC", values=values, limit=limit)
    return CatalogPage(entries=tuple(entries), total=total)


def _read(database: apsw.Cursor, *, where: str, values: tuple[object, ...], limit: int) -> list[CatalogEntry]:
    query = f"SELECT {_ENTRY} FROM recordings WHERE {where} LIMIT ?"
    found: list[Any] = database.execute(query, (*values, limit)).fetchall()
    return [
        CatalogEntry(
            number=number,
            record=decode_record(record),
            custody=Custody() if custody is None else decode_custody(custody),
            started_at=from_ticks(started),
            ended_at=None if ended is None else from_ticks(ended),
        )
        for number, record, custody, started, ended in found
    ]


def _save_custody(database: apsw.Cursor, recording_id: RecordingId, custody: Custody, record: bytes) -> None:
    query = "SELECT version FROM recordings WHERE recording_id = ?"
    found = database.execute(query, (recording_id,)).fetchone()
    if found is None:
        raise RecordingNotFoundError(recording_id)
    if found[0] != custody.version - 1:
        raise VersionConflictError(f"recording {recording_id} was changed by somebody else meanwhile")
    deletion = 0 if custody.deletion is None else 1 if custody.is_being_deleted else 2
    database.execute(
        "UPDATE recordings SET version = ?, custody = ?, measured = ?, is_held = ?, deletion = ?"
        " WHERE recording_id = ?",
        (
            custody.version,
            record,
            custody.stored_bytes,
            int(custody.hold is not None),
            deletion,
            recording_id,
        ),
    )


def _read_usage(database: apsw.Cursor) -> Usage:
    found: list[Any] = database.execute(USAGE).fetchall()
    return Usage(
        used_bytes=sum(used for _, _, used in found), counts={word: count for word, count, _ in found}
    )
