"""Routes of sessions: create, look, token, ready, end, and their events."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
from aiohttp import web

from orchestrator.core.events import SessionReady, encode_data
from orchestrator.core.ids import Identity, ServiceId, SessionId
from orchestrator.core.session import Session
from orchestrator.core.states import RoomStatus
from orchestrator.service.feed import sse_frame
from orchestrator.service.new_session import CreatedSession
from orchestrator.web.bodies import read_json
from orchestrator.web.errors import DrainingError, NotAcceptableError, rfc3339
from orchestrator.web.middleware import IS_STREAM
from orchestrator.web.request_keys import request_key
from orchestrator.web.services import SERVICES, Services
from orchestrator.web.session_checks import IsService, check_token_request, new_session
from orchestrator.web.session_view import session_json
from orchestrator.web.sse import STREAM_HEADERS, WRITE_DEADLINE_S, EventStreams, write_frames
from sdk.wire import CreateSession, Ready, SessionCreated, TokenGranted, TokenRequest

STREAMS: Final = web.AppKey("streams", EventStreams)
WAITING_S: Final = 0.5  # between the `waiting` frames of the streaming create
_WAITING: Final = sse_frame("waiting", b'{"status":"waiting_for_participants"}')
_READY: Final = (RoomStatus.READY, RoomStatus.ACTIVE)

_encode = msgspec.json.Encoder().encode


async def create_session(request: web.Request) -> web.Response:
    """Create a session and its room; the answer carries the client's token."""
    services = request.app[SERVICES]
    body = await read_json(request, CreateSession)
    key = await request_key(request, "create-session")
    _refuse_while_stopping(services)
    created = await services.repeats.create(
        lambda: new_session(body, _is_registered(services)), key, wait_s=body.wait_s
    )
    return _json(_encode(_created(created)))


async def streaming_create(request: web.Request) -> web.StreamResponse:
    """Create a session and tell by Server-Sent Events when it is ready; then the stream ends."""
    services = request.app[SERVICES]
    if "text/event-stream" not in request.headers.get("Accept", ""):
        raise NotAcceptableError(
            "this route answers as text/event-stream; say so in Accept, or use POST /api/v1/create-session"
        )
    body = await read_json(request, CreateSession)
    key = await request_key(request, "sessions")
    _refuse_while_stopping(services)
    created = await services.repeats.create(
        lambda: new_session(body, _is_registered(services)), key, wait_s=None
    )
    request[IS_STREAM] = True
    response = web.StreamResponse(headers=STREAM_HEADERS)
    await response.prepare(request)
    data = _encode({"type": "SessionCreated", **msgspec.to_builtins(_created(created))})
    await write_frames(response, sse_frame("session_created", data))
    await _tell_until_ready(response, services, created.session.id)
    await asyncio.wait_for(response.write_eof(), WRITE_DEADLINE_S)
    return response


async def get_session(request: web.Request) -> web.Response:
    """Give a session as last committed."""
    services = request.app[SERVICES]
    session = await services.sessions.get(_session_id(request))
    return _json(session_json(session, services.dispatch.why_waiting))


async def terminate_session(request: web.Request) -> web.Response:
    """End a session; ending it again is the same answer."""
    services = request.app[SERVICES]
    key = await request_key(request, "terminate")
    session = await services.repeats.terminate(_session_id(request), key)
    return _json(session_json(session, services.dispatch.why_waiting))


async def give_token(request: web.Request) -> web.Response:
    """Mint or renew a room token by role; refused once the session ends."""
    services = request.app[SERVICES]
    body = await read_json(request, TokenRequest)
    session = await services.sessions.get(_session_id(request))
    is_registered = _is_registered(services)
    check_token_request(body, lambda name: session.job_of(name) is not None or is_registered(name))
    token = await services.sessions.token(
        session.id, Identity(body.user_identity), body.user_name or "", body.role
    )
    granted = TokenGranted(
        access_token=token.jwt,
        expires_at=rfc3339(token.expires_at),
        livekit_url=session.livekit_url,
        room_name=session.room_name,
    )
    return _json(_encode(granted))


async def service_ready(request: web.Request) -> web.Response:
    """Take a service's word that it is ready."""
    body = await read_json(request, Ready)
    sessions = request.app[SERVICES].sessions
    session = await sessions.service_ready(_session_id(request), ServiceId(body.service_id))
    answer = {
        "success": True,
        "message": "Service marked as ready",
        "all_services_ready": not session.missing_services,
    }
    return _json(_encode(answer))


async def session_events(request: web.Request) -> web.StreamResponse:
    """Stream one session's events; ends when the session is over and all is told."""
    return await request.app[STREAMS].serve(request, _session_id(request))


async def all_events(request: web.Request) -> web.StreamResponse:
    """Stream all events, from the head on unless asked otherwise."""
    return await request.app[STREAMS].serve(request, None)


async def _tell_until_ready(response: web.StreamResponse, services: Services, session_id: SessionId) -> None:
    with services.sessions.live.changes(session_id) as changed:
        while True:
            changed.clear()
            session = await services.sessions.get(session_id)
            last = _last_frame(session, is_stopping=services.feed.is_stopping)
            await write_frames(response, last or _WAITING)
            if last is not None:
                return
            try:
                await asyncio.wait_for(changed.wait(), WAITING_S)
            except TimeoutError:
                pass


def _last_frame(session: Session, *, is_stopping: bool) -> bytes | None:
    """Give the frame that ends a streaming create, or None while there is something to wait for."""
    if session.room_status in _READY:
        missing = session.missing_services
        ready = SessionReady(
            session_id=session.id, all_participants_joined=not missing, missing_services=missing
        )
        return sse_frame(ready.name, encode_data(ready))
    if session.is_live and not is_stopping:
        return None
    message = (
        "this instance stops; the session goes on"
        if session.is_live
        else f"the session ended: {session.end_reason}"
    )
    return sse_frame("error", _encode({"type": "Error", "session_id": session.id, "message": message}))


def _created(created: CreatedSession) -> SessionCreated:
    session = created.session
    return SessionCreated(
        session_id=session.id,
        room_name=session.room_name,
        access_token=created.token.jwt,
        livekit_url=created.livekit_url,
        status=session.room_status.value,
        missing_services=list(session.missing_services),
    )


def _is_registered(services: Services) -> IsService:
    return lambda name: bool(services.registry.of_service(name))


def _refuse_while_stopping(services: Services) -> None:
    if services.feed.is_stopping:
        raise DrainingError("this instance is stopping; try again, or another instance")


def _session_id(request: web.Request) -> SessionId:
    return SessionId(request.match_info["session_id"])


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")
