"""Outgoing webhooks in the SQLite store: their tables, and the calls that its two threads carry out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import apsw

from orchestrator.adapters.sqlite_lane import Lane
from orchestrator.adapters.webhook_json import decode_letter, decode_progress, decode_target, encode
from orchestrator.core.webhook_targets import (
    MAX_DEAD_LETTERS,
    DeadLetter,
    Progress,
    TargetId,
    WebhookTarget,
)
from orchestrator.webhook_ports import DeadLetterPage

# The progress stands beside the record: it is written often, and by somebody else.
TABLES: Final = """
CREATE TABLE webhook_targets (
    id INTEGER PRIMARY KEY,
    target_id TEXT NOT NULL UNIQUE,
    record BLOB NOT NULL,
    progress BLOB NOT NULL
) STRICT;
CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    target INTEGER NOT NULL,
    is_queued INTEGER NOT NULL,
    record BLOB NOT NULL
) STRICT;
CREATE INDEX dead_letters_target ON dead_letters (target);
"""
_OWN: Final = "target = (SELECT id FROM webhook_targets WHERE target_id = ?)"


class SqliteWebhooks:
    """Implements `WebhookStore` with the threads of a `SqliteSessionStore`."""

    def __init__(self, *, writer: Lane[apsw.Cursor], reader: Lane[apsw.Cursor]) -> None:
        self._writer = writer
        self._reader = reader

    async def add_target(self, target: WebhookTarget, start: Progress) -> None:
        """Insert a registration."""
        values = (target.id, encode(target), encode(start))
        insert = "INSERT OR IGNORE INTO webhook_targets (target_id, record, progress) VALUES (?, ?, ?)"
        await self._writer.call(partial(_execute, query=insert, values=values))

    async def save_target(self, target: WebhookTarget) -> None:
        """Replace a registration."""
        update = "UPDATE webhook_targets SET record = ? WHERE target_id = ?"
        await self._writer.call(partial(_execute, query=update, values=(encode(target), target.id)))

    async def delete_target(self, target_id: TargetId) -> None:
        """Forget a registration and its dead letters."""
        await self._writer.call(partial(_delete_target, target_id=target_id))

    async def targets(self) -> list[tuple[WebhookTarget, Progress]]:
        """Give all registrations and how far they are."""
        return await self._reader.call(_read_targets)

    async def save_progress(
        self, target_id: TargetId, progress: Progress, given_up: Sequence[DeadLetter] = ()
    ) -> None:
        """Replace how far a target is and add dead letters."""
        letters = [encode(letter) for letter in given_up]
        record = encode(progress)
        await self._writer.call(
            partial(_save_progress, target_id=target_id, progress=record, letters=letters),
            is_patient=not letters,
        )

    async def dead_letters(
        self, target_id: TargetId, *, after: int = 0, limit: int, queued_only: bool = False
    ) -> DeadLetterPage:
        """Give dead letters whose id is above ``after``."""
        return await self._reader.call(
            partial(_read_letters, target_id=target_id, after=after, limit=limit, queued_only=queued_only)
        )

    async def queue_dead_letters(self, target_id: TargetId, letter_id: int | None) -> int:
        """Mark dead letters to be sent once more."""
        return await self._writer.call(partial(_queue_letters, target_id=target_id, letter_id=letter_id))

    async def finish_dead_letter(self, letter: DeadLetter, *, reason: str | None) -> None:
        """Forget a letter that was delivered, or note why it was not."""
        if reason is None:
            work = partial(_execute, query="DELETE FROM dead_letters WHERE id = ?", values=(letter.id,))
        else:
            record = encode(replace(letter, tries=letter.tries + 1, reason=reason, queued=False))
            update = "UPDATE dead_letters SET record = ?, is_queued = 0 WHERE id = ?"
            work = partial(_execute, query=update, values=(record, letter.id))
        await self._writer.call(work)


# --- in threads ---


def _execute(database: apsw.Cursor, *, query: str, values: tuple[object, ...]) -> None:
    database.execute(query, values)


def _delete_target(database: apsw.Cursor, *, target_id: TargetId) -> None:
    database.execute(f"DELETE FROM dead_letters WHERE {_OWN}", (target_id,))
    database.execute("DELETE FROM webhook_targets WHERE target_id = ?", (target_id,))


def _read_targets(database: apsw.Cursor) -> list[tuple[WebhookTarget, Progress]]:
    found: list[Any] = database.execute("SELECT record, progress FROM webhook_targets ORDER BY id").fetchall()
    return [(decode_target(record), decode_progress(progress)) for record, progress in found]


def _save_progress(
    database: apsw.Cursor, *, target_id: TargetId, progress: bytes, letters: Sequence[bytes]
) -> None:
    query = "SELECT id FROM webhook_targets WHERE target_id = ?"
    found = database.execute(query, (target_id,)).fetchone()
    if found is None:
        return
    database.execute("UPDATE webhook_targets SET progress = ? WHERE id = ?", (progress, found[0]))
    for letter in letters:
        insert = "INSERT INTO dead_letters (target, is_queued, record) VALUES (?, 0, ?)"
        database.execute(insert, (found[0], letter))
    if letters:
        oldest = "SELECT id FROM dead_letters WHERE target = ? ORDER BY id DESC LIMIT -1 OFFSET ?"
        database.execute(
            f"DELETE FROM dead_letters WHERE id IN ({oldest})",
            (found[0], MAX_DEAD_LETTERS),
        )


def _read_letters(
    database: apsw.Cursor, *, target_id: TargetId, after: int, limit: int, queued_only: bool
) -> DeadLetterPage:
    chosen = f"{_OWN} AND is_queued >= ?"
    values = (target_id, int(queued_only))
    page = f"SELECT id, is_queued, record FROM dead_letters WHERE {chosen} AND id > ? ORDER BY id LIMIT ?"
    found: list[Any] = database.execute(page, (*values, after, limit)).fetchall()
    count = f"SELECT count(*) FROM dead_letters WHERE {chosen}"
    ((total,),) = list[Any](database.execute(count, values))
    return DeadLetterPage(
        letters=tuple(
            replace(decode_letter(record), id=number, queued=bool(is_queued))
            for number, is_queued, record in found
        ),
        total=total,
    )


def _queue_letters(database: apsw.Cursor, *, target_id: TargetId, letter_id: int | None) -> int:
    query = f"UPDATE dead_letters SET is_queued = 1 WHERE {_OWN} AND (? IS NULL OR id = ?)"
    database.execute(query, (target_id, letter_id, letter_id))
    return int(database.connection.changes())
