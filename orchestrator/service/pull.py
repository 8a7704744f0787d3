"""The orchestrator's side of the pull protocol: what each frame of a worker does.

One `PullConnection` per WebSocket; the web edge feeds it frames and tells it when the socket is closed.
Source: contracts §7.
"""

from __future__ import annotations

import asyncio
from typing import Final, assert_never

import structlog

from orchestrator.core.errors import IllegalTransitionError, OrchestratorError, StaleAttemptError
from orchestrator.core.ids import JobId, ServiceId, SessionId, WorkerId
from orchestrator.core.jobs import JobState
from orchestrator.core.recording import RECORDER, RecordingStatus
from orchestrator.core.session import Session
from orchestrator.core.triggers import JobAccepted, JobDone, JobLost, JobReady, JobRefused, RecordingReported
from orchestrator.core.workers import Registration
from orchestrator.ports import Clock
from orchestrator.service.deadlines import Looker
from orchestrator.service.dispatch import Dispatch
from orchestrator.service.draining import Drains
from orchestrator.service.feed import Feed
from orchestrator.service.key_watch import KeyWatch
from orchestrator.service.registry import Line, Registry, Worker
from orchestrator.service.sessions import Sessions
from sdk.wire import (
    Accept,
    Ack,
    Control,
    HeldJob,
    Hello,
    Leave,
    Ping,
    Pong,
    RecordingReport,
    Refuse,
    Report,
    Stale,
    TokenRenewed,
    TokenWanted,
    Welcome,
    WorkerFrame,
)

log = structlog.get_logger(__name__)

COME_BACK_S: Final = 1.0  # a closed socket has so long to be back before its jobs are offered to others
COME_BACK_AT_START_S: Final = 6.0  # after an orchestrator's start everybody has to connect again
TRY_AGAIN_S: Final = 1.0  # after the store refused to take jobs back
HELLO_S: Final = 10.0
# What a recorder may say; that a recording is deleted is not its to say.
_RECORDING_STATES: Final = frozenset(s.value for s in RecordingStatus if s is not RecordingStatus.DELETED)


class PullWorkers:
    """All pull workers: connections that come, speak and go."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        registry: Registry,
        dispatch: Dispatch,
        drains: Drains,
        looker: Looker,
        feed: Feed,
        keys: KeyWatch,
        clock: Clock,
        instance: str,
        heartbeat_interval_s: float,
        come_back_s: float = COME_BACK_S,
        come_back_at_start_s: float = COME_BACK_AT_START_S,
        try_again_s: float = TRY_AGAIN_S,
    ) -> None:
        self._sessions = sessions
        self._registry = registry
        self._dispatch = dispatch
        self._drains = drains
        self._looker = looker
        self._feed = feed
        self._keys = keys
        self._clock = clock
        self._instance = instance
        self._heartbeat_interval_s = heartbeat_interval_s
        self._come_back_s = come_back_s
        self._come_back_at_start_s = come_back_at_start_s
        self._try_again_s = try_again_s
        self._started_at = clock.monotonic()

    async def welcome(self, line: Line, hello: Hello) -> Worker:
        """Register a worker that said hello; settle which of its jobs stay with it.

        Raises:
            WorkerIdTakenError: a worker of another service has this worker id.
            OtherKeysError: it is a recorder with other keys than ours.
            StoreError: the registration is not durable; the connection ends and the worker tries again.
        """
        if hello.service_id == RECORDER:
            await self._keys.check_recorder(hello.metadata)
        now = self._sessions.now()
        worker_id = WorkerId(hello.worker_id)
        worker = await self._registry.register(
            Registration(
                worker_id=worker_id,
                service_id=ServiceId(hello.service_id),
                metadata=hello.metadata,
                capabilities=hello.capabilities,
                capacity=hello.capacity,
                in_default=hello.in_default and hello.service_id != RECORDER,
                registered_at=now,
                seen_at=now,
            ),
            line,
            is_again=hello.again,
        )
        worker.is_draining = hello.draining
        resumed = [
            held for held in hello.resuming if self._dispatch.holds(worker_id, held.job_id, held.attempt)
        ]
        line.send(
            Welcome(
                worker_id=worker_id,
                heartbeat_interval=self._heartbeat_interval_s,
                instance=self._instance,
                resumed=resumed,
            )
        )
        for held in hello.resuming:
            if held not in resumed:
                line.send(Stale(job_id=held.job_id, attempt=held.attempt))
        self._drains.tell(worker)
        keep = frozenset(JobId(held.job_id) for held in resumed)
        await self._dispatch.lose_jobs(worker_id, "the worker came back without it", keep)
        for held in resumed:
            self._bring_up_to_date(worker, held)
        self._dispatch.wake(ServiceId(hello.service_id))
        return worker

    async def frame(self, worker: Worker, line: Line, frame: WorkerFrame) -> None:
        """Do what a frame asks for.

        Raises:
            StoreError: nothing was acknowledged; the worker says it again after it reconnected.
        """
        if not self._registry.is_current(worker):
            line.close("this worker connected again")
            return  # the newest connection speaks for it
        if self._registry.heard(worker):
            self._dispatch.wake(worker.registration.service_id)
        match frame:
            case Ping():
                worker.load = frame.load
                was_draining, worker.is_draining = worker.is_draining, frame.draining
                if was_draining and not frame.draining:
                    self._dispatch.wake(worker.registration.service_id)
                line.send(Pong(position=self._feed.position))
            case Accept() | Refuse() | Report() | RecordingReport() | TokenWanted():
                held = self._dispatch.holds(worker.registration.worker_id, frame.job_id, frame.attempt)
                if held is None and not self._is_over(frame):
                    line.send(Stale(job_id=frame.job_id, attempt=frame.attempt))
                elif held is not None:
                    await self._job_frame(worker, line, frame)
            case Hello():
                log.info("second_hello_ignored", worker_id=worker.registration.worker_id)
            case _:
                assert_never(frame)

    async def closed(self, worker: Worker, line: Line) -> None:
        """The socket is gone: wait for it to come back, then offer its jobs to others."""
        worker_id = worker.registration.worker_id
        if worker.line is not line or self._registry.find(worker_id) is not worker:
            return  # it has connected again already
        worker.line = None
        since_start = self._clock.monotonic() - self._started_at
        await asyncio.sleep(max(self._come_back_s, self._come_back_at_start_s - since_start))
        is_said = False
        while self._registry.find(worker_id) is worker:
            try:
                if not is_said:
                    await self._registry.unavailable(worker, "connection closed")
                    is_said = True
                await self._dispatch.lose_jobs(worker_id, "the worker's connection closed")
            except OrchestratorError as error:
                log.warning("jobs_not_taken_back", worker_id=worker_id, error=str(error))
                await asyncio.sleep(self._try_again_s)
            else:
                return

    async def after_start(self) -> None:
        """Give pull workers of the time before this start their chance, then offer their jobs to others."""
        await asyncio.sleep(self._come_back_at_start_s)
        while True:
            try:
                await self._take_back()
            except OrchestratorError as error:
                log.warning("jobs_not_taken_back", error=str(error))
                await asyncio.sleep(self._try_again_s)
            else:
                return

    async def _take_back(self) -> None:
        for worker in self._registry.all():
            if not worker.is_push and worker.line is None:
                reason = "the worker did not come back after the orchestrator's start"
                await self._dispatch.lose_jobs(worker.registration.worker_id, reason)
        await self._dispatch.lose_jobs_of_strangers()

    def _bring_up_to_date(self, worker: Worker, held: HeldJob) -> None:
        """Say again what the worker may have missed while it was away."""
        found = self._dispatch.holds(worker.registration.worker_id, held.job_id, held.attempt)
        if found is None or worker.line is None:
            return
        session, job = found
        if job.state is JobState.ACCEPTED:
            self._dispatch.assign(session, job, worker)
        wanted = session.recording.wanted if session.recording is not None else None
        if job.service_id == RECORDER and wanted is not None and session.recording is not None:
            is_open = session.recording.done_op < wanted.n
            control = Control(job_id=job.job_id, attempt=job.attempt, n=wanted.n, op=wanted.op)
            if is_open:
                worker.line.send(control)
        is_completing = job.service_id == RECORDER and job.state is JobState.ACCEPTED
        if not session.is_live and session.stage != "capture" and not is_completing:
            worker.line.send(Leave(job_id=job.job_id, attempt=job.attempt, reason=session.end_reason))

    async def _job_frame(
        self,
        worker: Worker,
        line: Line,
        frame: Accept | Refuse | Report | RecordingReport | TokenWanted,
    ) -> None:
        found = self._dispatch.holds(worker.registration.worker_id, frame.job_id, frame.attempt)
        assert found is not None
        session, job = found
        match frame:
            case Accept():
                accepted = JobAccepted(
                    job_id=job.job_id, attempt=job.attempt, manual_ready=frame.manual_ready
                )
                after = await self._dispatch.tell(session.id, accepted)
                taken = after.job(job.job_id) if after is not None else None
                if after is None or taken is None or taken.attempt != frame.attempt:
                    line.send(Stale(job_id=frame.job_id, attempt=frame.attempt))
                elif taken.state is JobState.ACCEPTED:
                    self._dispatch.assign(after, taken, worker)
            case Refuse():
                detail = frame.reason[:200] or "the worker refused"
                await self._dispatch.tell(
                    session.id, JobRefused(job_id=job.job_id, attempt=job.attempt, detail=detail)
                )
            case Report():
                await self._report(frame, session.id, job.job_id)
            case RecordingReport():
                await self._recording(line, frame, session)
            case TokenWanted():
                token = self._dispatch.token_for(session, job)
                line.send(
                    TokenRenewed(
                        job_id=job.job_id,
                        attempt=job.attempt,
                        access_token=token.jwt,
                        expires_at=token.expires_at.isoformat().replace("+00:00", "Z"),
                        second_token=self._dispatch.second_token_for(session, job),
                    )
                )
            case _:
                assert_never(frame)

    async def _report(self, frame: Report, session_id: SessionId, job_id: JobId) -> None:
        detail = frame.detail[:500]
        match frame.state:
            case "joined":
                self._dispatch.start(self._looker.look(session_id))
            case "ready":
                await self._dispatch.tell(session_id, JobReady(job_id=job_id, attempt=frame.attempt))
            case "done":
                await self._dispatch.tell(
                    session_id, JobDone(job_id=job_id, attempt=frame.attempt, detail=detail)
                )
            case "failed":
                await self._dispatch.tell(
                    session_id,
                    JobLost(job_id=job_id, attempt=frame.attempt, detail=detail or "the worker failed"),
                )
            case _:
                assert_never(frame.state)

    async def _recording(self, line: Line, frame: RecordingReport, session: Session) -> None:
        if session.recording is None or session.recording.recording_id != frame.recording_id:
            line.send(Stale(job_id=frame.job_id, attempt=frame.attempt))
            return
        if frame.state not in _RECORDING_STATES:
            line.close(f"recording state {frame.state!r} is not known here")
            return
        try:
            await self._sessions.apply(
                session.id,
                RecordingReported(
                    job_id=JobId(frame.job_id),
                    attempt=frame.attempt,
                    n=frame.n,
                    status=RecordingStatus(frame.state),
                    tree_size=frame.tree_size,
                    root=frame.root,
                    checkpoint=frame.checkpoint,
                    store=frame.store,
                    stats=frame.stats,
                    op=frame.op,
                    closes=tuple(frame.closes),
                    gaps=tuple(frame.gaps),
                    detail=frame.detail[:500],
                ),
            )
        except StaleAttemptError:
            line.send(Stale(job_id=frame.job_id, attempt=frame.attempt))
        except IllegalTransitionError as error:
            log.warning("recording_report_refused", session_id=session.id, reason=str(error))
            line.close("the recording report makes no sense")
        else:
            line.send(Ack(job_id=frame.job_id, attempt=frame.attempt, n=frame.n))

    def _is_over(self, frame: Accept | Refuse | Report | RecordingReport | TokenWanted) -> bool:
        """Whether a report only repeats an end that is committed: it needs no answer."""
        return isinstance(frame, Report) and frame.state in ("done", "failed")
