"""Routes of the catalog: which recordings there are, and what was decided about keeping them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import msgspec
from aiohttp import web

from orchestrator.core.catalog import CatalogEntry
from orchestrator.core.ids import RecordingId, SessionId
from orchestrator.core.recording import RecordingStatus
from orchestrator.web.errors import FieldProblem, FieldsError, rfc3339
from orchestrator.web.query_numbers import MAX_CURSOR, query_number
from orchestrator.web.services import SERVICES

RECORDINGS: Final = 100  # in one answer, unless the caller wants fewer

_encode = msgspec.json.Encoder().encode


async def list_recordings(request: web.Request) -> web.Response:
    """List recordings, newest first: `?session_id=`, `?state=`, `?limit=`, `?cursor=` (`next_cursor`)."""
    services = request.app[SERVICES]
    limit = query_number(request, "limit", RECORDINGS, most=RECORDINGS)
    before = query_number(request, "cursor", MAX_CURSOR, most=MAX_CURSOR)
    session_id = request.query.get("session_id")
    page = await services.catalog.entries(
        limit=limit,
        before=before,
        session_id=None if session_id is None else SessionId(session_id),
        status=_status(request.query.get("state")),
    )
    next_cursor = str(page.entries[-1].number) if len(page.entries) == limit else None
    recordings = [entry_view(entry, None) for entry in page.entries]
    return _json({"recordings": recordings, "total": page.total, "limit": limit, "next_cursor": next_cursor})


async def get_recording(request: web.Request) -> web.Response:
    """Give a recording: its state, the tree head of each attempt, who holds or deleted it."""
    services = request.app[SERVICES]
    entry = await services.catalog.entry(RecordingId(request.match_info["recording_id"]))
    return _json(entry_view(entry, None))


def entry_view(entry: CatalogEntry, retention: timedelta | None) -> dict[str, Any]:
    """Give a recording as clients see it."""
    record, hold, deletion = entry.record, entry.custody.hold, entry.custody.deletion
    until = entry.retained_until(retention)
    return {
        "recording_id": record.recording_id,
        "session_id": record.session_id,
        "state": entry.status.value,
        "mode": record.mode or None,
        "store": record.store,
        "started_at": rfc3339(entry.started_at),
        "ended_at": None if entry.ended_at is None else rfc3339(entry.ended_at),
        "duration_s": record.stats.get("duration_s", 0.0),
        "bytes": entry.used_bytes,
        "checkpoints": [{"attempt": c.attempt, "size": c.size, "root": c.root} for c in record.checkpoints],
        "stats": record.stats,
        "detail": record.detail,
        "retained_until": None if until is None else rfc3339(until),
        "legal_hold": None
        if hold is None
        else {"by": hold.by, "reason": hold.reason, "since": rfc3339(hold.since)},
        "deletion": None
        if deletion is None
        else {
            "cause": deletion.cause,
            "by": deletion.by,
            "asked_at": rfc3339(deletion.asked_at),
            "done_at": None if deletion.done_at is None else rfc3339(deletion.done_at),
        },
    }


def _status(word: str | None) -> RecordingStatus | None:
    if word is None:
        return None
    try:
        return RecordingStatus(word)
    except ValueError:
        known = ", ".join(status.value for status in RecordingStatus)
        problem = f"{word[:20]!r} is no state of a recording; choose of: {known}"
        raise FieldsError([FieldProblem("state", problem)]) from None


def _json(answer: object, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=_encode(answer), content_type="application/json")
