"""The life of one job in a worker, from its assignment to its last report; follows sdk/lifecycle.py."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sdk.backoff import Backoff
from sdk.control_queue import ControlQueue
from sdk.errors import JobEndedError, RoomJoinError, UnavailableError
from sdk.hooks import WorkerHandler
from sdk.job import EndReason, Job, JobFacts
from sdk.lifecycle import ENDED, ENDING, IllegalStepError, JobState, JobStep, LeftBecause, next_job_state
from sdk.ports import Grant, JobLine, RoomLink
from sdk.settings import WorkerSettings
from sdk.waiting import first_of, stop, unless
from sdk.wire import Control, RecordingTask

LEAVE_S: Final = 5.0  # to leave when the orchestrator set no deadline
CLEANUP_S: Final = 5.0  # for `leave_room` of a job that cannot go on
DISCONNECT_S: Final = 2.0
_REMOVED: Final = "the media server removed this worker from the room"

_log = logging.getLogger("greenroom.sdk")


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What a job starts with. ``grant`` None: a job without a room."""

    grant: Grant | None
    recording: RecordingTask | None = None


class JobRun:
    """Runs one job. All of it happens in the jobs' loop; `start` gives the task that its owner awaits."""

    def __init__(
        self,
        facts: JobFacts,
        *,
        settings: WorkerSettings,
        handler: WorkerHandler,
        line: JobLine,
        on_end: Callable[[JobRun], None],
    ) -> None:
        self.facts = facts
        self._settings = settings
        self._handler = handler
        self._line = line
        self._on_end = on_end
        self._state = JobState.ACCEPTED
        self._detail = ""
        self._leave_at: float | None = None
        self._ending = asyncio.Event()
        self._withdrawn = asyncio.Event()
        self._lost = asyncio.Event()
        self._entered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._room: RoomLink | None = None
        self._job: Job | None = None
        self._work: asyncio.Task[None] | None = None
        self._controls: ControlQueue | None = None

    @property
    def state(self) -> JobState:
        """Where the job stands."""
        return self._state

    def start(self, assignment: Assignment, room: RoomLink | None) -> asyncio.Task[None]:
        """Begin the job and give its task, which never raises but when it is cancelled."""
        self._apply(JobStep.ASSIGNED)
        self._room = room
        if room is not None:
            room.on_left = self._room_left
        self._job = Job(
            self.facts,
            line=self._line,
            room=None if room is None else room.room,
            recording=assignment.recording,
            end=self._author_ends,
        )
        self._controls = ControlQueue(self._job, self._handler, on_error=self.fail)
        name = f"job {self.facts.job_id} attempt {self.facts.attempt}"
        return asyncio.create_task(self._live(assignment.grant), name=name)

    @property
    def detail(self) -> str:
        """Why the job fails, in a sentence; "" when it does not."""
        return self._detail

    async def entered(self) -> bool:
        """Wait until the room is joined for the first time; False when the job ends before."""
        return await asyncio.shield(self._entered)

    async def left(self) -> None:
        """Wait until the room has been left."""
        if self._job is not None:
            await self._job.closed.wait()

    # --- asked from outside, at any time; what comes too late is dropped ---

    def leave(self, reason: EndReason = "leave", *, deadline_s: float = LEAVE_S) -> None:
        """End the job as done, leaving the room within the deadline."""
        if self._leave_at is None:
            self._leave_at = asyncio.get_running_loop().time() + deadline_s
        self._apply(JobStep.LEAVE, reason)

    def fail(self, detail: str, reason: EndReason = "failed") -> None:
        """End the job as failed, with a sentence for the operator."""
        self._detail = self._detail or detail
        self._apply(JobStep.FAIL, reason)

    def hand_over(self, *, deadline_s: float) -> None:
        """End the job here so that another worker gets it; `leave_room` has the deadline to put away.

        A job that is ending already ends as it began to.
        """
        if self._state in ENDING:
            return
        if self._leave_at is None:
            self._leave_at = asyncio.get_running_loop().time() + deadline_s
        self.fail("the worker goes away", "drained")

    def withdraw(self) -> None:
        """Stop at once: another attempt holds the job."""
        self._apply(JobStep.WITHDRAW, "stale")

    def control(self, control: Control) -> None:
        """Hand a recording operation to the author's code."""
        if self._controls is not None and self._state not in ENDED:
            self._controls.put(control)

    def _author_ends(self, reason: EndReason, detail: str) -> None:
        if reason == "author":
            self.leave(reason)
        else:
            self.fail(detail, reason)

    def _room_left(self, because: LeftBecause) -> None:
        match because:
            case LeftBecause.LOST:
                self._apply(JobStep.ROOM_LOST)
            case LeftBecause.CLOSED:
                self._apply(JobStep.ROOM_CLOSED, "room_closed")
            case LeftBecause.REMOVED:
                self._detail = self._detail or _REMOVED
                self._apply(JobStep.REMOVED, "removed")

    def _apply(self, step: JobStep, reason: EndReason | None = None) -> None:
        try:
            state = next_job_state(self._state, step)
        except IllegalStepError as error:
            _log.debug("%s %s: %s", self.facts.job_id, self.facts.attempt, error)
            return
        self._state = state
        if state is JobState.REJOINING:
            self._lost.set()
        if state in ENDING:
            if self._job is not None and (self._job.end_reason is None or state is JobState.STOPPING):
                self._job.end_reason = reason
            if self._job is not None:
                self._job.leaving.set()
            self._ending.set()
        if state is JobState.STOPPING:
            self._withdrawn.set()
        if state in ENDING and self._job is None:
            self._end_unassigned()

    def _end_unassigned(self) -> None:
        """End a job that was accepted and never assigned: there is nothing to put away."""
        if self._state is not JobState.STOPPING:
            self._line.report("done" if self._state is JobState.LEAVING else "failed", self._detail)
        self._state = next_job_state(self._state, JobStep.PUT_AWAY)
        self._on_end(self)

    # --- the job's task ---

    async def _live(self, grant: Grant | None) -> None:
        _log.info("job %s attempt %d begins", self.facts.job_id, self.facts.attempt)
        try:
            try:
                if self._room is None:
                    self._apply(JobStep.ENTERED)
                    await self._attend()
                elif await self._enter(grant, within_s=self._settings.join_timeout_s):
                    await self._attend()
            except Exception:  # noqa: BLE001 - the edge of the job's task
                _log.exception("job %s attempt %d broke", self.facts.job_id, self.facts.attempt)
                self.fail("the worker's code broke; its log says where")
            await self._end()
        finally:
            await asyncio.shield(self._abandon())
            _log.info("job %s attempt %d is %s", self.facts.job_id, self.facts.attempt, self._state.value)
            self._on_end(self)

    async def _enter(self, grant: Grant | None, *, within_s: float) -> bool:
        """Join the room; None for the grant means: ask for a fresh one first. False when the job ends."""
        assert self._room is not None
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        backoff = Backoff(first_s=0.5)
        while not self._ending.is_set():
            left_s = until - loop.time()
            if left_s <= 0:
                self.fail(f"the room could not be joined within {within_s:g} s")
                break
            try:
                async with asyncio.timeout(left_s):
                    grant = grant or await unless(self._ending, self._line.fresh_grant())
                    if grant is not None:
                        await unless(self._ending, self._room.connect(grant, timeout_s=left_s))
            except (RoomJoinError, UnavailableError, JobEndedError, TimeoutError) as error:
                words = "no token or room in time" if isinstance(error, TimeoutError) else str(error)
                _log.warning("job %s attempt %d: %s", self.facts.job_id, self.facts.attempt, words)
                if not isinstance(error, RoomJoinError) or error.refused:
                    grant = None
            else:
                if self._ending.is_set() or self._has_entered():
                    break
                grant = None
            await first_of(self._ending, timeout_s=min(backoff.next_s(), max(0.0, until - loop.time())))
        return not self._ending.is_set()

    def _has_entered(self) -> bool:
        """Take note of a join that succeeded; it may be over by the time that we look."""
        assert self._room is not None
        match self._room.left_because:
            case None if self._room.is_connected:
                self._apply(JobStep.ENTERED)
            case LeftBecause.REMOVED:
                self.fail(_REMOVED, "removed")
            case LeftBecause.CLOSED:
                self.leave("room_closed")
            case _:
                return False
        return True

    async def _attend(self) -> None:
        """Run the author's code until something ends the job, and come back into a lost room meanwhile."""
        assert self._job is not None
        self._line.report("joined")
        self._entered.set_result(True)
        self._work = asyncio.create_task(self._run_author(self._job), name=f"join_room of {self._job!r}")
        while not self._ending.is_set():
            await first_of(self._ending, self._lost)
            if not self._lost.is_set():
                break
            self._lost.clear()
            _log.warning("job %s attempt %d lost its room", self.facts.job_id, self.facts.attempt)
            if await self._enter(None, within_s=self._settings.rejoin_timeout_s):
                self._line.report("joined")
                republishing = asyncio.create_task(self._handler.rejoined(self._job))
                await first_of(self._ending, self._lost, republishing)
                await stop(republishing)
                if not republishing.cancelled():
                    republishing.result()

    async def _run_author(self, job: Job) -> None:
        try:
            await self._handler.join_room(job)
        except JobEndedError:
            _log.debug("join_room of %r noticed that its job is over", job)
        except Exception as error:  # noqa: BLE001 - the edge of the author's code
            _log.exception("join_room of job %s attempt %d raised", self.facts.job_id, self.facts.attempt)
            self.fail(f"join_room raised {type(error).__name__}")

    async def _end(self) -> None:
        """Leave, report, put away; in the order that the way of ending asks for."""
        job = self._job
        assert job is not None
        hook: asyncio.Task[None] | None = None
        is_orderly = self._state is JobState.LEAVING or job.end_reason == "drained"
        if is_orderly and self._work is not None:
            hook = asyncio.create_task(self._run_leave(job), name=f"leave_room of {job!r}")
            await self._put_away(hook)
        await stop(self._work)
        await self._leave_the_room()
        if self._state is JobState.FAILING:
            self._line.report("failed", self._detail)
        if hook is None and self._work is not None:
            hook = asyncio.create_task(self._run_leave(job), name=f"leave_room of {job!r}")
            await asyncio.wait({hook}, timeout=CLEANUP_S)
        await stop(hook)
        if self._state is JobState.LEAVING:
            self._line.report("done")
        self._apply(JobStep.PUT_AWAY)

    async def _put_away(self, hook: asyncio.Task[None]) -> None:
        """Give `leave_room` its deadline in the room and its time after it; returns early on stale."""
        assert self._job is not None
        loop = asyncio.get_running_loop()
        leave_at = self._leave_at if self._leave_at is not None else loop.time() + LEAVE_S
        waiting = {hook}
        if self._job.end_reason == "author" and self._work is not None:
            waiting.add(self._work)  # who called `job.leave()` may return by itself
        while waiting and not self._withdrawn.is_set() and loop.time() < leave_at:
            await first_of(self._withdrawn, *waiting, timeout_s=leave_at - loop.time())
            waiting = {task for task in waiting if not task.done()}
        if hook.done() or self._withdrawn.is_set():
            return
        await stop(self._work)
        await self._leave_the_room()
        if self._job.end_reason == "drained":
            return
        await first_of(self._withdrawn, hook, timeout_s=self._settings.finish_timeout_s)
        if not hook.done() and not self._withdrawn.is_set():
            self.fail(f"leave_room took longer than {self._settings.finish_timeout_s:g} s")

    async def _run_leave(self, job: Job) -> None:
        try:
            if self._controls is not None:
                await self._controls.settle()
            await self._handler.leave_room(job)
        except JobEndedError:
            _log.debug("leave_room of %r noticed that its job is over", job)
        except Exception as error:  # noqa: BLE001 - the edge of the author's code
            _log.exception("leave_room of job %s attempt %d raised", self.facts.job_id, self.facts.attempt)
            self.fail(f"leave_room raised {type(error).__name__}")

    async def _leave_the_room(self) -> None:
        if self._room is not None:
            await self._room.disconnect(timeout_s=DISCONNECT_S)
        if self._job is not None:
            self._job.closed.set()

    async def _abandon(self) -> None:
        """Leave nothing behind, whatever happened; does nothing after an orderly end."""
        if self._controls is not None:
            await self._controls.close()
        if self._state not in ENDED:
            await stop(self._work)
            await self._leave_the_room()
        if not self._entered.done():
            self._entered.set_result(False)
