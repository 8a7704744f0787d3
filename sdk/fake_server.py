"""The server behind `FakeOrchestrator`: aiohttp on loopback, in a thread of its own, following a script."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, Self, TypeVar

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from sdk.edge_thread import EdgeThread
from sdk.fake_jobs import FakeJob, FakeJobs, JobWord
from sdk.fake_room import FAKE_URL, fake_token
from sdk.fake_routes import FakeRoutes, name_problem, one_error_body
from sdk.wire import (
    MAX_FRAME_BYTES,
    Ack,
    Heartbeat,
    HeldJob,
    Hello,
    OrchestratorFrame,
    Ping,
    Pong,
    RecordingReport,
    Register,
    Report,
    Stale,
    TokenRenewed,
    TokenWanted,
    Welcome,
    WorkerFrame,
    decode_worker_frame,
    encode_frame,
)

DEADLINE_S: Final = 5.0  # how long the waiting methods wait before the test fails
POLL_S: Final = 0.01
HELLO_S: Final = 10.0  # a connection that says no hello within this is closed
T = TypeVar("T")


@dataclass(slots=True)
class FakeScript:
    """How the fake behaves; change it at any time."""

    heartbeat_interval: float = 0.5
    is_silent: bool = False  # sends no pong
    acks: bool = True  # acknowledges recording reports
    renews_tokens: bool = True
    refuses_with: str = ""  # closes with 1008 and this reason after hello
    registers: int = 200  # status of the answer to a registration
    resumes: bool = True  # keeps the jobs that workers come back with


class FakeServer:
    """What a `FakeOrchestrator` hears and answers by itself; its lists only grow."""

    def __init__(
        self,
        *,
        heartbeat_interval: float = 0.5,
        livekit_url: str = FAKE_URL,
        mint: Callable[[FakeJob, int], str] | None = None,
    ) -> None:
        """Make a fake orchestrator; entering it listens.

        Args:
            heartbeat_interval: what `welcome` asks for, in seconds.
            livekit_url: where jobs are sent; a real server needs ``mint`` too.
            mint: makes the token of a job's first assignment (1) and of each renewal (2, 3, …).
        """
        self.livekit_url = livekit_url
        self.mint = mint or (lambda job, number: fake_token(job.room_name, job.identity, number))
        self.script = FakeScript(heartbeat_interval=heartbeat_interval)
        self.url = ""
        self.hellos: list[Hello] = []
        self.frames: list[WorkerFrame] = []
        self.ping_times: list[float] = []
        self.connections = 0
        self._routes = FakeRoutes(lambda: self.script.registers)
        self.registrations: list[Register] = self._routes.registrations
        self.heartbeats: list[Heartbeat] = self._routes.heartbeats
        self.ready_sessions: list[str] = self._routes.ready_sessions
        self._tokens = itertools.count(2)
        self.jobs = FakeJobs()
        self.socket: web.WebSocketResponse | None = None  # of the worker that connected last
        self._sockets: dict[str, web.WebSocketResponse] = {}  # by worker id
        self._ending: set[asyncio.Task[bool]] = set()
        self._port = 0
        self._edge: EdgeThread | None = None
        self._site: web.TCPSite | None = None
        self._runner: web.AppRunner | None = None
        self._listening = asyncio.Event()
        self._closing = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._edge = EdgeThread(name="fake orchestrator")
        self._edge.start(self._run)
        await self.until(lambda: self.url != "", "the fake orchestrator to listen")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._edge is not None
        await self._edge.stop(timeout_s=DEADLINE_S)

    async def until(self, is_true: Callable[[], bool], what: str) -> None:
        """Wait until something that the fake heard is there."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not is_true():  # noqa: ASYNC110 - what it waits for happens in another thread
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise TimeoutError(f"waited {DEADLINE_S:g} s for {what}") from None

    async def ask(self, work: Awaitable[T]) -> T:
        """Run something in the fake's own loop."""

        async def run() -> T:
            return await work

        assert self._edge is not None
        return await self._edge.ask_edge(run())

    # --- the server, in its own thread ---

    async def _run(self) -> None:
        app = web.Application(middlewares=[one_error_body])
        app.router.add_get("/api/v1/workers/connect", self._connect)
        self._routes.add_to(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        try:
            await self._listen()
            await asyncio.Event().wait()
        finally:
            await self._stop_listening()
            await self._runner.cleanup()

    async def _listen(self) -> None:
        assert self._runner is not None
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await self._site.start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}"

    async def _stop_listening(self) -> None:
        if self._site is not None:
            await self._site.stop()
            self._site = None
        if self.socket is not None:
            abort(self.socket)

    async def _connect(self, request: web.Request) -> web.WebSocketResponse:
        # aiohttp refuses a frame that is as large as its limit, the protocol only a larger one.
        socket = web.WebSocketResponse(max_msg_size=MAX_FRAME_BYTES + 1)
        await socket.prepare(request)
        self.connections += 1
        hello = await self._hello(socket)
        if hello is None:
            return socket
        try:
            await self._welcome(socket, hello)
            await self._read(socket, hello.worker_id)
        finally:
            if self.socket is socket:
                self.socket = None
        return socket

    async def _hello(self, socket: web.WebSocketResponse) -> Hello | None:
        """Read the first frame; None after the socket was closed for a bad one."""
        problem = "the first frame must be hello"
        try:
            message = await socket.receive(timeout=HELLO_S)
            frame = decode_worker_frame(message.data) if message.type is WSMsgType.TEXT else None
        except (TimeoutError, msgspec.DecodeError) as error:
            frame, problem = None, str(error) or "no hello in time"
        if isinstance(frame, Hello):
            problem = self.script.refuses_with or _hello_problem(frame)
            problem = problem or self._routes.take_worker_id(frame.worker_id, frame.service_id)
            if not problem:
                return frame
        await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=problem.encode()[:120])
        return None

    async def _read(self, socket: web.WebSocketResponse, worker_id: str) -> None:
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            try:
                frame = decode_worker_frame(message.data)
            except msgspec.DecodeError as error:
                reason = f"a frame was not understood: {error}".encode()[:100]
                await socket.close(code=WSCloseCode.GOING_AWAY, message=reason)
                return
            if frame is not None:
                self.frames.append(frame)
                for answer in self._answers(worker_id, frame):
                    await socket.send_str(encode_frame(answer))

    async def _welcome(self, socket: web.WebSocketResponse, hello: Hello) -> None:
        older = self._sockets.get(hello.worker_id)
        if older is not None and not older.closed:
            closing = older.close(code=WSCloseCode.GOING_AWAY, message=b"this worker connected again")
            task = asyncio.ensure_future(closing)
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
        self._sockets[hello.worker_id] = socket
        self.frames.append(hello)
        kept = [
            held
            for held in hello.resuming
            if self.script.resumes and self.jobs.of(hello.worker_id, held) is not None
        ]
        self.jobs.keep_only(hello.worker_id, kept)
        welcome = Welcome(
            worker_id=hello.worker_id,
            heartbeat_interval=self.script.heartbeat_interval,
            instance="fake",
            resumed=kept,
        )
        # Before the welcome: who waits for it in another thread finds them here. It is written in this step
        # of the loop, so nothing can be sent ahead of it.
        self.socket = socket
        self.hellos.append(hello)
        await socket.send_str(encode_frame(welcome))
        for held in hello.resuming:
            frames = self.jobs.unheard(held) if held in kept else [_stale(held)]
            for frame in frames:
                await socket.send_str(encode_frame(frame))

    def _answers(self, worker_id: str, frame: WorkerFrame) -> list[OrchestratorFrame]:
        match frame:
            case Hello():
                return []  # one is enough
            case Ping():
                self.ping_times.append(time.monotonic())
                return [] if self.script.is_silent else [Pong(position="1:0")]
            case _:
                return self._answers_about_job(worker_id, frame)

    def _answers_about_job(self, worker_id: str, frame: JobWord) -> list[OrchestratorFrame]:
        job = self.jobs.hear(worker_id, frame)
        if job is None:
            is_over = isinstance(frame, Report) and frame.state in ("done", "failed")
            return [] if is_over else [_stale(frame)]
        if isinstance(frame, RecordingReport) and self.script.acks:
            return [Ack(job_id=frame.job_id, attempt=frame.attempt, n=frame.n)]
        if isinstance(frame, TokenWanted) and self.script.renews_tokens:
            number = next(self._tokens)
            second = replace(job, identity=f"{job.identity}.second")
            return [
                TokenRenewed(
                    job_id=job.job_id,
                    attempt=job.attempt,
                    access_token=self.mint(job, number),
                    expires_at="2099-01-01T00:00:00Z",
                    second_token=self.mint(second, number) if self.jobs.is_recording(job.held) else "",
                )
            ]
        return []


def _stale(job: HeldJob | JobWord) -> Stale:
    return Stale(job_id=job.job_id, attempt=job.attempt)


def _hello_problem(hello: Hello) -> str:
    problem = name_problem(hello.service_id, "service_id") or name_problem(hello.worker_id, "worker_id")
    if hello.capacity is not None and hello.capacity < 1:
        problem = problem or f"capacity is {hello.capacity}; give 1 or more, or null for no limit"
    return problem


def abort(socket: web.WebSocketResponse) -> None:
    """Cut a socket without a closing word."""
    transport = socket._req.transport if socket._req is not None else None
    if transport is not None:
        transport.abort()
