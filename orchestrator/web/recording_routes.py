"""Routes of the catalog: which recordings there are, and what was decided about keeping them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import msgspec
from aiohttp import web
from msgspec import Struct

from orchestrator.core.catalog import CatalogEntry
from orchestrator.core.ids import RecordingId, SessionId
from orchestrator.core.recording import RecordingStatus
from orchestrator.web.bodies import read_json, read_optional_json
from orchestrator.web.errors import FieldProblem, FieldsError, rfc3339
from orchestrator.web.query_numbers import MAX_CURSOR, query_number
from orchestrator.web.services import SERVICES

RECORDINGS: Final = 100  # in one answer, unless the caller wants fewer
DELETED_WITHIN_S: Final = 2.0  # the answer waits so long for the end of a deletion
CALLER: Final = "caller"  # who asks, as long as nobody says who that is
MAX_BY: Final = 256  # characters, as docs/RECORDING.md §5.3 limits both
MAX_REASON: Final = 1000

_encode = msgspec.json.Encoder().encode


class PlaceHold(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST …/legal-hold`."""

    by: str
    reason: str


class ReleaseHold(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `DELETE …/legal-hold`; may be left out."""

    by: str = CALLER
    reason: str = "released"


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
    recordings = [entry_view(entry, services.keeping.kept) for entry in page.entries]
    return _json({"recordings": recordings, "total": page.total, "limit": limit, "next_cursor": next_cursor})


async def delete_recording(request: web.Request) -> web.Response:
    """Delete an ended recording for good, keys first; 202 while it lasts. `?purge=true`: its row goes too."""
    services = request.app[SERVICES]
    recording_id = RecordingId(request.match_info["recording_id"])
    is_purge = _flag(request, "purge")
    custodian = services.keeping.custodian
    await custodian.delete(recording_id, by=CALLER, is_purge=is_purge)
    entry = await custodian.until_deleted(recording_id, DELETED_WITHIN_S)
    if entry is None:
        return _json({"recording_id": recording_id, "state": "deleted", "purged": True})
    return _json(entry_view(entry, None), status=202 if entry.custody.is_being_deleted else 200)


async def hold_recording(request: web.Request) -> web.Response:
    """Put a recording under legal hold: until it is released nothing of it is deleted."""
    services = request.app[SERVICES]
    body = await read_json(request, PlaceHold)
    problems = [*_text_problems("by", body.by, MAX_BY), *_text_problems("reason", body.reason, MAX_REASON)]
    if problems:
        raise FieldsError(problems)
    recording_id = RecordingId(request.match_info["recording_id"])
    entry = await services.keeping.custodian.hold(recording_id, by=body.by, reason=body.reason)
    return _json(entry_view(entry, services.keeping.kept))


async def release_recording(request: web.Request) -> web.Response:
    """Release a recording from its legal hold; one that is not held stays so."""
    services = request.app[SERVICES]
    body = await read_optional_json(request, ReleaseHold)
    problems = [*_text_problems("by", body.by, MAX_BY), *_text_problems("reason", body.reason, MAX_REASON)]
    if problems:
        raise FieldsError(problems)
    recording_id = RecordingId(request.match_info["recording_id"])
    entry = await services.keeping.custodian.release(recording_id, by=body.by, reason=body.reason)
    return _json(entry_view(entry, services.keeping.kept))


async def get_recording(request: web.Request) -> web.Response:
    """Give a recording: its state, the tree head of each attempt, who holds or deleted it."""
    services = request.app[SERVICES]
    entry = await services.catalog.entry(RecordingId(request.match_info["recording_id"]))
    return _json(entry_view(entry, services.keeping.kept))


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
            "detail": deletion.detail,
        },
    }


def _flag(request: web.Request, name: str) -> bool:
    word = request.query.get(name, "false")
    if word not in ("true", "false"):
        raise FieldsError([FieldProblem(name, f"{word[:20]!r} is neither true nor false")])
    return word == "true"


def _text_problems(name: str, text: str, most: int) -> list[FieldProblem]:
    if not text.strip():
        return [FieldProblem(name, f"is empty; give 1 to {most} characters")]
    if len(text) > most:
        return [FieldProblem(name, f"has {len(text)} characters; the limit is {most}")]
    if any(ord(character) < 0x20 for character in text):
        return [FieldProblem(name, "contains a control character; leave it out")]
    return []


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
