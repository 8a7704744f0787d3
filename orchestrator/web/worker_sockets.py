"""The WebSocket of pull workers: frames in, frames out, and nothing of what they mean.

A worker that does not read is cut: its line has a bound, and what it missed is said again when it is back.
Source: contracts §7.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec
import structlog
from aiohttp import WSCloseCode, WSMsgType, web

from orchestrator.core.errors import OrchestratorError, OtherKeysError, WorkerIdTakenError
from orchestrator.core.ids import AGENT_PREFIX, is_agent, name_problem
from orchestrator.service.pull import HELLO_S, PullWorkers
from orchestrator.service.registry import Worker
from sdk.wire import MAX_FRAME_BYTES, Hello, OrchestratorFrame, Reconnect, decode_worker_frame, encode_frame

log = structlog.get_logger(__name__)

AGENT_REGISTERS: Final = f"a LiveKit agent registers at LiveKit; leave out '{AGENT_PREFIX}'"
_QUEUE: Final = 256  # frames waiting for a slow worker; more cuts it
_SEND_S: Final = 5.0
_RECONNECT_S: Final = 1.0  # short: whoever serves next waits 6 s for those who held jobs here
_CLOSE_S: Final = 2.0  # for the worker's answer to our close
_UNREADABLE: Final = (msgspec.DecodeError, RecursionError)  # a mistyped field and too deep a nesting too


class SocketLine:
    """The way out to one worker. `send` never waits: a full queue closes the line.

    Args:
        socket: where frames go.
        abort: drops the connection with all that is still to be sent; for one that does not read.
    """

    def __init__(self, socket: web.WebSocketResponse, abort: Callable[[], None]) -> None:
        self._socket = socket
        self._abort = abort
        self._frames: asyncio.Queue[OrchestratorFrame | None] = asyncio.Queue(_QUEUE)
        self._reason = ""
        self._code = WSCloseCode.GOING_AWAY

    def send(self, frame: OrchestratorFrame) -> None:
        """Put a frame on the line."""
        if self._reason:
            return
        try:
            self._frames.put_nowait(frame)
        except asyncio.QueueFull:
            self.close("it does not read its frames")
            self._abort()

    def close(
        self, reason: str, code: WSCloseCode = WSCloseCode.GOING_AWAY, last: OrchestratorFrame | None = None
    ) -> None:
        """End the connection; frames that still wait are dropped, ``last`` is sent."""
        if not self._reason:
            self._reason, self._code = reason or "closed", code
            while not self._frames.empty():
                self._frames.get_nowait()
            if last is not None:
                self._frames.put_nowait(last)
            self._frames.put_nowait(None)

    async def write(self) -> None:
        """Send what is put on the line until it is closed; a send that takes too long cuts it."""
        try:
            while (frame := await self._frames.get()) is not None:
                await asyncio.wait_for(self._socket.send_str(encode_frame(frame)), _SEND_S)
            closing = self._socket.close(code=self._code, message=_cut(self._reason))
            await asyncio.wait_for(closing, _CLOSE_S)
        except (TimeoutError, ConnectionError) as error:
            self._reason = self._reason or type(error).__name__
            self._abort()


class WorkerSockets:
    """Serves `GET /api/v1/workers/connect`."""

    def __init__(self, workers: PullWorkers) -> None:
        self._workers = workers
        self._lines: set[SocketLine] = set()
        self._leaving: set[asyncio.Task[None]] = set()
        self._is_stopping = False

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        """Speak with one worker until either side ends it."""
        # aiohttp refuses a frame that is as large as its limit, the protocol only a larger one.
        socket = web.WebSocketResponse(
            max_msg_size=MAX_FRAME_BYTES + 1, heartbeat=20.0, compress=False, timeout=_CLOSE_S
        )
        await socket.prepare(request)
        line = SocketLine(socket, partial(_abort, request))
        self._lines.add(line)  # before the hello, so that a stop ends this socket too
        writing = asyncio.ensure_future(line.write())
        hello: Hello | None = None
        worker: Worker | None = None
        try:
            hello = await self._hello(socket)
            if hello is not None:
                worker = await self._workers.welcome(line, hello)
                await self._read(socket, worker, line)
        except (WorkerIdTakenError, OtherKeysError) as error:
            log.warning("worker_refused", reason=str(error))
            line.close(str(error), WSCloseCode.POLICY_VIOLATION)  # trying again would not help
        except OrchestratorError as error:
            worker_id = hello.worker_id if hello is not None else ""
            log.warning("worker_connection_failed", worker_id=worker_id, error=str(error))
        finally:
            line.close("the connection ended")
            self._lines.discard(line)
            await asyncio.wait({writing}, timeout=_SEND_S)
            writing.cancel()
            # While we stop it is we who leave: the jobs stay with the worker, which comes back by `resuming`.
            if worker is not None and not self._is_stopping:
                self._part(worker, line)
        return socket

    async def close(self) -> None:
        """End all connections at shutdown; the workers connect again to the next start."""
        self._is_stopping = True
        for line in set(self._lines):
            line.close("the orchestrator is going away", last=Reconnect(deadline=_RECONNECT_S))
        for task in set(self._leaving):
            task.cancel()

    async def _hello(self, socket: web.WebSocketResponse) -> Hello | None:
        """Read the first frame; None after the socket was closed for a bad one."""
        try:
            message = await socket.receive(timeout=HELLO_S)
        except TimeoutError:
            await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"no hello within 10 s")
            return None
        problem = "the first frame must be hello"
        if message.type is WSMsgType.TEXT:
            try:
                frame = decode_worker_frame(message.data)
            except _UNREADABLE as error:
                frame, problem = None, str(error)
            if isinstance(frame, Hello):
                found = _hello_problem(frame)
                if found is None:
                    return frame
                problem = found
        await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=_cut(problem))
        return None

    async def _read(self, socket: web.WebSocketResponse, worker: Worker, line: SocketLine) -> None:
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            try:
                frame = decode_worker_frame(message.data)
            except _UNREADABLE as error:
                log.info("bad_worker_frame", worker_id=worker.registration.worker_id, problem=str(error))
                line.close("a frame was not understood: " + str(error)[:60])
                return
            if frame is not None:
                await self._workers.frame(worker, line, frame)

    def _part(self, worker: Worker, line: SocketLine) -> None:
        task = asyncio.ensure_future(self._after(worker, line))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _after(self, worker: Worker, line: SocketLine) -> None:
        try:
            await self._workers.closed(worker, line)
        except OrchestratorError as error:
            log.warning("jobs_not_taken_back", worker_id=worker.registration.worker_id, error=str(error))


def _cut(reason: str) -> bytes:
    """Cut a reason to what a close frame holds (123 bytes), between letters."""
    return reason.encode()[:120].decode(errors="ignore").encode()


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _hello_problem(hello: Hello) -> str | None:
    if found := name_problem(hello.service_id, what="service_id"):
        return found
    if is_agent(hello.service_id):
        return f"service_id: {AGENT_REGISTERS}"
    if found := name_problem(hello.worker_id, what="worker_id"):
        return found
    if hello.capacity is not None and hello.capacity < 1:
        return f"capacity is {hello.capacity}; give 1 or more, or null for no limit"
    return None
