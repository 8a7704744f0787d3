"""The real orchestrator and the SDK's fake, as workers see them: one stand each, and a worker of raw frames.

The real one is in process, over the memory store and a LiveKit of the test. It decides by itself what the
fake is told to do; the stands' methods are the stage directions in which the two differ.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

import aiohttp
import msgspec

from orchestrator.adapters.worker_callbacks import WorkerCallbacks
from orchestrator.core.ids import SessionId
from orchestrator.core.jobs import JobState
from orchestrator.core.triggers import JobLost
from orchestrator.settings import Settings
from sdk.testing import FakeJob, FakeOrchestrator, fake_token
from sdk.wire import (
    Accept,
    Assign,
    HeldJob,
    Hello,
    Offer,
    OrchestratorFrame,
    Ping,
    Pong,
    RecordingTask,
    Welcome,
    WorkerFrame,
    decode_orchestrator_frame,
    encode_frame,
)
from tests.fakes.clock import FakeClock
from tests.orchestrator.web.world import World

F = TypeVar("F")
CONNECT = "/api/v1/workers/connect"
REGISTER = "/api/v1/microservices/register"


class Stand(ABC):
    """An orchestrator that listens at ``url``."""

    url: str
    http: aiohttp.ClientSession

    @abstractmethod
    async def want(self, service: str, *, metadata: dict[str, str] | None = None) -> None:
        """Have a session that needs this service; `recorder` means one that is recorded."""

    @abstractmethod
    async def assign(self, offer: Offer) -> None:
        """See that a job that was accepted is assigned."""

    @abstractmethod
    async def end(self, offer: Offer) -> None:
        """End the session of a job."""

    @abstractmethod
    async def take_away(self, offer: Offer) -> None:
        """Take a job from its worker, which is still connected."""

    @abstractmethod
    async def drain(self, worker_id: str) -> None:
        """Ask a connected worker to finish what it has and to take nothing new."""

    @abstractmethod
    async def forget_registration(self, service: str) -> None:
        """Forget the push workers of a service."""

    @abstractmethod
    async def call_join(self) -> None:
        """Have the push worker `asr` join the room of a session."""

    @abstractmethod
    async def call_leave(self, session_id: str) -> None:
        """Have it leave again."""

    @abstractmethod
    async def run_job(self, room: str) -> None:
        """Give a worker of the SDK, which offers `asr`, a job in a room of this name."""

    @abstractmethod
    async def finish_job(self, room: str) -> None:
        """End it, and wait until the worker's word for its end has come."""


class RealStand(Stand):
    """The real orchestrator, over fakes of everything outside of it."""

    def __init__(self, world: World, http: aiohttp.ClientSession) -> None:
        self.world = world
        self.http = http
        self.url = world.url

    async def want(self, service: str, *, metadata: dict[str, str] | None = None) -> None:
        is_recorder = service == "recorder"
        await self.world.create(
            self.http,
            required_services=[] if is_recorder else [service],
            record=is_recorder,
            metadata=metadata,
        )

    async def assign(self, offer: Offer) -> None:
        """It does."""

    async def end(self, offer: Offer) -> None:
        await self._end(offer.session_id)

    async def take_away(self, offer: Offer) -> None:
        lost = JobLost(job_id=job_id(offer), attempt=offer.attempt, detail="taken away by the test")
        await self.world.sessions.apply(SessionId(offer.session_id), lost)

    async def drain(self, worker_id: str) -> None:
        path = f"/api/v1/workers/{worker_id}/drain"
        async with self.http.post(path, json={"deadline_s": 20}) as answer:
            assert answer.status == 200, await answer.text()

    async def forget_registration(self, service: str) -> None:
        async with self.http.delete(f"/api/v1/microservices/{service}") as answer:
            assert answer.status == 200

    async def call_join(self) -> None:
        await self.want("asr")

    async def call_leave(self, session_id: str) -> None:
        await self._end(session_id)

    async def run_job(self, room: str) -> None:
        self.world.mint.jwt_of = lambda grant: fake_token(grant.room_name, grant.identity)
        await self.world.create(self.http, required_services=["asr"], room_name=room)

    async def finish_job(self, room: str) -> None:
        session = self.world.sessions.live.of_room(room)
        assert session is not None
        await self._end(session.id)
        await until(lambda: self.world.sessions.live.get(session.id) is None)
        over = await self.world.sessions.get(session.id)
        assert [job.state for job in over.jobs] == [JobState.DONE]

    async def _end(self, session_id: str) -> None:
        async with self.http.post(f"/api/v1/sessions/{session_id}/terminate") as answer:
            assert answer.status == 200


class FakeStand(Stand):
    """The fake, told to do what the real one decides."""

    def __init__(self, fake: FakeOrchestrator, http: aiohttp.ClientSession) -> None:
        self.fake = fake
        self.http = http
        self.url = fake.url
        self._jobs: dict[str, FakeJob] = {}

    async def want(self, service: str, *, metadata: dict[str, str] | None = None) -> None:
        job = await self.fake.offer(service_id=service, metadata=metadata)
        self._jobs[job.session_id] = job

    async def assign(self, offer: Offer) -> None:
        task = RecordingTask(recording_id="r1") if offer.service_id == "recorder" else None
        await self.fake.assign(self._jobs[offer.session_id], recording=task)

    async def end(self, offer: Offer) -> None:
        await self.fake.leave(self._jobs[offer.session_id])

    async def take_away(self, offer: Offer) -> None:
        await self.fake.stale(self._jobs[offer.session_id])

    async def drain(self, worker_id: str) -> None:
        await self.fake.drain(deadline=20)

    async def forget_registration(self, service: str) -> None:
        self.fake.forget_registration()

    async def call_join(self) -> None:
        job = FakeJob(job_id="j1", attempt=1, session_id="s1", room_name="room-s1", identity="asr")
        self._jobs["s1"] = job
        status, _ = await self.fake.join_room(job)
        assert status == 200

    async def call_leave(self, session_id: str) -> None:
        status, _ = await self.fake.leave_room(self._jobs[session_id])
        assert status == 200

    async def run_job(self, room: str) -> None:
        job = FakeJob(job_id="j1", attempt=1, session_id=room[5:], room_name=room, identity="asr")
        self._jobs[room] = job
        if self.fake.registrations:
            status, _ = await self.fake.join_room(job)
            assert status == 200
            return
        await self.fake.offer(job_id=job.job_id, session_id=job.session_id)
        await self.fake.accepted(job)
        await self.fake.assign(job)

    async def finish_job(self, room: str) -> None:
        job = self._jobs[room]
        if self.fake.registrations:
            status, _ = await self.fake.leave_room(job)
            assert status == 200
            return
        await self.fake.leave(job)
        await self.fake.reported(job, "done")


@asynccontextmanager
async def real_stand() -> AsyncIterator[Stand]:
    """Make the real one."""
    async with AsyncExitStack() as stack:
        clock = FakeClock()
        caller = WorkerCallbacks(allow_private=True, notify_timeout_s=5.0, now=clock.now)
        await caller.open()
        stack.push_async_callback(caller.close)
        world = World(settings=Settings(), clock=clock, real_caller=caller)
        yield RealStand(world, await stack.enter_async_context(world.running()))


@asynccontextmanager
async def fake_stand() -> AsyncIterator[Stand]:
    """Make the fake."""
    async with FakeOrchestrator() as fake, aiohttp.ClientSession(fake.url) as http:
        yield FakeStand(fake, http)


def job_id(offer: Offer) -> Any:
    return offer.job_id


def held(offer: Offer) -> HeldJob:
    return HeldJob(job_id=offer.job_id, attempt=offer.attempt)


class RawWorker:
    """A pull worker that says and hears frames, nothing else."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def say(self, frame: WorkerFrame) -> None:
        """Send a frame."""
        await self.socket.send_str(encode_frame(frame))

    async def hear(self, kind: type[F]) -> F:
        """Give the next frame, which must be of this kind."""
        frame = await self.next_frame()
        assert isinstance(frame, kind), f"{frame} came instead of {kind.__name__}"
        return frame

    async def next_frame(self) -> OrchestratorFrame | None:
        """Give the next frame."""
        return decode_orchestrator_frame(await self.socket.receive_str(timeout=5))

    async def hears_nothing(self) -> None:
        """See that nothing was answered to what was said so far: the answer to a ping comes next."""
        await self.say(Ping())
        await self.hear(Pong)

    async def closed(self) -> tuple[int | None, str]:
        """Wait for the end of the connection; give its code and reason, frames on the way are dropped."""
        until = time.monotonic() + 5
        while time.monotonic() < until:
            message = await self.socket.receive(timeout=5)
            if message.type is aiohttp.WSMsgType.CLOSE:
                return message.data, message.extra or ""
            if message.type in (aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED):
                return self.socket.close_code, ""
        raise AssertionError("frames, but no end")


@asynccontextmanager
async def connected(stand: Stand) -> AsyncIterator[RawWorker]:
    """Open a socket; nothing is said yet."""
    async with stand.http.ws_connect(CONNECT, autoping=True) as socket:
        yield RawWorker(socket)


@asynccontextmanager
async def welcomed(stand: Stand, service: str = "asr", **fields: Any) -> AsyncIterator[RawWorker]:
    """Be a worker that was welcomed."""
    async with connected(stand) as worker:
        await worker.say(Hello(service_id=service, worker_id=fields.pop("worker_id", "w1"), **fields))
        await worker.hear(Welcome)
        yield worker


async def offered(stand: Stand, worker: RawWorker, service: str = "asr") -> Offer:
    """Get an offer."""
    await stand.want(service)
    return await worker.hear(Offer)


async def assigned(stand: Stand, worker: RawWorker, service: str = "asr") -> tuple[Offer, Assign]:
    """Get a job."""
    offer = await offered(stand, worker, service)
    await worker.say(Accept(job_id=offer.job_id, attempt=offer.attempt))
    await stand.assign(offer)
    return offer, await worker.hear(Assign)


async def until(is_true: Callable[[], bool]) -> None:
    """Poll for what another task brings about."""
    async with asyncio.timeout(5):
        while not is_true():
            await asyncio.sleep(0.01)


def error_word(text: bytes) -> str:
    """Give the word of the one error body."""
    body = msgspec.json.decode(text)
    assert set(body) >= {"error", "message", "timestamp"}, body
    return str(body["error"])
