"""The HTTP server under the application: what aiohttp itself leaves open is bounded and answered here.

aiohttp waits for ever for the head of a request, and answers what is no HTTP in its own words.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from orchestrator.core.errors import SettingsError
from orchestrator.web.errors import bad_http_problem, error_response, internal_problem

HEAD_DEADLINE_S: Final = 10.0  # for the first request of a connection
IDLE_S: Final = 75.0  # a connection without a request, and a later request's head, may take so long
LINGER_S: Final = 2.0  # reading on what a refused client still sends
BACKLOG: Final = 1024

log = structlog.get_logger(__name__)


class EdgeConnection(RequestHandler):
    """One connection: closed when its first request does not come, and never answered in text."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the deadline for the first request's head."""
        super().connection_made(transport)
        self._loop.call_later(HEAD_DEADLINE_S, self._close_silent)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what never became a request of the application, and close."""
        if request.writer.output_size > 0:
            raise ConnectionResetError  # an answer has begun: nothing can be said any more
        problem = bad_http_problem(status) if status < 500 else internal_problem()
        request_id = secrets.token_hex(8)
        if status >= 500:
            log.error("connection_failed", request_id=request_id, exc_info=exc)
        response = error_response(problem, request_id)
        response.headers["X-Request-ID"] = request_id
        response.force_close()
        return response

    def _close_silent(self) -> None:
        if self._request_count == 0 and self.transport is not None:
            self.force_close()


class EdgeServer(web.Server):
    """Makes our connections."""

    def __call__(self) -> RequestHandler:
        """Make the protocol of a new connection."""
        return EdgeConnection(self, loop=self._loop, **self._kwargs)


class EdgeRunner(web.AppRunner):
    """Runs an application on our server."""

    __slots__ = ()

    def __init__(self, app: web.Application, *, shutdown_timeout: float) -> None:
        super().__init__(
            app,
            access_log=None,
            shutdown_timeout=shutdown_timeout,
            keepalive_timeout=IDLE_S,
            lingering_time=LINGER_S,
        )

    async def _make_server(self) -> web.Server:
        plain = await super()._make_server()  # tells how requests reach the application
        return EdgeServer(
            plain.request_handler,
            request_factory=plain.request_factory,
            loop=asyncio.get_running_loop(),
            **plain._kwargs,
        )


@asynccontextmanager
async def listening(
    app: web.Application, host: str, port: int, *, shutdown_timeout_s: float
) -> AsyncIterator[int]:
    """Serve the application while the block lasts; gives the port.

    Args:
        app: from `build_app`.
        host: address to listen on.
        port: 0 takes a free one.
        shutdown_timeout_s: how long running requests are given at the end.

    Raises:
        SettingsError: the address cannot be listened on.
    """
    runner = EdgeRunner(app, shutdown_timeout=shutdown_timeout_s)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, backlog=BACKLOG)
        try:
            await site.start()
        except OSError as error:
            raise SettingsError(
                f"server.port (SERVER_PORT) = {port}: cannot listen on {host}:{port} ({error.strerror}); "
                "stop what uses it or choose another port"
            ) from None
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
