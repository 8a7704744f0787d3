"""Routes that control the recording of a session, and tell how it stands."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from aiohttp import web
from msgspec import Struct

from orchestrator.core.ids import SessionId
from orchestrator.core.recording import FORMATS, LAYOUTS, MODES, QUALITIES, Manner, Operation
from orchestrator.core.session import Session
from orchestrator.web.bodies import read_json
from orchestrator.web.errors import FieldProblem, FieldsError
from orchestrator.web.request_keys import request_key
from orchestrator.web.services import SERVICES
from orchestrator.web.session_view import recording_view

E2EE_KEY: Final = "e2ee_key"
MAX_E2EE_KEY_BYTES: Final = 1024
_encode = msgspec.json.Encoder().encode
_WORDS: Final = {"mode": MODES, "quality": QUALITIES, "format": FORMATS, "layout": LAYOUTS}


class StartRecording(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /api/v1/record/start`; of what is absent the setting counts."""

    session_id: str
    mode: str | None = None
    quality: str | None = None
    format: str | None = None
    layout: str | None = None
    e2ee_key: str | None = None


class ControlRecording(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of the other three."""

    session_id: str


async def start_recording(request: web.Request) -> web.Response:
    """Record a session in a mode, quality, format and layout; while one runs, that one is the answer."""
    services = request.app[SERVICES]
    body = await read_json(request, StartRecording)
    manner = _manner(body)
    # A hash of a passphrase can be guessed at leisure: it is no part of what a repeat is known by.
    key = await request_key(request, "record/start", but=E2EE_KEY)
    e2ee_key = _e2ee_key(body)
    control = services.recording_control
    return _answer(await control.start(SessionId(body.session_id), manner, key, e2ee_key=e2ee_key))


async def stop_recording(request: web.Request) -> web.Response:
    """Stop the capture; what is stored is completed while the session goes on."""
    return await _control(request, "stop")


async def pause_recording(request: web.Request) -> web.Response:
    """Write nothing of the session until the recording is resumed."""
    return await _control(request, "pause")


async def resume_recording(request: web.Request) -> web.Response:
    """Go on with a recording that was paused."""
    return await _control(request, "resume")


async def recording_status(request: web.Request) -> web.Response:
    """Give how the recording of a session stands, with what was measured, and those before it."""
    sessions = request.app[SERVICES].sessions
    return _answer(await sessions.get(SessionId(request.match_info["session_id"])))


async def _control(request: web.Request, op: Operation) -> web.Response:
    services = request.app[SERVICES]
    body = await read_json(request, ControlRecording)
    key = await request_key(request, f"record/{op}")
    return _answer(await services.recording_control.control(SessionId(body.session_id), op, key))


def _manner(body: StartRecording) -> Manner:
    """Check how the recording is asked for.

    Raises:
        FieldsError: a word that means nothing; all of them are named.
    """
    given = {name: getattr(body, name) for name in _WORDS}
    problems = [
        FieldProblem(
            name, f"{given[name][:40]!r} is no {name}; give one of {', '.join(words)}, or leave it out"
        )
        for name, words in _WORDS.items()
        if given[name] is not None and given[name] not in words
    ]
    if problems:
        raise FieldsError(problems)
    return Manner(**{name: word or "" for name, word in given.items()})


def _e2ee_key(body: StartRecording) -> str:
    """Check the room's key; it is never repeated, not even in a refusal."""
    if body.e2ee_key is None:
        return ""
    if not 0 < (size := len(body.e2ee_key.encode(errors="replace"))) <= MAX_E2EE_KEY_BYTES:
        raise FieldsError(
            [FieldProblem(E2EE_KEY, f"has {size} bytes; give 1 to {MAX_E2EE_KEY_BYTES}, or leave it out")]
        )
    return body.e2ee_key


def _answer(session: Session) -> web.Response:
    return web.Response(body=_encode(status_view(session)), content_type="application/json")


def status_view(session: Session) -> dict[str, Any]:
    """Give the recording facet of a session and what belongs to it."""
    recording = session.recording
    shown: dict[str, Any] = {} if recording is None else recording_view(recording)
    stats = shown.pop("stats", {})
    return {
        "session_id": session.id,
        "recording_id": None,
        "recording_status": shown.pop("status", "idle"),
        **shown,
        "statistics": {**stats, **_bitrate(stats)},
        "earlier_recordings": [recording_view(earlier) for earlier in session.earlier_recordings],
    }


def _bitrate(stats: dict[str, float]) -> dict[str, float]:
    """Give the mean of what was stored, in bits per second, where anything was measured."""
    if not stats.get("duration_s"):
        return {}
    return {"bitrate_bps": round(8 * stats.get("bytes", 0.0) / stats["duration_s"], 1)}
