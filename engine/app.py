"""The engine's HTTP side: signalling, room service, validation, and CORS for pages on other ports."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from engine.joining import bring_along, read_join
from engine.limits import JoinRefusedError
from engine.room_service import RoomService, TwirpError, error_response
from engine.rooms import Rooms
from engine.tokens import Claims, Key, TokenError, verify

SWEEP_EVERY_S: Final = 1.0
MOST_BODY: Final = 1 << 20  # bytes of a call
# Bytes of a URL, and of a header; a token that was renewed may hold all that is kept of a participant.
HTTP_LIMITS: Final[dict[str, Any]] = {"max_line_size": 1 << 20, "max_field_size": 1 << 20}

_log = logging.getLogger("greenroom.engine")

# Serves one client's WebSocket, its token checked.
Serve = Callable[[web.Request, Rooms, Claims], Awaitable[web.StreamResponse]]


def make_app(rooms: Rooms, key: Key, serve: Serve) -> web.Application:
    """Put the routes together; while it runs, rooms end by their timeouts."""
    service = RoomService(rooms)

    async def validate(request: web.Request) -> web.Response:
        claims = _claims_to_join(request, rooms, key)
        if request.path.startswith("/rtc/v1") and "join_request" not in request.query:
            raise JoinRefusedError(400, "join_request is required")
        bring_along(claims, read_join(request).request)
        return web.Response(text="success")

    async def signal(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return web.Response(status=404)
        claims = _claims_to_join(request, rooms, key)
        # Whoever gets in is handed a renewed token at once: this runs when the join is answered, not before.
        asyncio.get_running_loop().call_soon(rooms.sweep)
        return await serve(request, rooms, claims)

    async def twirp(request: web.Request) -> web.Response:
        claims = _claims(request, key)
        try:
            if request.method != "POST":
                raise TwirpError("bad_route", f'unsupported method "{request.method}" (only POST is allowed)')
            said = request.match_info
            kind = request.content_type if "Content-Type" in request.headers else ""
            return service.answer(said["service"], said["method"], kind, await request.read(), claims)
        except TwirpError as error:
            return error_response(error)

    async def sweeping(app: web.Application) -> AsyncIterator[None]:
        async def sweep() -> None:
            while True:
                await asyncio.sleep(SWEEP_EVERY_S)
                try:
                    rooms.sweep()
                except Exception:  # noqa: BLE001 - the task's edge; the next second may go better
                    _log.exception("rooms could not be looked after")

        task = asyncio.create_task(sweep())
        yield
        task.cancel()
        await asyncio.wait([task])

    app = web.Application(client_max_size=MOST_BODY, middlewares=[_cors, _refusals])
    app.add_routes(
        [
            web.get("/", _ok),
            web.get("/rtc", signal),
            web.get("/rtc/v1", signal),
            web.get("/rtc/validate", validate),
            web.get("/rtc/v1/validate", validate),
            web.route("*", "/twirp/livekit.{service}/{method}", twirp),
            web.get("/agent", _agent),
        ]
    )
    app.cleanup_ctx.append(sweeping)
    return app


async def _ok(request: web.Request) -> web.Response:
    return web.Response(text="OK")


async def _agent(request: web.Request) -> web.Response:
    return web.Response(status=501, text="the embedded engine dispatches no agents; run LiveKit")


@web.middleware
async def _cors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Let any page call: tokens, not origins, say who may."""
    wanted = request.headers.get("Access-Control-Request-Method")
    if request.method == "OPTIONS" and wanted:
        allowed = {
            "Access-Control-Allow-Origin": request.headers.get("Origin", "*"),
            "Access-Control-Allow-Methods": wanted,
            "Access-Control-Allow-Headers": request.headers.get("Access-Control-Request-Headers", ""),
            "Access-Control-Max-Age": "86400",
            "Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        }
        return web.Response(status=204, headers=allowed)
    answer = await handler(request)
    if not answer.prepared:
        answer.headers["Access-Control-Allow-Origin"] = "*"
        answer.headers["Vary"] = "Origin"
    return answer


@web.middleware
async def _refusals(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except TokenError as error:
        return web.Response(status=401, text=str(error))
    except JoinRefusedError as error:
        return web.Response(status=error.status, text=str(error))
    except web.HTTPException as error:
        return web.Response(status=error.status, text=error.text)


def _claims(request: web.Request, key: Key) -> Claims | None:
    """Give what the caller's token says, None when it brought none."""
    header = request.headers.get("Authorization")
    if header is None:
        token = request.query.get("access_token")
        return verify(token, key) if token else None
    scheme, _, token = header.partition(" ")
    if scheme != "Bearer":
        raise TokenError("invalid authorization header. Must start with Bearer ")
    return verify(token, key)


def _claims_to_join(request: web.Request, rooms: Rooms, key: Key) -> Claims:
    claims = _claims(request, key)
    if claims is None:
        raise TokenError("no permissions to access the room")
    claims.permission()
    rooms.check_join(claims)
    return claims
