"""Brings jobs to workers: who is asked, how, and what their answers mean.

Level-triggered: whatever pending job a committed session shows is offered as soon as somebody can take it,
so there is no queue to lose. The attempt is committed before the offer goes out.
Source: architecture §5, docs/decisions/0001-offers-are-not-commands.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

import structlog

from orchestrator.core.commands import ControlRecording, LeaveJob
from orchestrator.core.draft import armed_for
from orchestrator.core.errors import (
    IllegalTransitionError,
    OrchestratorError,
    SessionNotFoundError,
    StaleAttemptError,
)
from orchestrator.core.grants import recorder_grant, worker_grant
from orchestrator.core.ids import JobId, ServiceId, SessionId, WorkerId
from orchestrator.core.jobs import HELD, Job, JobState
from orchestrator.core.recording import RECORDER
from orchestrator.core.session import Session
from orchestrator.core.triggers import JobAccepted, JobLost, JobOffered, JobRefused, Trigger
from orchestrator.core.work import is_offerable, needs_room
from orchestrator.core.workers import choose
from orchestrator.ports import Token, TokenMint, WorkerCaller
from orchestrator.service.deadlines import Looker
from orchestrator.service.registry import Registry, Worker
from orchestrator.service.sessions import Sessions
from sdk.wire import Assign, Control, JoinRoom, Leave, LeaveRoom, Offer, RecordingTask, Stale

log = structlog.get_logger(__name__)

_LOOK_S: Final = 1.0  # after a push worker said yes and no webhook says that it joined
_LEAVE_S: Final = 5.0  # what a worker is told it has for leaving


class Dispatch:
    """Offers jobs and tells workers what becomes of them."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        registry: Registry,
        tokens: TokenMint,
        caller: WorkerCaller,
        looker: Looker,
        recording: RecordingTask,
    ) -> None:
        self._sessions = sessions
        self._registry = registry
        self._tokens = tokens
        self._caller = caller
        self._looker = looker
        self._recording = recording  # what the settings say of every recording; its id is a session's own
        self._offering: set[JobId] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False
        sessions.live.observe(self.observe)
        sessions.offers = self

    # --- offers ---

    def observe(self, before: Session | None, after: Session) -> None:
        """Take notice of a commit: count jobs, offer what is pending, use what became free."""
        freed = self._registry.count(before, after)
        for job in after.jobs:
            if job.state is JobState.OFFERED and _attempt(before, job) != job.attempt:
                self.start(self._send_offer(after, job))
        for service_id in freed:
            self.wake(service_id)

    def wake(self, service_id: ServiceId) -> None:
        """Offer the pending jobs of a service: the important first, then the old."""
        if self._is_closed:
            return
        waiting = [
            (-job.priority, order, session, job)
            for order, session in enumerate(self._sessions.live.all())
            for job in session.jobs
            if job.service_id == service_id and is_offerable(session, job)
        ]
        for _, _, session, job in sorted(waiting, key=lambda item: item[:2]):
            worker = self._choose(session, job) if job.job_id not in self._offering else None
            if worker is not None:
                self._offering.add(job.job_id)
                worker.jobs[job.job_id] = JobState.OFFERED  # kept, so that the next choice counts it
                self.start(self._offer_now(session.id, job.job_id, worker))

    @property
    def queued(self) -> int:
        """How many jobs wait for somebody."""
        return sum(is_offerable(s, job) for s in self._sessions.live.all() for job in s.jobs)

    @property
    def busy(self) -> int:
        """How many offers, calls and looks are under way."""
        return len(self._tasks)

    async def close(self) -> None:
        """Stop offering; what was not answered is found again at the next start."""
        self._is_closed = True
        for task in set(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=2.0)

    # --- the planner of every commit (`OfferPlanner`) ---

    def plan(self, session: Session) -> tuple[JobOffered, ...]:
        """Choose workers for the jobs of a session that can be offered now, and keep their places free."""
        if self._is_closed:
            return ()
        planned = []
        for job in session.jobs:
            worker = self._choose(session, job) if is_offerable(session, job) else None
            if worker is not None:
                worker.jobs[job.job_id] = JobState.OFFERED  # kept, so that the next choice counts it
                planned.append(
                    JobOffered(
                        job_id=job.job_id,
                        worker_id=worker.registration.worker_id,
                        is_push=worker.is_push,
                    )
                )
        return tuple(planned)

    def settle(self, planned: tuple[JobOffered, ...]) -> None:
        """Give kept places back; those of offers that were committed are counted by `observe`."""
        for offer in planned:
            worker = self._registry.find(offer.worker_id)
            if worker is not None:
                worker.jobs.pop(offer.job_id, None)

    def _choose(self, session: Session, job: Job) -> Worker | None:
        candidate = choose(self._registry.candidates(job.service_id), refused_by=job.refused_by)
        if candidate is None:
            return None
        is_resting = armed_for("retry", job) in session.deadlines
        if is_resting and candidate.worker_id in job.refused_by:
            return None  # its pause ends by a deadline, and then it is asked again
        return self._registry.get(candidate.worker_id)

    async def _offer_now(self, session_id: SessionId, job_id: JobId, worker: Worker) -> None:
        """Offer a job that waited, in a commit of its own."""
        worker_id = worker.registration.worker_id
        offer = JobOffered(job_id=job_id, worker_id=worker_id, is_push=worker.is_push)
        try:
            await self._sessions.apply(session_id, offer)
        except (IllegalTransitionError, StaleAttemptError, SessionNotFoundError):
            pass  # it was offered, or ended, in the meantime
        finally:
            self._offering.discard(job_id)
            session = self._sessions.live.get(session_id)
            job = session.job(job_id) if session is not None else None
            if job is None or job.worker_id != worker_id:
                worker.jobs.pop(job_id, None)

    async def _send_offer(self, session: Session, job: Job) -> None:
        """Ask the worker; the attempt is committed."""
        worker = self._registry.find(job.worker_id)
        if worker is None:
            return  # it left in the meantime: the offer's deadline finds another
        if worker.is_push:
            await self._call(session, job, worker)
        elif worker.line is not None:
            worker.line.send(
                Offer(
                    job_id=job.job_id,
                    attempt=job.attempt,
                    session_id=session.id,
                    service_id=job.service_id,
                    room_name=session.room_name,
                    metadata=session.metadata,
                    deadline=session.limits.offer_s,
                )
            )

    async def _call(self, session: Session, job: Job, worker: Worker) -> None:
        endpoint = worker.registration.endpoint
        assert endpoint is not None
        outcome = await self._caller.join_room(
            endpoint,
            JoinRoom(
                room_name=session.room_name,
                session_id=session.id,
                service_identity=job.service_id,
                access_token=self.token_for(session, job).jwt,
                livekit_url=session.livekit_url,
                job_id=job.job_id,
                attempt=job.attempt,
            ),
        )
        if outcome.answer == "yes":
            self._registry.heard(worker)
            accepted = JobAccepted(job_id=job.job_id, attempt=job.attempt)
            await self.tell(session.id, accepted, is_patient=True)
            # LiveKit's webhook usually says first that it has joined.
            asyncio.get_running_loop().call_later(_LOOK_S, self._look_unless_joined, session.id, job.job_id)
        elif outcome.answer == "no":
            await self.tell(
                session.id,
                JobRefused(
                    job_id=job.job_id,
                    attempt=job.attempt,
                    detail=outcome.detail,
                    retry_after_s=outcome.retry_after_s,
                ),
            )
        # No answer in time is not a failure: presence or the offer's deadline decides.

    def _look_unless_joined(self, session_id: SessionId, job_id: JobId) -> None:
        session = self._sessions.live.get(session_id)
        job = session.job(job_id) if session is not None else None
        if job is not None and job.state is JobState.ACCEPTED:
            self.start(self._looker.look(session_id))

    # --- what workers are told ---

    def assign(self, session: Session, job: Job, worker: Worker) -> None:
        """Give a pull worker what it needs to join (or to complete a recording)."""
        if worker.line is None:
            return
        token = self.token_for(session, job)
        frame = Assign(
            job_id=job.job_id,
            attempt=job.attempt,
            access_token=token.jwt,
            livekit_url=session.livekit_url,
            expires_at=token.expires_at.isoformat().replace("+00:00", "Z"),
        )
        if job.service_id == RECORDER and session.recording is not None:
            frame = _with_recording(frame, self._recording, session, job)
        worker.line.send(frame)

    def token_for(self, session: Session, job: Job) -> Token:
        """Mint the room token of a job's attempt; never stored."""
        make = recorder_grant if job.service_id == RECORDER else worker_grant
        return self._tokens.mint(make(session.room_name, job.service_id, job.attempt, session_id=session.id))

    async def leave(self, command: LeaveJob, session: Session) -> bool:
        """Tell a worker to leave; True when it answered that it has left."""
        worker = self._registry.find(WorkerId(command.worker_id))
        if worker is None:
            return not command.is_stale
        if worker.is_push:
            endpoint = worker.registration.endpoint
            newer = session.job(command.job_id)
            if command.is_stale and newer is not None and newer.worker_id == command.worker_id:
                return False  # the reference's /leave-room knows no attempts: it would end the new one
            assert endpoint is not None
            request = LeaveRoom(session_id=session.id, room_name=command.room_name)
            return (await self._caller.leave_room(endpoint, request)).answer == "yes"
        if worker.line is not None:
            stale = Stale(job_id=command.job_id, attempt=command.attempt)
            leave = Leave(
                job_id=command.job_id, attempt=command.attempt, reason=command.reason, deadline=_LEAVE_S
            )
            worker.line.send(stale if command.is_stale else leave)
        return False  # a pull worker says `done` itself; one that is away learns it when it is back

    async def control(self, command: ControlRecording) -> None:
        """Send the recorder an operation, if its line is up."""
        worker = self._registry.find(WorkerId(command.worker_id))
        if worker is not None and worker.line is not None and command.op in ("pause", "resume", "stop"):
            worker.line.send(
                Control(
                    job_id=command.job_id,
                    attempt=command.attempt,
                    n=command.n,
                    op=command.op,  # type: ignore[arg-type]  # checked in the line above
                )
            )

    # --- what becomes of workers ---

    async def lose_jobs(self, worker_id: WorkerId, reason: str, keep: frozenset[JobId] = frozenset()) -> None:
        """Offer every job of a worker to others, except those of ``keep``."""
        for session in self._sessions.live.all():
            for job in session.jobs_of(worker_id):
                if job.job_id not in keep:
                    lost = JobLost(job_id=job.job_id, attempt=job.attempt, detail=reason)
                    await self.tell(session.id, lost)

    def holds(self, worker_id: WorkerId, job_id: str, attempt: int) -> tuple[Session, Job] | None:
        """Give session and job if this worker holds this attempt, else None."""
        session = self._sessions.live.of_job(job_id)
        job = session.job(job_id) if session is not None else None
        if session is None or job is None or job.attempt != attempt or job.worker_id != worker_id:
            return None
        return (session, job) if job.state in HELD else None

    async def tell(
        self, session_id: SessionId, trigger: Trigger, *, is_patient: bool = False
    ) -> Session | None:
        """Apply what a worker said or did; None when its attempt is over or the session does not allow it."""
        try:
            return await self._sessions.apply(session_id, trigger, is_patient=is_patient)
        except (StaleAttemptError, IllegalTransitionError, SessionNotFoundError) as error:
            log.info("worker_word_refused", session_id=session_id, reason=str(error))
            return None

    def start(self, work: Coroutine[Any, Any, object]) -> None:
        """Do something beside; its failure is logged, the next look or deadline makes up for it."""
        if self._is_closed:
            work.close()
            return
        task = asyncio.ensure_future(_quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _attempt(session: Session | None, job: Job) -> int:
    before = session.job(job.job_id) if session is not None else None
    return before.attempt if before is not None else 0


def _with_recording(frame: Assign, settings: RecordingTask, session: Session, job: Job) -> Assign:
    assert session.recording is not None
    task = RecordingTask(
        recording_id=session.recording.recording_id,
        task="capture" if needs_room(session, job) else "complete",
        mode=settings.mode,
        quality=settings.quality,
        format=settings.format,
        keyframe_interval_s=settings.keyframe_interval_s,
    )
    return Assign(
        job_id=frame.job_id,
        attempt=frame.attempt,
        access_token=frame.access_token,
        livekit_url=frame.livekit_url,
        expires_at=frame.expires_at,
        recording=task,
    )


async def _quietly(work: Coroutine[Any, Any, object]) -> None:
    try:
        await work
    except OrchestratorError as error:
        log.warning("dispatch_step_failed", error=str(error))
