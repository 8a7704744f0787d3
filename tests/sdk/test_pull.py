"""A pull worker against the fake orchestrator: offers, assignments, renewal, resuming, stale, control."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from sdk.errors import JobEndedError, JobStaleError, UnavailableError
from sdk.hooks import WorkerHandler
from sdk.job import Job
from sdk.ports import RoomFactory
from sdk.settings import WorkerSettings
from sdk.testing import FakeJob, WorkerHarness
from sdk.wire import Control, RecordingTask, TokenWanted
from sdk.worker import Worker


class Author(WorkerHandler):
    """Does what a test wants and writes down what it was asked."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.left: list[tuple[str | None, bool]] = []  # end reason, whether the room was still joined
        self.controls: list[tuple[int, str]] = []
        self.cancelled = 0
        self.is_healthy = True
        self.stays = True
        self.leave_takes_s = 0.0

    @property
    def job(self) -> Job:
        return self.jobs[-1]

    async def join_room(self, job: Job) -> None:
        self.jobs.append(job)
        if self.stays:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise

    async def leave_room(self, job: Job) -> None:
        self.left.append((job.end_reason, not job.closed.is_set()))
        await asyncio.sleep(self.leave_takes_s)

    async def control(self, job: Job, control: Control) -> None:
        self.controls.append((control.n, control.op))

    async def health(self) -> bool:
        return self.is_healthy


def harness(author: WorkerHandler, **settings: object) -> WorkerHarness:
    def make(given: WorkerSettings, rooms: RoomFactory) -> Worker:
        return Worker(given, author, rooms=rooms)

    return WorkerHarness(make, **settings)


async def until(is_true: object, what: str = "") -> None:
    assert callable(is_true)
    async with asyncio.timeout(5):
        while not is_true():
            await asyncio.sleep(0.01)


async def test_hello_says_what_the_settings_say() -> None:
    async with harness(Author(), capacity=3, metadata={"zone": "a"}, in_default=False) as h:
        hello = await h.orchestrator.hello()
    assert (hello.service_id, hello.capacity, hello.in_default) == ("tested", 3, False)
    assert (hello.metadata, hello.resuming) == ({"zone": "a"}, [])
    assert hello.worker_id == h.worker.settings.worker_id
    assert hello.sdk_version


async def test_a_job_from_offer_to_done() -> None:
    author = Author()
    async with harness(author) as h:
        job = await h.start_job(metadata={"language": "eo"})
        assert h.rooms.participants(job.room_name) == ["tested"]
        assert author.job.room.name == job.room_name
        assert author.job.metadata == {"language": "eo"}
        assert (author.job.session_id, author.job.attempt) == (job.session_id, 1)
        await h.end_job(job)
        assert h.rooms.participants(job.room_name) == []
        assert author.left == [("leave", True)]
        assert author.cancelled == 1
        assert h.orchestrator.states(job) == ["joined", "done"]
        await until(lambda: h.worker.job_count == 0)


async def test_a_handler_that_returns_at_once_keeps_its_job() -> None:
    author = Author()
    author.stays = False
    async with harness(author) as h:
        job = await h.start_job()
        await h.orchestrator.hello()
        await asyncio.sleep(0.05)
        assert h.rooms.participants(job.room_name) == ["tested"]
        await h.end_job(job)


async def test_no_more_jobs_than_the_capacity() -> None:
    async with harness(Author(), capacity=1) as h:
        first = await h.start_job()
        second = await h.orchestrator.offer()
        assert (await h.orchestrator.refused(second)).reason == "no capacity"
        await h.end_job(first)
        await until(lambda: h.worker.job_count == 0)
        third = await h.orchestrator.offer()
        assert (await h.orchestrator.accepted(third)).manual_ready is False


async def test_an_unhealthy_worker_refuses() -> None:
    author = Author()
    author.is_healthy = False
    async with harness(author) as h:
        job = await h.orchestrator.offer()
        assert (await h.orchestrator.refused(job)).reason == "not healthy"


async def test_an_offer_answered_too_late_is_not_answered() -> None:
    async with harness(Author()) as h:
        await h.orchestrator.hello()
        late = await h.orchestrator.offer(deadline=0.2)
        time.sleep(0.6)  # the jobs' loop is busy when the offer comes
        await asyncio.sleep(0.2)
        assert not [frame for frame in h.orchestrator.frames if getattr(frame, "job_id", "") == late.job_id]
        assert h.worker.job_count == 0
