"""What the author of a worker writes: a class with hooks, or functions given to a worker's decorators."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable

from sdk.job import Job
from sdk.wire import Control

JobFunction = Callable[[Job], Awaitable[None]]
ControlFunction = Callable[[Job, Control], Awaitable[None]]
HealthFunction = Callable[[], Awaitable[bool]]


class WorkerHandler(ABC):
    """Base class of handlers. All hooks run in the loop in which the worker was started."""

    @abstractmethod
    async def join_room(self, job: Job) -> None:
        """Do the job; `job.room` is joined when this is called, once per job.

        It may return at once (callbacks on `job.room` do the work) or run as long as the session lasts; the
        job goes on after it returned, until the orchestrator asks to leave, `job.leave()` or `job.fail()`.
        When the job ends while it still runs, it is cancelled after `leave_room` has returned or has had its
        deadline. An exception ends the job as failed, and another worker gets it.
        """

    async def leave_room(self, job: Job) -> None:  # noqa: B027 - optional
        """Put away what belongs to the job; called once for each job that `join_room` was called for.

        `job.end_reason` says why it ends. After `leave` the room is still there until the deadline; this may
        go on for `finish_timeout_s` after that, and `done` is reported when it returns. After `stale` the
        room is left already and nothing that this writes is part of the job.
        """

    async def rejoined(self, job: Job) -> None:  # noqa: B027 - optional
        """Publish again what the room had: its connection was lost for good and the job joined once more.

        `job.room` is the same object with the same callbacks; participants and tracks are new ones.
        """

    async def control(self, job: Job, control: Control) -> None:  # noqa: B027 - optional
        """Carry out a recording operation (recorders only): in order, each number once. Return soon."""

    async def health(self) -> bool:
        """Say whether this worker can serve; False or an exception turns away new jobs."""
        return True


class FunctionHandler(WorkerHandler):
    """The handler behind a worker's decorators."""

    def __init__(self) -> None:
        self.job_function: JobFunction | None = None
        self.leave_function: JobFunction | None = None
        self.rejoined_function: JobFunction | None = None
        self.control_function: ControlFunction | None = None
        self.health_function: HealthFunction | None = None

    async def join_room(self, job: Job) -> None:
        """Call the function given to `@worker.job`."""
        assert self.job_function is not None  # checked when the worker starts
        await self.job_function(job)

    async def leave_room(self, job: Job) -> None:
        """Call the function given to `@worker.on_leave`."""
        if self.leave_function is not None:
            await self.leave_function(job)

    async def rejoined(self, job: Job) -> None:
        """Call the function given to `@worker.on_rejoined`."""
        if self.rejoined_function is not None:
            await self.rejoined_function(job)

    async def control(self, job: Job, control: Control) -> None:
        """Call the function given to `@worker.on_control`."""
        if self.control_function is not None:
            await self.control_function(job, control)

    async def health(self) -> bool:
        """Call the function given to `@worker.health`."""
        return True if self.health_function is None else await self.health_function()
