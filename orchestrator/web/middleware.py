"""Around every request: a request id, the one error body, numbers, CORS, and no caching of answers."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from orchestrator.web.browser_checks import BrowserChecks
from orchestrator.web.errors import error_response, internal_problem, problem_of
from orchestrator.web.metrics import Metrics

REQUEST_ID: Final = web.RequestKey("request_id", str)
IS_STREAM: Final = web.RequestKey("is_stream", bool)  # answers that last: not in the request histogram

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PREFLIGHT_S: Final = "600"

log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def edge_middleware(metrics: Metrics, origins: tuple[str, ...], browsers: BrowserChecks) -> Middleware:
    """Make the middleware that stands around all routes, the framework's 404 and 405 included."""

    @web.middleware
    async def edge(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        request_id = request_id_of(request)
        structlog.contextvars.bind_contextvars(request_id=request_id)
        if _is_preflight(request, origins):
            return web.Response(status=204)
        try:
            browsers.check(request)
            response = await handler(request)
        except Exception as error:  # noqa: BLE001 - the edge of the request's task: answered and logged once
            response = _answer(request, error, request_id)
        if IS_STREAM not in request:
            metrics.request_done(
                _route(request), request.method, response.status, time.perf_counter() - started
            )
        return response

    return edge


def header_signal(
    origins: tuple[str, ...],
) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """Make the signal that puts our headers on every answer."""
    allowed = frozenset(origins)

    async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
        headers = response.headers
        headers["X-Request-ID"] = request.get(REQUEST_ID, "")
        headers[hdrs.SERVER] = "greenroom"
        headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
        if not allowed:
            return
        headers.add(hdrs.VARY, hdrs.ORIGIN)
        origin = request.headers.get(hdrs.ORIGIN)
        if origin in allowed:
            headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = "X-Request-ID, Retry-After"
            if request.method == hdrs.METH_OPTIONS:
                headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = "GET, POST, PUT, PATCH, DELETE"
                headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = (
                    "Content-Type, Authorization, Idempotency-Key, If-Match, Last-Event-ID, X-Request-ID"
                )
                headers[hdrs.ACCESS_CONTROL_MAX_AGE] = _PREFLIGHT_S

    return add_headers


def request_id_of(request: web.Request) -> str:
    """Give the request's id: the caller's when it is in good form, else one made now and kept."""
    if REQUEST_ID not in request:
        given = request.headers.get("X-Request-ID", "")
        request[REQUEST_ID] = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
    return request[REQUEST_ID]


def _is_preflight(request: web.Request, origins: tuple[str, ...]) -> bool:
    return (
        request.method == hdrs.METH_OPTIONS
        and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
        and request.headers.get(hdrs.ORIGIN) in origins
    )


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "none"


def _answer(request: web.Request, error: Exception, request_id: str) -> web.StreamResponse:
    route = _route(request)
    problem = problem_of(error)
    if problem is None:
        log.error("request_failed", route=route, method=request.method, exc_info=error)
        problem = internal_problem()
    elif problem.status >= 500:
        log.warning("request_not_served", route=route, method=request.method, error=str(error))
    if request.get(IS_STREAM):  # the answer has begun: nothing can be said any more, the line is cut
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError from None
    return error_response(problem, request_id)
