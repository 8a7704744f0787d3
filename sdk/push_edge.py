"""Push mode's edge: the three routes that the orchestrator calls, and registration with heartbeats."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final, Protocol, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

import aiohttp
import msgspec
from aiohttp import web

from sdk.backoff import Backoff
from sdk.edge_thread import EdgeThread
from sdk.errors import UnavailableError, WorkerRefusedError
from sdk.settings import WorkerSettings, endpoint_port, is_loopback
from sdk.wire import ErrorBody, Heartbeat, JoinedRoom, JoinRoom, LeaveRoom, Ready, Register

HEARTBEAT_S: Final = 2.0
MISSED_HEARTBEATS: Final = 3
HEALTH_S: Final = 1.0
BODY_S: Final = 10.0  # to read one request's body; aiohttp itself sets no limit
MAX_BODY_BYTES: Final = 64 * 1024
_REFUSED_STATUS: Final = frozenset({400, 401, 403, 415, 422})

_log = logging.getLogger("greenroom.sdk")
_Body = TypeVar("_Body", JoinRoom, LeaveRoom)
_Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class JobSide(Protocol):
    """What the routes ask of the jobs' side; carried out in the jobs' loop."""

    async def join(self, body: JoinRoom) -> str:
        """Join; "" when joined, else why not. Raises `LookupError` for an attempt that is over."""
        ...

    async def leave(self, body: LeaveRoom) -> bool:
        """Leave; False when there is no such session here."""
        ...

    async def is_healthy(self) -> bool:
        """Ask the author's code."""
        ...

    def load(self) -> float:
        """Give the load, 0 to 1."""
        ...


class PushEdge:
    """Listens, then registers, then beats; in the edge thread's loop."""

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        edge: EdgeThread,
        jobs: JobSide,
        on_registered: Callable[[], None],
    ) -> None:
        """Make the edge; ``on_registered`` is called in the jobs' loop at each registration."""
        assert settings.endpoint is not None
        self._settings = settings
        self._endpoint = settings.endpoint
        self._edge = edge
        self._jobs = jobs
        self._on_registered = on_registered
        self._http: aiohttp.ClientSession | None = None
        self._closing = asyncio.Event()
        self._heard_at: float | None = None
        self.is_draining = False
        self.endpoint = ""  # with the port that was got; set when it is listened on

    @property
    def last_pong_age_s(self) -> float:
        """Seconds since the sending of the last heartbeat that was answered."""
        return float("inf") if self._heard_at is None else time.monotonic() - self._heard_at

    @property
    def is_in_touch(self) -> bool:
        """Whether the orchestrator has heard us within three heartbeats."""
        return self.last_pong_age_s <= MISSED_HEARTBEATS * HEARTBEAT_S

    def close(self) -> None:
        """Say that the worker goes away, and end `run`."""
        self._closing.set()

    async def run(self) -> None:
        """Serve until `close`.

        Raises:
            OSError: the port cannot be listened on.
            WorkerRefusedError: the orchestrator will not register this worker.
        """
        runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=2.0)
        await runner.setup()
        try:
            await self._listen(runner)
            timeout = aiohttp.ClientTimeout(total=self._settings.request_timeout)
            async with aiohttp.ClientSession(timeout=timeout) as self._http:
                await self._stay_registered()
        finally:
            await runner.cleanup()

    async def say_ready(self, session_id: str) -> None:
        """Tell the orchestrator that this service is ready in a session.

        Raises:
            UnavailableError: it did not take it.
        """
        body = Ready(service_id=self._settings.service_id)
        status = await self._post(f"/api/v1/sessions/{quote(session_id, safe='')}/ready", body)
        if status is None or status >= 300:
            raise UnavailableError(f"the orchestrator did not take `ready` ({status or 'no answer'})")

    # --- what the orchestrator calls ---

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_one_error_body])
        for prefix in dict.fromkeys(["", urlsplit(self._endpoint).path]):
            app.router.add_post(f"{prefix}/join-room", self._join)
            app.router.add_post(f"{prefix}/leave-room", self._leave)
            app.router.add_get(f"{prefix}/health", self._health)
        return app

    async def _join(self, request: web.Request) -> web.Response:
        body = await _read(request, JoinRoom)
        if body.service_identity != self._settings.service_id:
            raise _RefusalError(
                422, f"Invalid request: service_identity {body.service_identity!r} is not served here"
            )
        try:
            why_not = await self._edge.ask_jobs(self._jobs.join(body))
        except LookupError:
            raise _RefusalError(409, "A newer attempt of this session's job is here", "Conflict") from None
        if why_not:
            return web.Response(status=500, text=f"Failed to join room: {why_not}")
        joined = JoinedRoom(
            success=True,
            message="Successfully joined room",
            session_id=body.session_id,
            service_id=body.service_identity,
        )
        return _json(joined)

    async def _leave(self, request: web.Request) -> web.Response:
        body = await _read(request, LeaveRoom)
        if not await self._edge.ask_jobs(self._jobs.leave(body)):
            raise _RefusalError(404, f"Session not found: {body.session_id}", "SessionNotFound")
        return _json({"success": True, "message": "Left room", "session_id": body.session_id})

    async def _health(self, request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(HEALTH_S):
                is_healthy = await self._edge.ask_jobs(self._jobs.is_healthy())
        except TimeoutError:
            # A busy loop is no sick worker until the limit; a health hook that hangs in a free loop is one.
            lag_s = self._edge.jobs_loop_lag_s
            is_healthy = 0.0 < lag_s <= self._settings.busy_limit_s
        if is_healthy:
            return _json({"status": "healthy"})
        return web.Response(status=503, text="Health check failed: the worker cannot serve now")

    # --- what we call ---

    async def _listen(self, runner: web.AppRunner) -> None:
        url = urlsplit(self._endpoint)
        host = self._settings.bind_host or (
            url.hostname if url.hostname and is_loopback(url.hostname) else "0.0.0.0"  # noqa: S104
        )
        port = endpoint_port(self._endpoint)
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise OSError(error.errno, f"cannot listen on {host}:{port} for {self._endpoint}") from None
        if port == 0:
            real = runner.addresses[0][1]
            name = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
            self.endpoint = urlunsplit((url.scheme, f"{name}:{real}", url.path, "", ""))
        else:
            self.endpoint = self._endpoint

    async def _stay_registered(self) -> None:
        await self._register()
        path = f"/api/v1/microservices/{quote(self._settings.service_id, safe='')}/heartbeat"
        while not self._closing.is_set():
            await self._rest(HEARTBEAT_S)
            if self._edge.jobs_loop_lag_s > self._settings.busy_limit_s and not self._closing.is_set():
                continue  # stuck: better that the orchestrator notices
            beat = Heartbeat(
                worker_id=self._settings.worker_id,
                load=self._jobs.load(),
                draining=self.is_draining or self._closing.is_set(),
            )
            sent_at = time.monotonic()
            status = await self._post(path, beat, timeout_s=HEARTBEAT_S)
            if status is not None and 200 <= status < 300:
                self._heard_at = sent_at
            elif status == 404 and not self._closing.is_set():
                _log.warning("the orchestrator has forgotten this worker; it registers again")
                await self._register()

    async def _register(self) -> None:
        settings = self._settings
        body = Register(
            service_id=settings.service_id,
            endpoint=self.endpoint,
            metadata=dict(settings.metadata) or None,
            worker_id=settings.worker_id,
            capacity=settings.capacity,
            in_default=settings.in_default,
            capabilities=dict(settings.capabilities) or None,
        )
        backoff = Backoff()
        while not self._closing.is_set():
            sent_at = time.monotonic()
            status = await self._post("/api/v1/microservices/register", body)
            if status is not None and 200 <= status < 300:
                self._heard_at = sent_at
                self._edge.call_jobs(self._on_registered)
                return
            if status in _REFUSED_STATUS:
                raise WorkerRefusedError(
                    f"{settings.orchestrator_url} refuses to register {self.endpoint} (HTTP {status})"
                )
            _log.warning("not registered at %s: %s", settings.orchestrator_url, status or "no answer")
            await self._rest(backoff.next_s())

    async def _post(self, path: str, body: msgspec.Struct, *, timeout_s: float | None = None) -> int | None:
        """Give the status of a POST, None when there was no answer."""
        assert self._http is not None
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._http.post(
                    self._settings.orchestrator_url + path,
                    data=msgspec.json.encode(body),
                    headers={"Content-Type": "application/json"},
                    allow_redirects=False,
                ) as answer,
            ):
                return answer.status
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None

    async def _rest(self, delay_s: float) -> None:
        try:
            async with asyncio.timeout(delay_s):
                await self._closing.wait()
        except TimeoutError:
            pass


class _RefusalError(Exception):
    """An answer with the one error body."""

    def __init__(self, status: int, message: str, error: str = "InvalidRequest") -> None:
        super().__init__(message)
        self.status = status
        self.error = error


async def _read(request: web.Request, shape: type[_Body]) -> _Body:
    if request.content_type != "application/json":
        raise _RefusalError(415, "Expected a request with Content-Type: application/json")
    try:
        async with asyncio.timeout(BODY_S):
            text = await request.read()
    except TimeoutError:
        raise _RefusalError(408, f"The body did not arrive within {BODY_S:g} s", "Timeout") from None
    try:
        return msgspec.json.decode(text, type=shape)
    except msgspec.ValidationError as error:
        raise _RefusalError(422, f"Invalid request: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _RefusalError(400, "Invalid request: the body is not JSON") from None


@web.middleware
async def _one_error_body(request: web.Request, handler: _Answer) -> web.StreamResponse:
    try:
        return await handler(request)
    except _RefusalError as refusal:
        return _error(refusal.status, refusal.error, str(refusal))
    except web.HTTPRequestEntityTooLarge:
        return _error(413, "InvalidRequest", f"The body is larger than {MAX_BODY_BYTES} bytes")
    except web.HTTPException as error:
        name = "NotFound" if error.status == 404 else "InvalidRequest"
        return _error(error.status, name, f"{request.method} {request.path}: {error.reason}")


def _error(status: int, error: str, message: str) -> web.Response:
    timestamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return _json(ErrorBody(error=error, message=message, timestamp=timestamp, code=status), status=status)


def _json(body: object, *, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")
