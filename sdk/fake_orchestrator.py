"""An orchestrator for tests of workers: a real server on loopback that says what the test tells it to say."""

from __future__ import annotations

import itertools
import uuid
from contextlib import suppress
from typing import Any, Literal, TypeVar

import msgspec
from aiohttp import ClientSession, ClientTimeout

from sdk.fake_jobs import FakeJob
from sdk.fake_server import FakeServer, abort
from sdk.wire import (
    Accept,
    Assign,
    Control,
    Drain,
    Hello,
    JoinRoom,
    Leave,
    LeaveRoom,
    Offer,
    OrchestratorFrame,
    Reconnect,
    RecordingReport,
    RecordingTask,
    Refuse,
    Register,
    Report,
    ReportState,
    Stale,
    encode_frame,
)

T = TypeVar("T")
_numbers = itertools.count(1)


class FakeOrchestrator(FakeServer):
    """Speaks the pull protocol and push mode's routes; an async context manager.

    It lives in a thread of its own, so that a worker may block the test's loop. What it heard is in lists
    that only grow; methods that wait for something fail after 5 s with `TimeoutError`. `script` says how it
    behaves.
    """

    # --- pull: say ---

    async def offer(
        self,
        *,
        service_id: str | None = None,
        metadata: dict[str, str] | None = None,
        session_id: str = "",
        job_id: str = "",
        attempt: int = 1,
        deadline: float = 5.0,
    ) -> FakeJob:
        """Offer a job and give it; the answer is awaited by `accepted` or `refused`."""
        await self.hello()
        hello = self.hellos[-1]
        session_id = session_id or str(uuid.uuid4())
        service = service_id or hello.service_id
        job = FakeJob(
            job_id=job_id or f"job-{next(_numbers)}",
            attempt=attempt,
            session_id=session_id,
            room_name=f"room-{session_id}",
            identity=service if attempt == 1 else f"{service}#{attempt}",
        )
        self.jobs.offer(job, hello.worker_id)
        self._routes.services[session_id] = service
        offer = Offer(
            job_id=job.job_id,
            attempt=attempt,
            session_id=session_id,
            service_id=service,
            room_name=job.room_name,
            metadata=metadata or {},
            deadline=deadline,
        )
        await self.send(offer)
        return job

    async def assign(self, job: FakeJob, *, token: str = "", recording: RecordingTask | None = None) -> None:
        """Assign an accepted job, with a good token unless another is given."""
        await self._tell(
            Assign(
                job_id=job.job_id,
                attempt=job.attempt,
                access_token=token or self.mint(job, 1),
                livekit_url=self.livekit_url,
                expires_at="2099-01-01T00:00:00Z",
                recording=recording or msgspec.UNSET,
            )
        )

    async def leave(self, job: FakeJob, *, reason: str = "terminated", deadline: float = 5.0) -> None:
        """Ask to leave."""
        await self._tell(Leave(job_id=job.job_id, attempt=job.attempt, reason=reason, deadline=deadline))

    async def stale(self, job: FakeJob) -> None:
        """Take the job away."""
        self.jobs.take(job.held)
        await self.send(Stale(job_id=job.job_id, attempt=job.attempt))

    async def control(self, job: FakeJob, op: Literal["pause", "resume", "stop"], *, n: int) -> None:
        """Ask for a recording operation."""
        await self._tell(Control(job_id=job.job_id, attempt=job.attempt, n=n, op=op))

    async def drain(self, *, deadline: float = 5.0) -> None:
        """Ask the worker to drain."""
        await self.send(Drain(deadline=deadline))

    async def ask_to_reconnect(self, *, deadline: float = 1.0) -> None:
        """Ask the worker to connect again."""
        await self.send(Reconnect(deadline=deadline))

    async def _tell(self, frame: Assign | Control | Leave) -> None:
        """Say something that is said again at the next welcome when the worker may have missed it."""
        self.jobs.tell(frame)
        socket = self.socket
        if socket is not None:
            with suppress(ConnectionError):
                await self.ask(socket.send_str(encode_frame(frame)))

    async def send(self, frame: OrchestratorFrame) -> None:
        """Send any frame to the worker that connected last."""
        await self.send_text(encode_frame(frame))

    async def send_text(self, text: str) -> None:
        """Send any text, also what is no frame."""
        await self.until(lambda: self.socket is not None, "a worker to connect")
        socket = self.socket
        assert socket is not None
        await self.ask(socket.send_str(text))

    # --- pull: hear ---

    async def hello(self, number: int = 1) -> Hello:
        """Wait for so many hellos and give that one."""
        await self.until(lambda: len(self.hellos) >= number, f"hello number {number}")
        return self.hellos[number - 1]

    async def accepted(self, job: FakeJob) -> Accept:
        """Wait until the worker accepts."""
        return await self._frame(job, Accept)

    async def refused(self, job: FakeJob) -> Refuse:
        """Wait until the worker refuses."""
        return await self._frame(job, Refuse)

    async def reported(self, job: FakeJob, state: ReportState) -> Report:
        """Wait for a report."""
        await self.until(
            lambda: state in self.states(job), f"{state} of {job.job_id}, has {self.states(job)}"
        )
        return next(report for report in self.reports(job) if report.state == state)

    async def recorded(self, job: FakeJob, *, n: int) -> RecordingReport:
        """Wait for the recording report with this number."""
        await self.until(
            lambda: any(report.n == n for report in self.recordings(job)), f"recording {n} of {job.job_id}"
        )
        return next(report for report in self.recordings(job) if report.n == n)

    def reports(self, job: FakeJob) -> list[Report]:
        """Give all reports about a job, repeated ones included."""
        return [frame for frame in list(self.frames) if isinstance(frame, Report) and _is_of(frame, job)]

    def states(self, job: FakeJob) -> list[ReportState]:
        """Give the states that were reported about a job."""
        return [report.state for report in self.reports(job)]

    def recordings(self, job: FakeJob) -> list[RecordingReport]:
        """Give all recording reports about a job, repeated ones included."""
        return [
            frame for frame in list(self.frames) if isinstance(frame, RecordingReport) and _is_of(frame, job)
        ]

    # --- break ---

    async def cut(self) -> None:
        """Cut the worker's socket without a word, as a dying network does."""
        socket = self.socket
        assert socket is not None
        assert self._edge is not None
        self._edge.call(abort, socket)

    async def go_away(self) -> None:
        """Cut everything and listen no more."""
        await self.ask(self._stop_listening())

    async def come_back(self) -> None:
        """Listen again, at the same address."""
        await self.ask(self._listen())

    def forget(self, job: FakeJob) -> None:
        """Give the job to nobody: it is not in the next welcome, and what is said about it is stale."""
        self.jobs.take(job.held)

    # --- push ---

    async def registered(self, number: int = 1) -> Register:
        """Wait for so many registrations and give that one."""
        await self.until(lambda: len(self.registrations) >= number, f"registration number {number}")
        return self.registrations[number - 1]

    def forget_registration(self) -> None:
        """Answer heartbeats with 404 until the worker registers again."""
        self._routes.forget_workers()

    async def join_room(self, job: FakeJob, *, with_attempt: bool = True) -> tuple[int, str]:
        """Call the worker's join-room; gives status and body."""
        service_id = (await self.registered()).service_id
        self._routes.services[job.session_id] = service_id
        body = JoinRoom(
            room_name=job.room_name,
            session_id=job.session_id,
            service_identity=service_id,
            access_token=self.mint(job, 1),
            livekit_url=self.livekit_url,
            job_id=job.job_id if with_attempt else None,
            attempt=job.attempt if with_attempt else None,
        )
        return await self.call("join-room", msgspec.json.encode(body))

    async def leave_room(self, job: FakeJob) -> tuple[int, str]:
        """Call the worker's leave-room; gives status and body."""
        body = LeaveRoom(session_id=job.session_id, room_name=job.room_name)
        return await self.call("leave-room", msgspec.json.encode(body))

    async def call(
        self, route: str, body: bytes | None = None, *, content_type: str = "application/json"
    ) -> tuple[int, str]:
        """Call any route of the worker, from the fake's own thread: POST with a body, GET without."""
        endpoint = (await self.registered()).endpoint
        return await self.ask(_call(f"{endpoint}/{route}", body, content_type))

    async def _frame(self, job: FakeJob, kind: type[T]) -> T:
        def found() -> list[T]:
            return [frame for frame in list(self.frames) if isinstance(frame, kind) and _is_of(frame, job)]

        await self.until(lambda: bool(found()), f"{kind.__name__} of {job.job_id}")
        return found()[0]


async def _call(url: str, body: bytes | None, content_type: str) -> tuple[int, str]:
    async with ClientSession(timeout=ClientTimeout(total=20)) as http:
        if body is None:
            request = http.get(url)
        else:
            request = http.post(url, data=body, headers={"Content-Type": content_type})
        async with request as answer:
            return answer.status, await answer.text()


def _is_of(frame: Any, job: FakeJob) -> bool:
    return bool(frame.job_id == job.job_id and frame.attempt == job.attempt)
