"""The server behind `FakeOrchestrator`: aiohttp on loopback, in a thread of its own, following a script."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Self, TypeVar

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from sdk.edge_thread import EdgeThread
from sdk.fake_room import FAKE_URL, fake_token
from sdk.wire import (
    Ack,
    Heartbeat,
    HeldJob,
    Hello,
    Ping,
    Pong,
    RecordingReport,
    Register,
    Registered,
    TokenRenewed,
    TokenWanted,
    Welcome,
    WorkerFrame,
    decode_worker_frame,
    encode_frame,
)

DEADLINE_S: Final = 5.0  # how long the waiting methods wait before the test fails
POLL_S: Final = 0.01
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeJob:
    """A job that the fake gives out."""

    job_id: str
    attempt: int
    session_id: str
    room_name: str
    identity: str


@dataclass(slots=True)
class FakeScript:
    """How the fake behaves; change it at any time."""

    heartbeat_interval: float = 0.2
    is_silent: bool = False  # sends no pong
    acks: bool = True  # acknowledges recording reports
    renews_tokens: bool = True
    refuses_with: str = ""  # closes with 1008 and this reason after hello
    registers: int = 200  # status of the answer to a registration
    resumes: bool = True  # keeps the jobs that workers come back with
    gone: set[HeldJob] = field(default_factory=set)  # jobs that it does not keep


class FakeServer:
    """What a `FakeOrchestrator` hears and answers by itself; its lists only grow."""

    def __init__(
        self,
        *,
        heartbeat_interval: float = 0.2,
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
        self.registrations: list[Register] = []
        self.heartbeats: list[Heartbeat] = []
        self.ready_sessions: list[str] = []
        self.connections = 0
        self._tokens = itertools.count(2)
        self.jobs: dict[HeldJob, FakeJob] = {}
        self.socket: web.WebSocketResponse | None = None
        self._is_registered = False
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
        app = web.Application()
        app.router.add_get("/api/v1/workers/connect", self._connect)
        app.router.add_post("/api/v1/microservices/register", self._register)
        app.router.add_post("/api/v1/microservices/{service_id}/heartbeat", self._heartbeat)
        app.router.add_post("/api/v1/sessions/{session_id}/ready", self._ready)
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
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.connections += 1
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                frame = decode_worker_frame(message.data)
                if frame is not None:
                    await self._hear(socket, frame)
        if self.socket is socket:
            self.socket = None
        return socket

    async def _hear(self, socket: web.WebSocketResponse, frame: WorkerFrame) -> None:
        if isinstance(frame, Hello):
            await self._welcome(socket, frame)
        elif isinstance(frame, Ping):
            self.ping_times.append(time.monotonic())
            if not self.script.is_silent:
                await socket.send_str(encode_frame(Pong(position="1:0")))
        self.frames.append(frame)
        if isinstance(frame, RecordingReport) and self.script.acks:
            answer = Ack(job_id=frame.job_id, attempt=frame.attempt, n=frame.n)
            await socket.send_str(encode_frame(answer))
        if isinstance(frame, TokenWanted) and self.script.renews_tokens:
            await self._renew(socket, frame)

    async def _welcome(self, socket: web.WebSocketResponse, hello: Hello) -> None:
        if self.script.refuses_with:
            reason = self.script.refuses_with.encode()
            await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=reason)
            return
        kept = [
            job
            for job in hello.resuming
            if self.script.resumes and job in self.jobs and job not in self.script.gone
        ]
        welcome = Welcome(
            worker_id=hello.worker_id,
            heartbeat_interval=self.script.heartbeat_interval,
            instance="fake",
            resumed=kept,
        )
        await socket.send_str(encode_frame(welcome))
        self.socket = socket
        self.hellos.append(hello)

    async def _renew(self, socket: web.WebSocketResponse, frame: TokenWanted) -> None:
        job = self.jobs[HeldJob(job_id=frame.job_id, attempt=frame.attempt)]
        renewed = TokenRenewed(
            job_id=job.job_id,
            attempt=job.attempt,
            access_token=self.mint(job, next(self._tokens)),
            expires_at="2099-01-01T00:00:00Z",
        )
        await socket.send_str(encode_frame(renewed))

    async def _register(self, request: web.Request) -> web.Response:
        body = msgspec.json.decode(await request.read(), type=Register)
        self.registrations.append(body)
        if self.script.registers != 200:
            return web.Response(status=self.script.registers, text="no")
        self._is_registered = True
        answer = Registered(
            success=True, service_id=body.service_id, message="Microservice registered successfully"
        )
        return web.Response(body=msgspec.json.encode(answer), content_type="application/json")

    async def _heartbeat(self, request: web.Request) -> web.Response:
        self.heartbeats.append(msgspec.json.decode(await request.read(), type=Heartbeat))
        return web.Response(status=200 if self._is_registered else 404, text="{}")

    async def _ready(self, request: web.Request) -> web.Response:
        self.ready_sessions.append(request.match_info["session_id"])
        return web.Response(text="{}")


def abort(socket: web.WebSocketResponse) -> None:
    """Cut a socket without a closing word."""
    transport = socket._req.transport if socket._req is not None else None
    if transport is not None:
        transport.abort()
