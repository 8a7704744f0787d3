"""Who offers what, and who is alive: registrations durable, liveness in memory.

A worker is heard by its heartbeat, by a frame on its socket, or by a probe of its `/health`. Three missed
make it dead: its jobs are offered to others. Not heard within the registration timeout it is Disconnected
and probed more rarely; its first answer brings it back. Source: contracts §1 (timeouts), architecture §5.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Protocol
from weakref import WeakValueDictionary

import structlog

from orchestrator.core.breaker import Breaker, BreakerState, registered_anew
from orchestrator.core.errors import WorkerIdTakenError, WorkerNotFoundError
from orchestrator.core.events import MicroserviceRegistered, MicroserviceUnavailable
from orchestrator.core.ids import JobId, ServiceId, WorkerId
from orchestrator.core.jobs import HELD, JobState
from orchestrator.core.request_keys import RequestKey
from orchestrator.core.session import Session
from orchestrator.core.waiting import Standing
from orchestrator.core.work import needs_room
from orchestrator.core.workers import Candidate, Registration, ServiceStatus
from orchestrator.ports import Clock, SessionStore
from sdk.wire import OrchestratorFrame

log = structlog.get_logger(__name__)

MISSED_LIMIT: Final = 3  # heartbeats or probes in a row
FORGOTTEN_AFTER: Final = timedelta(hours=24)
_NOTED_EVERY: Final = timedelta(hours=1)


class Line(Protocol):
    """An open connection to a pull worker."""

    def send(self, frame: OrchestratorFrame) -> None:
        """Put a frame on the line; a line that is down or too slow drops it and closes itself."""

    def close(self, reason: str) -> None:
        """End the connection."""


@dataclass(slots=True, kw_only=True)
class Worker:
    """A worker as this instance knows it; mutable, owned by the registry.

    ``is_draining`` is what it says itself; `drains` counts the operator's word too.
    """

    registration: Registration
    line: Line | None = None
    heard_at: float  # monotonic seconds; before it `is_heard`, when we began to listen
    is_heard: bool = True
    missed: int = 0
    probed_at: float = 0.0
    is_dead: bool = False
    is_draining: bool = False
    load: float = 0.0
    breaker: Breaker = field(default_factory=Breaker)
    jobs: dict[JobId, JobState] = field(default_factory=dict)

    @property
    def is_push(self) -> bool:
        """Whether it is called by HTTP."""
        return self.registration.endpoint is not None

    @property
    def is_up(self) -> bool:
        """Whether it can be asked, its breaker aside."""
        return not self.is_away and not self.drains

    @property
    def is_away(self) -> bool:
        """Whether it was not heard, or has no connection."""
        return self.is_dead or (not self.is_push and self.line is None)

    @property
    def drains(self) -> bool:
        """Whether it takes nothing new."""
        return self.is_draining or self.registration.drain_by is not None

    @property
    def status(self) -> ServiceStatus:
        """The reference's word for how it stands."""
        if self.is_away:
            return "Disconnected"
        if JobState.JOINED in self.jobs.values():
            return "Ready"
        return "Joining" if self.jobs else "Registered"


class Registry:
    """All workers."""

    def __init__(self, *, store: SessionStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._workers: dict[WorkerId, Worker] = {}
        self._turns: WeakValueDictionary[WorkerId, asyncio.Lock] = WeakValueDictionary()

    async def open(self) -> None:
        """Take over the registrations of earlier starts; they are probed before they are believed dead."""
        now = self._clock.monotonic()
        for registration in await self._store.workers():
            # Its day of grace does not begin anew at each start: what counts for that is `seen_at`.
            worker = Worker(registration=registration, heard_at=now, is_heard=False)
            self._workers[registration.worker_id] = worker

    async def register(
        self,
        registration: Registration,
        line: Line | None = None,
        *,
        is_again: bool = False,
        key: RequestKey | None = None,
    ) -> Worker:
        """Insert or replace a registration, and bind a key to it; durable when this returns.

        Args:
            registration: what the worker says of itself.
            line: its connection, for a pull worker. The newest counts, an older one is closed.
            is_again: the same process as before connects again: an operator's drain holds, its breaker too.
            key: of the request that registers it.

        Raises:
            WorkerIdTakenError: the worker id belongs to another service.
            KeyTakenError: the key is bound already.
        """
        async with self._turn(registration.worker_id):
            old = self._holder(registration)
            if old is not None:
                registration = replace(
                    registration,
                    registered_at=old.registration.registered_at,
                    drain_by=old.registration.drain_by if is_again else None,
                )
            is_news = old is None or old.status == "Disconnected" or _differs(old.registration, registration)
            if is_news or key is not None:
                event = MicroserviceRegistered(
                    service_id=registration.service_id, worker_id=registration.worker_id
                )
                await self._store.save_worker(registration, (event,) if is_news else (), key=key)
            worker = Worker(registration=registration, line=line, heard_at=self._clock.monotonic())
            if old is not None:
                worker.jobs = old.jobs
                worker.breaker = old.breaker if is_again else registered_anew(old.breaker, worker.heard_at)
                if old.line is not None and old.line is not line:
                    old.line.close("this worker connected again")
            self._workers[registration.worker_id] = worker
            return worker

    async def drain(self, worker_id: WorkerId, drain_by: datetime) -> Worker:
        """Have a worker take nothing new; of two deadlines the earlier counts. Durable when this returns.

        Raises:
            WorkerNotFoundError: it is not registered.
        """
        async with self._turn(worker_id):
            worker = self.get(worker_id)
            before = worker.registration
            if before.drain_by is not None and before.drain_by <= drain_by:
                return worker
            event = MicroserviceUnavailable(
                service_id=before.service_id, worker_id=worker_id, reason="draining"
            )
            registration = replace(before, drain_by=drain_by)
            await self._store.save_worker(registration, (event,) if before.drain_by is None else ())
            worker.registration = registration
            return worker

    def _turn(self, worker_id: WorkerId) -> asyncio.Lock:
        """Give what lets one at a time write a registration: the last to write knows of all before."""
        return self._turns.setdefault(worker_id, asyncio.Lock())

    def _holder(self, registration: Registration) -> Worker | None:
        """Give who has the worker id now; a worker of another service may not take it over."""
        old = self._workers.get(registration.worker_id)
        if old is not None and old.registration.service_id != registration.service_id:
            raise WorkerIdTakenError(registration.worker_id, old.registration.service_id)
        return old

    async def unregister(self, worker_id: WorkerId) -> Worker:
        """Forget a registration.

        Raises:
            WorkerNotFoundError: there is none.
        """
        async with self._turn(worker_id):
            return await self._unregister(worker_id)

    async def _unregister(self, worker_id: WorkerId) -> Worker:
        worker = self.get(worker_id)
        event = MicroserviceUnavailable(
            service_id=worker.registration.service_id, worker_id=worker_id, reason="unregistered"
        )
        await self._store.delete_worker(worker_id, (event,))
        self._workers.pop(worker_id, None)
        if worker.line is not None:
            worker.line.close("unregistered")
        return worker

    def get(self, worker_id: WorkerId) -> Worker:
        """Give a worker.

        Raises:
            WorkerNotFoundError: it is not registered.
        """
        worker = self._workers.get(worker_id)
        if worker is None:
            raise WorkerNotFoundError(f"worker {worker_id!r} is not registered")
        return worker

    def find(self, worker_id: WorkerId | None) -> Worker | None:
        """Give a worker, or None."""
        return self._workers.get(worker_id) if worker_id is not None else None

    def all(self) -> list[Worker]:
        """Give all workers, by name."""
        return [self._workers[worker_id] for worker_id in sorted(self._workers)]

    def of_service(self, service_id: str) -> list[Worker]:
        """Give the workers that offer a service."""
        return [w for w in self._workers.values() if w.registration.service_id == service_id]

    def default_services(self) -> tuple[ServiceId, ...]:
        """Give the services that sessions get by default and that have a worker now."""
        names = {
            worker.registration.service_id
            for worker in self._workers.values()
            if worker.registration.in_default and worker.is_up
        }
        return tuple(sorted(names))

    def standings(self, service_id: str) -> list[Standing]:
        """Give how each worker of a service stands, whether or not it can be asked."""
        now_s = self._clock.monotonic()
        return [
            Standing(
                candidate=_candidate(worker),
                is_away=worker.is_away,
                is_draining=worker.drains,
                rests_s=worker.breaker.rests_s(now_s),
            )
            for worker in self.of_service(service_id)
        ]

    def candidates(self, service_id: str) -> Iterable[Candidate]:
        """Give the workers of a service that can be asked now."""
        now_s = self._clock.monotonic()
        return (
            _candidate(worker)
            for worker in self.of_service(service_id)
            if worker.is_up and worker.breaker.rests_s(now_s) is None
        )

    def breaker_state(self, worker: Worker) -> BreakerState:
        """Give how a worker's breaker stands now."""
        return worker.breaker.state(self._clock.monotonic())

    def is_current(self, worker: Worker) -> bool:
        """Whether this is the worker's registration now, and not one that a newer connection replaced."""
        return self._workers.get(worker.registration.worker_id) is worker

    def count(self, before: Session | None, after: Session) -> list[ServiceId]:
        """Keep the number of jobs per worker right; give the services that have more room than before."""
        freed: list[ServiceId] = []
        for job in before.jobs if before is not None else ():
            now = after.job(job.job_id)
            worker = self.find(job.worker_id)
            if worker is not None and (
                now is None or now.worker_id != job.worker_id or now.state not in HELD
            ):
                worker.jobs.pop(job.job_id, None)
                freed.append(job.service_id)
        for job in after.jobs:
            worker = self.find(job.worker_id)
            if worker is not None and job.state in HELD:
                # Who completes a recording, or leaves, joins nothing.
                state = job.state if needs_room(after, job) else JobState.JOINED
                if worker.jobs.get(job.job_id) is not state is JobState.JOINED:
                    freed.append(job.service_id)  # one more may join
                worker.jobs[job.job_id] = state
        return freed

    def heard(self, worker: Worker) -> bool:
        """Note a sign of life; True when it had been taken for dead."""
        worker.heard_at = self._clock.monotonic()
        worker.is_heard = True
        worker.missed = 0
        was_dead, worker.is_dead = worker.is_dead, False
        return was_dead

    async def unavailable(self, worker: Worker, reason: str) -> None:
        """Say that a worker is gone for now; one that registered again or was forgotten is not."""
        worker_id = worker.registration.worker_id
        async with self._turn(worker_id):
            if not self.is_current(worker):
                return
            registration = replace(worker.registration, seen_at=self._seen_at(worker))
            event = MicroserviceUnavailable(
                service_id=registration.service_id, worker_id=worker_id, reason=reason
            )
            await self._store.save_worker(registration, (event,))
            worker.registration = registration
        log.info("worker_unavailable", worker_id=worker_id, reason=reason)

    async def forget_old(self) -> None:
        """Drop registrations of workers that were not heard for a day; note when the others were."""
        for worker in self.all():
            worker_id = worker.registration.worker_id
            async with self._turn(worker_id):
                if not self.is_current(worker):
                    continue  # it registered again while an earlier one was written
                seen_at = self._seen_at(worker)
                if worker.status == "Disconnected":
                    if self._store.now() - seen_at > FORGOTTEN_AFTER:
                        await self._unregister(worker_id)
                elif seen_at - worker.registration.seen_at > _NOTED_EVERY:
                    registration = replace(worker.registration, seen_at=seen_at)
                    await self._store.save_worker(registration)
                    worker.registration = registration

    def _seen_at(self, worker: Worker) -> datetime:
        """Give when it was last heard, by the store's time; that may have been before this start."""
        if not worker.is_heard:
            return worker.registration.seen_at
        return self._store.now() - timedelta(seconds=self._clock.monotonic() - worker.heard_at)


def _candidate(worker: Worker) -> Candidate:
    registration = worker.registration
    return Candidate(
        worker_id=registration.worker_id,
        capacity=registration.capacity,
        jobs=len(worker.jobs),
        joining=sum(state is not JobState.JOINED for state in worker.jobs.values()),
        load=worker.load,
        offers={**registration.metadata, **registration.capabilities},
    )


def _differs(old: Registration, new: Registration) -> bool:
    return replace(old, seen_at=new.seen_at, registered_at=new.registered_at) != new
