"""The jobs that a worker holds: how many it may take, and how they end when the worker goes away."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from sdk.job_run import Assignment, JobRun
from sdk.lifecycle import JobState
from sdk.ports import RoomLink
from sdk.waiting import stop

HAND_OVER_S: Final = 5.0  # for `leave_room` of jobs that outlive the drain
AFTER_S: Final = 10.0  # for them to be gone after that

_log = logging.getLogger("greenroom.sdk")


class HeldJobs:
    """The runs of one worker by (job id, attempt), each with the task that lives it."""

    def __init__(self, *, max_jobs: int) -> None:
        self._max_jobs = max_jobs
        self._runs: dict[tuple[str, int], JobRun] = {}
        self._tasks: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def has_room(self) -> bool:
        """Whether one more job can be taken; those that another worker holds by now do not count."""
        return sum(run.state is not JobState.STOPPING for run in self._runs.values()) < self._max_jobs

    def runs(self) -> list[JobRun]:
        """Give the runs, oldest first."""
        return list(self._runs.values())

    def get(self, job_id: str, attempt: int) -> JobRun | None:
        """Find a run."""
        return self._runs.get((job_id, attempt))

    def add(self, run: JobRun) -> None:
        """Hold a run from now on."""
        self._runs[run.facts.job_id, run.facts.attempt] = run
        self._empty.clear()

    def start(self, run: JobRun, assignment: Assignment, room: RoomLink | None) -> None:
        """Start a run that is held."""
        self._tasks[run.facts.job_id, run.facts.attempt] = run.start(assignment, room)

    def remove(self, run: JobRun) -> None:
        """Let go of a run that has ended; its task is at its last instruction."""
        key = run.facts.job_id, run.facts.attempt
        self._runs.pop(key, None)
        self._tasks.pop(key, None)
        if not self._runs:
            self._empty.set()

    async def drain(self, *, timeout_s: float) -> None:
        """Wait for the jobs to end by themselves; those that do not are handed over.

        Cancelling the wait hands them over at once, when the caller then calls `hand_over`.
        """
        for run in self.runs():
            if run.state is JobState.ACCEPTED:
                run.hand_over(deadline_s=0.0)
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            _log.warning("%d jobs are handed over after %g s", len(self._runs), timeout_s)

    async def hand_over(self) -> None:
        """End every job that is left, so that other workers get them, and wait until they are gone."""
        for run in self.runs():
            run.hand_over(deadline_s=HAND_OVER_S)
        try:
            async with asyncio.timeout(HAND_OVER_S + AFTER_S):
                await self._empty.wait()
        except TimeoutError:
            _log.error("%d jobs did not end and are cut off", len(self._runs))
        finally:
            for task in list(self._tasks.values()):
                await stop(task)
