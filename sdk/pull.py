"""Pull mode: offers, assignments and all that follows, over the worker's own WebSocket."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

import msgspec

from sdk.connection import Connection
from sdk.edge_thread import EdgeThread
from sdk.errors import JobEndedError, JobStaleError
from sdk.held_jobs import HeldJobs
from sdk.hooks import WorkerHandler
from sdk.job import JobFacts
from sdk.job_run import Assignment, JobRun
from sdk.lifecycle import JobState
from sdk.ports import Grant, RoomFactory
from sdk.pull_line import PullLine, unix_time
from sdk.settings import WorkerSettings
from sdk.wire import (
    Accept,
    Ack,
    Assign,
    Control,
    Drain,
    HeldJob,
    Leave,
    Offer,
    OrchestratorFrame,
    Refuse,
    Stale,
    TokenRenewed,
    Welcome,
    WorkerFrame,
)

ASSIGN_S: Final = 30.0  # an accepted offer without an assignment is forgotten after this
HEALTH_S: Final = 1.0
CLOSE_S: Final = 5.0

_log = logging.getLogger("greenroom.sdk")


class PullSide:
    """The worker's side of the pull protocol. An async context manager, to be used in the jobs' loop."""

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        handler: WorkerHandler,
        rooms: RoomFactory,
        on_drain: Callable[[float], None],
    ) -> None:
        """Make the side; entering it connects.

        Args:
            settings: whom to serve, as what.
            handler: the author's code.
            rooms: makes the connection to a room for each job.
            on_drain: called when the orchestrator asks to drain within so many seconds.
        """
        self._settings = settings
        self._handler = handler
        self._rooms = rooms
        self._on_drain = on_drain
        self._is_draining = False
        self.jobs = HeldJobs(max_jobs=settings.max_jobs)
        self._lines: dict[tuple[str, int], PullLine] = {}
        self._deciding: set[asyncio.Task[None]] = set()
        self._edge = EdgeThread(name=f"greenroom {settings.worker_id}")
        self._connection = Connection(
            settings, on_frame=self._frame_came, jobs_loop_lag_s=lambda: self._edge.jobs_loop_lag_s
        )
        self._welcomed = asyncio.Event()

    async def __aenter__(self) -> PullSide:
        self._edge.start(self._connection.run)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.jobs.hand_over()
        await self._edge.end(self._connection.close, timeout_s=CLOSE_S)

    @property
    def is_connected(self) -> bool:
        """Whether the orchestrator hears us."""
        return self._connection.is_in_touch

    async def wait_connected(self) -> None:
        """Wait for the first welcome."""
        await self._welcomed.wait()

    async def wait_failed(self) -> None:
        """Wait for the end of the connection; raises what ended it for good."""
        await self._edge.wait()

    def stop_taking(self) -> None:
        """Take no more offers and say so."""
        self._is_draining = True
        self._connection.mark_draining()

    def _frame_came(self, frame: OrchestratorFrame, at: float) -> None:
        self._edge.call_jobs(self._take, frame, at)

    def _take(self, frame: OrchestratorFrame, at: float) -> None:
        """Carry out one frame, in the jobs' loop; ``at`` is when it arrived, which may be a while ago."""
        match frame:
            case Welcome():
                self._take_welcome(frame)
            case Offer():
                deciding = asyncio.create_task(self._decide(frame, at + frame.deadline))
                self._deciding.add(deciding)
                deciding.add_done_callback(self._deciding.discard)
            case Assign():
                self._take_assign(frame)
            case Drain():
                self._on_drain(frame.deadline)
            case Ack() | Control() | TokenRenewed() | Leave() | Stale():
                run = self.jobs.get(frame.job_id, frame.attempt)
                if run is not None:
                    self._take_job_frame(run, frame)
            case _:
                _log.debug("frame %s is not expected here", type(frame).__name__)

    def _take_job_frame(self, run: JobRun, frame: Ack | Control | TokenRenewed | Leave | Stale) -> None:
        line = self._lines[run.facts.job_id, run.facts.attempt]
        match frame:
            case Ack():
                line.lane.acknowledge(frame.n)
            case Control():
                run.control(frame)
            case TokenRenewed():
                line.renewed(frame)
            case Leave():
                run.leave(deadline_s=frame.deadline)
            case Stale():
                self._withdraw(run)

    def _take_welcome(self, frame: Welcome) -> None:
        self._welcomed.set()
        for deciding in self._deciding:
            deciding.cancel()  # their offers ended with the old connection
        resumed = {(job.job_id, job.attempt) for job in frame.resumed}
        for run in self.jobs.runs():
            if (run.facts.job_id, run.facts.attempt) in resumed:
                self._lines[run.facts.job_id, run.facts.attempt].reconnected()
            else:
                self._withdraw(run)

    async def _decide(self, offer: Offer, until: float) -> None:
        """Accept or refuse an offer, in time or not at all."""
        reason = await self._is_unhealthy() or self._why_not()
        if time.monotonic() > until or self.jobs.get(offer.job_id, offer.attempt) is not None:
            return
        if reason:
            self._send(Refuse(job_id=offer.job_id, attempt=offer.attempt, reason=reason))
            return
        line = PullLine(
            HeldJob(job_id=offer.job_id, attempt=offer.attempt),
            settings=self._settings,
            connection=self._connection,
            send=self._send,
        )
        run = JobRun(
            _facts(offer), settings=self._settings, handler=self._handler, line=line, on_end=self._ended
        )
        self._lines[offer.job_id, offer.attempt] = line
        self._connection.hold(line.job)
        self.jobs.add(run)
        self._send(
            Accept(job_id=offer.job_id, attempt=offer.attempt, manual_ready=self._settings.manual_ready)
        )
        asyncio.get_running_loop().call_later(ASSIGN_S, self._forget_unassigned, run)

    def _why_not(self) -> str:
        """Say why no job can be taken now; "" when one can."""
        if self._is_draining:
            return "draining"
        return "" if self.jobs.has_room else "no capacity"

    async def _is_unhealthy(self) -> str:
        """Ask the author's code whether it can serve; "" when it can."""
        try:
            async with asyncio.timeout(HEALTH_S):
                is_healthy = await self._handler.health()
        except TimeoutError:
            return "health check takes too long"
        except Exception:  # noqa: BLE001 - the edge of the author's code
            _log.exception("health raised")
            return "health check failed"
        if not is_healthy:
            return "not healthy"
        return ""

    def _take_assign(self, frame: Assign) -> None:
        run = self.jobs.get(frame.job_id, frame.attempt)
        if run is None or run.state is not JobState.ACCEPTED:
            _log.debug("assignment of %s attempt %d is not awaited", frame.job_id, frame.attempt)
            return
        recording = None if frame.recording is msgspec.UNSET else frame.recording
        grant = Grant(
            livekit_url=frame.livekit_url,
            access_token=frame.access_token,
            expires_at=unix_time(frame.expires_at),
        )
        has_room = self._settings.joins_room and (recording is None or recording.task == "capture")
        self._lines[frame.job_id, frame.attempt].grant = grant
        self.jobs.start(
            run,
            Assignment(grant=grant if has_room else None, recording=recording),
            self._rooms() if has_room else None,
        )

    def _forget_unassigned(self, run: JobRun) -> None:
        if run.state is JobState.ACCEPTED:
            run.fail(f"no assignment came within {ASSIGN_S:g} s")

    def _withdraw(self, run: JobRun) -> None:
        line = self._lines[run.facts.job_id, run.facts.attempt]
        line.close(
            JobStaleError(f"job {line.job.job_id} attempt {line.job.attempt} is held by another attempt")
        )
        self._edge.call(self._connection.drop, line.job)
        run.withdraw()

    def _ended(self, run: JobRun) -> None:
        line = self._lines.pop((run.facts.job_id, run.facts.attempt))
        line.close(JobEndedError(f"job {line.job.job_id} attempt {line.job.attempt} is over"))
        # Behind the last report, in the edge's loop: until that has arrived, `hello` still lists the job.
        self._edge.call(self._connection.release, line.job)
        self.jobs.remove(run)

    def _send(self, frame: WorkerFrame) -> None:
        self._edge.call(self._connection.send, frame)


def _facts(offer: Offer) -> JobFacts:
    return JobFacts(
        job_id=offer.job_id,
        attempt=offer.attempt,
        session_id=offer.session_id,
        service_id=offer.service_id,
        room_name=offer.room_name,
        metadata=offer.metadata,
    )
