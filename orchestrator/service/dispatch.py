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
from orchestrator.core.ids import JobId, ServiceId, SessionId, WorkerId, is_agent
from orchestrator.core.jobs import HELD, Job, JobState
from orchestrator.core.recording import RECORDER
from orchestrator.core.session import Session
from orchestrator.core.triggers import JobAccepted, JobLost, JobOffered, JobRefused, Trigger
from orchestrator.core.waiting import Waiting, agent_asked, agent_pause, no_room, why_waiting
from orchestrator.core.work import is_offerable
from orchestrator.core.workers import choose
from orchestrator.ports import Clock, Token, TokenMint, WorkerCaller
from orchestrator.service.breakers import Breakers
from orchestrator.service.deadlines import Looker
from orchestrator.service.job_index import JobIndex
from orchestrator.service.registry import Registry, Worker
from orchestrator.service.sessions import Sessions
from orchestrator.service.worker_frames import assign_frame, offer_frame
from sdk.wire import Control, JoinRoom, Leave, LeaveRoom, RecordingTask, Stale

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
        clock: Clock,
        max_rest_s: float,
    ) -> None:
        self._sessions = sessions
        self._registry = registry
        self._tokens = tokens
        self._caller = caller
        self._looker = looker
        self._recording = recording  # what the settings say of every recording; its id is a session's own
        self._index = JobIndex()
        self._breakers = Breakers(registry=registry, clock=clock, max_rest_s=max_rest_s, wake=self.wake)
        self._offering: set[JobId] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False
        sessions.live.observe(self.observe)
        sessions.offers = self

    # --- offers ---

    def observe(self, before: Session | None, after: Session) -> None:
        """Take notice of a commit: count jobs, offer what is pending, use what became free."""
        freed = self._registry.count(before, after)
        self._index.update(after)
        self._breakers.observe(before, after)
        # What was offered before this start may have been sent: presence or the offer's deadline decides.
        for job in after.jobs if before is not None else ():
            if job.state is JobState.OFFERED and _attempt(before, job) != job.attempt:
                self.start(self._send_offer(after, job))
        for service_id in freed:
            self.wake(service_id)

    def wake(self, service_id: ServiceId) -> None:
        """Offer the pending jobs of a service: the important first, then the old."""
        if self._is_closed:
            return
        asked = set(self._index.asked(service_id))
        for capabilities, session_id, job_id in self._index.in_order(service_id, asked):
            session = self._sessions.live.get(session_id)
            job = session.job(job_id) if session is not None else None
            if session is None or job is None or job_id in self._offering:
                continue
            worker = self._choose(session, job)
            if worker is not None:
                self._offering.add(job_id)
                self._reserve(worker, job)
                self.start(self._offer_now(session_id, job_id, worker))
            elif choose(self._registry.candidates(service_id), asked=job.capabilities) is None:
                asked.discard(capabilities)  # nobody takes such a job now: those behind it need no look

    @property
    def queued(self) -> int:
        """How many jobs wait for somebody."""
        return self._index.waiting

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
                self._reserve(worker, job)
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
                self._free(worker, offer.job_id)

    def _reserve(self, worker: Worker, job: Job) -> None:
        """Keep the place, so that the next choice counts it."""
        worker.jobs[job.job_id] = JobState.OFFERED
        self._breakers.asked(worker.registration.worker_id, job.job_id)

    def _free(self, worker: Worker, job_id: JobId) -> None:
        worker.jobs.pop(job_id, None)
        self._breakers.not_asked(worker.registration.worker_id, job_id)

    def _choose(self, session: Session, job: Job) -> Worker | None:
        candidate = choose(
            self._registry.candidates(job.service_id), refused_by=job.refused_by, asked=job.capabilities
        )
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
        is_free = False
        try:
            await self._sessions.apply(session_id, offer)
        except (IllegalTransitionError, StaleAttemptError, SessionNotFoundError):
            is_free = True  # it was offered, or ended, in the meantime: another may have the place
        finally:
            self._offering.discard(job_id)
            session = self._sessions.live.get(session_id)
            job = session.job(job_id) if session is not None else None
            if job is None or job.worker_id != worker_id:
                self._free(worker, job_id)
        if is_free:
            self.wake(worker.registration.service_id)

    async def _send_offer(self, session: Session, job: Job) -> None:
        """Ask the worker; the attempt is committed."""
        worker = self._registry.find(job.worker_id)
        if worker is None:
            return  # it left in the meantime: the offer's deadline finds another
        if worker.drains:  # since it was chosen: a commit may take its time
            drains = JobRefused(job_id=job.job_id, attempt=job.attempt, detail="the worker drains")
            await self.tell(session.id, drains)
        elif worker.is_push:
            await self._call(session, job, worker)
        elif worker.line is not None:
            worker.line.send(offer_frame(session, job))

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
            if outcome.retry_after_s is not None:
                self._breakers.told_to_wait(worker.registration.worker_id, outcome.retry_after_s)
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
        if worker.line is not None:
            token = self.token_for(session, job)
            worker.line.send(assign_frame(session, job, token, self._recording))

    def token_for(self, session: Session, job: Job) -> Token:
        """Mint the room token of a job's attempt; never stored."""
        make = recorder_grant if job.service_id == RECORDER else worker_grant
        return self._tokens.mint(make(session.room_name, job.service_id, job.attempt, session_id=session.id))

    def second_token_for(self, session: Session, job: Job) -> str:
        """Mint the token of a recorder's second connection; none for other services."""
        if job.service_id != RECORDER:
            return ""
        grant = recorder_grant(
            session.room_name, job.service_id, job.attempt, session_id=session.id, is_second=True
        )
        return self._tokens.mint(grant).jwt

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
        for session_id, job_id in self._index.held_by(worker_id):
            held = self.holder(worker_id, job_id)
            if held is not None and job_id not in keep:
                lost = JobLost(job_id=job_id, attempt=held.attempt, detail=reason)
                await self.tell(session_id, lost)

    def holder(self, worker_id: WorkerId, job_id: JobId) -> Job | None:
        """Give a job if this worker was offered it or holds it, else None."""
        session = self._sessions.live.of_job(job_id)
        job = session.job(job_id) if session is not None else None
        return job if job is not None and job.worker_id == worker_id and job.state in HELD else None

    def calls_to_await(self, worker: Worker) -> frozenset[JobId]:
        """Give the offers that a silent push worker may be acting on and that nobody else could take now.

        One that does nothing else while it joins answers no probe either. Asked again when it is back, it
        would join twice; so its call has the retry interval, unless another worker is there.
        """
        if not worker.is_push:
            return frozenset()
        kept = []
        for session_id, job_id in self._index.held_by(worker.registration.worker_id):
            session = self._sessions.live.get(session_id)
            job = session.job(job_id) if session is not None else None
            if session is None or job is None or job.state is not JobState.OFFERED:
                continue
            if self._choose(session, job) is None:
                kept.append(job_id)
        return frozenset(kept)

    async def lose_jobs_of_strangers(self) -> None:
        """Offer the jobs of workers that nobody knows any more to others."""
        for worker_id in self._index.holders():
            if self._registry.find(worker_id) is None:
                await self.lose_jobs(worker_id, "the worker is unknown")

    def why_waiting(self, session: Session, job: Job) -> Waiting | None:
        """Say why nobody does a job; None when somebody does, or nobody needs to."""
        if not session.is_open:
            return None
        if job.state in (JobState.OFFERED, JobState.ACCEPTED) and is_agent(job.service_id):
            return agent_asked()  # LiveKit's dispatcher says nothing until one joins, if any does
        if job.state is not JobState.PENDING:
            return None
        if not is_offerable(session, job):
            return no_room() if session.is_live else None
        if is_agent(job.service_id):
            return agent_pause()
        is_resting = armed_for("retry", job) in session.deadlines
        return why_waiting(
            job.service_id,
            self._registry.standings(job.service_id),
            asked=job.capabilities,
            refused_by=job.refused_by if is_resting else (),
        )

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


async def _quietly(work: Coroutine[Any, Any, object]) -> None:
    try:
        await work
    except OrchestratorError as error:
        log.warning("dispatch_step_failed", error=str(error))
