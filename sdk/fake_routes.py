"""The HTTP routes of push workers as a `FakeOrchestrator` serves them, with the checks of the real one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final, TypeVar
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from sdk.wire import RECORDER_SERVICE, ErrorBody, Heartbeat, Ready, Register, Registered

MAX_NAME: Final = 128  # characters
_FORBIDDEN: Final = frozenset("#\x7f" + "".join(map(chr, range(32))))
_WORDS: Final = {404: "NotFound", 405: "MethodNotAllowed"}
_Shape = TypeVar("_Shape", Register, Heartbeat, Ready)
_Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RefusalError(Exception):
    """An answer with the one error body."""

    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error = error


class FakeRoutes:
    """Registrations, heartbeats and `ready`; what was heard is in lists that only grow."""

    def __init__(self, registers: Callable[[], int]) -> None:
        """Make the routes; ``registers`` gives the status that registrations are answered with."""
        self._registers = registers
        self.registrations: list[Register] = []
        self.heartbeats: list[Heartbeat] = []
        self.ready_sessions: list[str] = []
        self.services: dict[str, str] = {}  # by session: the service that has a job in it
        self._workers: dict[str, str] = {}  # service by worker id

    def forget_workers(self) -> None:
        """Forget who registered."""
        self._workers.clear()

    def take_worker_id(self, worker_id: str, service_id: str) -> str:
        """Register a worker of either mode; gives why not, "" when it is registered."""
        holder = self._workers.setdefault(worker_id, service_id)
        if holder != service_id:
            return f"worker_id {worker_id!r} is registered for service {holder!r}; choose another"
        return ""

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_post("/api/v1/microservices/register", self._register)
        app.router.add_post("/api/v1/microservices/{service_id}/heartbeat", self._heartbeat)
        app.router.add_post("/api/v1/sessions/{session_id}/ready", self._ready)

    async def _register(self, request: web.Request) -> web.Response:
        body = await _read(request, Register)
        self.registrations.append(body)
        if (status := self._registers()) != 200:
            raise RefusalError(status, "Scripted", "the test wants it so")
        problem = name_problem(body.service_id, "service_id") or _endpoint_problem(body.endpoint)
        if body.worker_id is not None:
            problem = problem or name_problem(body.worker_id, "worker_id")
        if body.service_id == RECORDER_SERVICE:
            problem = problem or "service_id: a recorder connects by /api/v1/workers/connect"
        if body.capacity is not None and body.capacity < 1:
            problem = problem or f"capacity: {body.capacity} is less than 1"
        problem = problem or self.take_worker_id(body.worker_id or body.service_id, body.service_id)
        if problem:
            raise _invalid(problem)
        message = "Microservice registered successfully"
        return _json(Registered(success=True, service_id=body.service_id, message=message))

    async def _heartbeat(self, request: web.Request) -> web.Response:
        body = await _read(request, Heartbeat) if request.can_read_body else Heartbeat()
        self.heartbeats.append(body)
        if body.load is not None and not 0 <= body.load <= 1:
            raise _invalid(f"load: {body.load:g} is out of range")
        service_id = request.match_info["service_id"]
        worker_id = body.worker_id or service_id
        if self._workers.get(worker_id) != service_id:
            raise RefusalError(404, "MicroserviceNotFound", f"worker {worker_id!r} is not registered")
        return _json({"success": True, "service_id": service_id, "status": "Registered"})

    async def _ready(self, request: web.Request) -> web.Response:
        body = await _read(request, Ready)
        session_id = request.match_info["session_id"]
        if session_id not in self.services:
            raise RefusalError(404, "SessionNotFound", f"Session not found: {session_id}")
        if self.services[session_id] != body.service_id:
            raise RefusalError(
                409, "IllegalTransition", f"session {session_id} has no worker for {body.service_id!r}"
            )
        self.ready_sessions.append(session_id)
        answer = {"success": True, "message": "Service marked as ready", "all_services_ready": True}
        return _json(answer)


@web.middleware
async def one_error_body(request: web.Request, handler: _Answer) -> web.StreamResponse:
    """Answer refusals, the framework's own included, as every program of Greenroom does."""
    try:
        return await handler(request)
    except RefusalError as refusal:
        return _error(refusal.status, refusal.error, str(refusal))
    except web.HTTPException as error:
        answer = _error(error.status, _WORDS.get(error.status, "InvalidRequest"), error.reason)
        answer.headers.update({name: error.headers[name] for name in ("Allow",) if name in error.headers})
        return answer


def name_problem(name: str, what: str) -> str:
    """Say why this is no name of a service or a worker; "" when it is one."""
    is_name = bool(name.strip()) and len(name) <= MAX_NAME and _FORBIDDEN.isdisjoint(name)
    return "" if is_name else f"{what} {name[:40]!r} is no name of 1 to {MAX_NAME} characters without '#'"


def _endpoint_problem(endpoint: str) -> str:
    try:
        url = urlsplit(endpoint)
        is_url = url.scheme in ("http", "https") and bool(url.hostname) and url.username is None
    except ValueError:
        is_url = False
    return "" if is_url else f"endpoint: {endpoint[:80]!r} is no http(s) address"


async def _read(request: web.Request, shape: type[_Shape]) -> _Shape:
    if request.content_type != "application/json":
        raise RefusalError(415, "UnsupportedMediaType", "the body must be application/json")
    try:
        return msgspec.json.decode(await request.read(), type=shape)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusalError(400, "InvalidRequest", f"Invalid request: {error}") from None


def _invalid(problem: str) -> RefusalError:
    return RefusalError(422, "InvalidRequest", f"Invalid request: {problem}")


def _json(answer: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(answer), content_type="application/json")


def _error(status: int, error: str, message: str) -> web.Response:
    timestamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    body = ErrorBody(error=error, message=message, timestamp=timestamp, code=status)
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")
