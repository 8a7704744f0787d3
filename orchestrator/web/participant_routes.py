"""Routes of who is in a room: look, and remove."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from aiohttp import web

from orchestrator.core.admission import refusal
from orchestrator.core.ids import Identity, SessionId, name_problem
from orchestrator.web.errors import FieldProblem, FieldsError
from orchestrator.web.services import SERVICES
from orchestrator.web.session_view import participant_view

_BAR: Final = {"true": True, "false": False}

_encode = msgspec.json.Encoder().encode


async def list_participants(request: web.Request) -> web.Response:
    """Give who is in the room, asked of LiveKit now, and who is kept out."""
    sessions = request.app[SERVICES].sessions
    session_id = SessionId(request.match_info["session_id"])
    present = await sessions.participants(session_id)
    session = await sessions.get(session_id)
    return _json(
        {
            "session_id": session_id,
            # Who is not admitted is about to be put out, and counts for nothing.
            "participants": [
                participant_view(p) | {"admitted": refusal(session, p) is None} for p in present
            ],
            "barred": sorted(identity for identity, s in session.standings.items() if s.is_barred),
        }
    )


async def remove_participant(request: web.Request) -> web.Response:
    """Put somebody out and keep them out (`?bar=false`: they may ask for a new token)."""
    identity, bar = request.match_info["identity"], request.query.get("bar", "true")
    problems = []
    if problem := name_problem(identity.replace("#", ""), what="identity"):
        problems.append(FieldProblem("identity", problem))
    if bar not in _BAR:
        problems.append(FieldProblem("bar", f"{bar[:40]!r} is neither true nor false; leave it out for true"))
    if problems:
        raise FieldsError(problems)
    session = await request.app[SERVICES].sessions.remove(
        SessionId(request.match_info["session_id"]), Identity(identity), is_barred=_BAR[bar]
    )
    standing = session.standings.get(Identity(identity))
    return _json(
        {
            "session_id": session.id,
            "identity": identity,
            "barred": standing is not None and standing.is_barred,  # a worker never is
        }
    )


def _json(answer: dict[str, Any]) -> web.Response:
    return web.Response(body=_encode(answer), content_type="application/json")
