"""A worker's author for tests: does what the test wants and writes down what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from sdk.hooks import WorkerHandler
from sdk.job import Job
from sdk.ports import RoomFactory
from sdk.settings import WorkerSettings
from sdk.testing import WorkerHarness
from sdk.wire import Control
from sdk.worker import Worker


class Author(WorkerHandler):
    """Stays in each job until it is cancelled; change the fields to make it behave otherwise."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.left: list[tuple[str | None, bool]] = []  # end reason, whether the room was still joined
        self.controls: list[tuple[int, str]] = []
        self.cancelled = 0
        self.is_healthy = True
        self.stays = True
        self.leave_takes_s = 0.0
        self.join_raises: Exception | None = None
        self.leave_raises: Exception | None = None
        self.rejoins = 0

    @property
    def job(self) -> Job:
        return self.jobs[-1]

    async def join_room(self, job: Job) -> None:
        self.jobs.append(job)
        if self.join_raises is not None:
            raise self.join_raises
        if self.stays:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise

    async def leave_room(self, job: Job) -> None:
        self.left.append((job.end_reason, not job.closed.is_set()))
        await asyncio.sleep(self.leave_takes_s)
        if self.leave_raises is not None:
            raise self.leave_raises

    async def rejoined(self, job: Job) -> None:
        self.rejoins += 1

    async def control(self, job: Job, control: Control) -> None:
        self.controls.append((control.n, control.op))

    async def health(self) -> bool:
        return self.is_healthy


def harness(author: WorkerHandler, **settings: Any) -> WorkerHarness:
    """Run a worker with this author's code."""

    def make(given: WorkerSettings, rooms: RoomFactory) -> Worker:
        return Worker(given, author, rooms=rooms)

    return WorkerHarness(make, **settings)


async def until(is_true: Callable[[], bool], *, within_s: float = 30.0) -> None:
    """Poll until something that happens elsewhere is there."""
    async with asyncio.timeout(within_s):
        while not is_true():
            await asyncio.sleep(0.01)
