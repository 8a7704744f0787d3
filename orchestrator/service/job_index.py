"""Which jobs wait, by service and what they ask for, and who holds which: nobody scans all sessions for it.

Made from committed records alone, one at a time; it holds nothing that is not in them.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from orchestrator.core.ids import JobId, ServiceId, SessionId, WorkerId
from orchestrator.core.jobs import HELD, Job
from orchestrator.core.session import Session
from orchestrator.core.work import is_offerable

Asked = tuple[tuple[str, str], ...]  # capabilities, sorted by name
Entry = tuple[int, datetime, SessionId, JobId]  # minus priority, age: sorted as the queue goes


@dataclass(slots=True)
class _Known:
    """What the index holds of one session."""

    waiting: dict[JobId, tuple[ServiceId, Asked, Entry]]
    held: dict[JobId, WorkerId]


class JobIndex:
    """Waiting jobs in their order, and held ones by worker."""

    def __init__(self) -> None:
        self._queues: dict[ServiceId, dict[Asked, list[Entry]]] = {}
        self._held: dict[WorkerId, dict[JobId, SessionId]] = {}
        self._known: dict[SessionId, _Known] = {}

    def update(self, session: Session) -> None:
        """Take over a committed record."""
        old = self._known.get(session.id) or _Known({}, {})
        new = _Known(
            {job.job_id: _place(session, job) for job in session.jobs if is_offerable(session, job)},
            {
                job.job_id: job.worker_id
                for job in session.jobs
                if job.worker_id is not None and job.state in HELD
            },
        )
        for job_id, place in old.waiting.items():
            if new.waiting.get(job_id) != place:
                self._remove(*place)
        for job_id, place in new.waiting.items():
            if old.waiting.get(job_id) != place:
                insort(self._queues.setdefault(place[0], {}).setdefault(place[1], []), place[2])
        for job_id, worker_id in old.held.items():
            if new.held.get(job_id) != worker_id:
                self._release(job_id, worker_id)
        for job_id, worker_id in new.held.items():
            self._held.setdefault(worker_id, {})[job_id] = session.id
        if new.waiting or new.held:
            self._known[session.id] = new
        else:
            self._known.pop(session.id, None)

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return sum(len(entries) for queue in self._queues.values() for entries in queue.values())

    def asked(self, service_id: ServiceId) -> list[Asked]:
        """Give the different capabilities that waiting jobs of a service ask for."""
        return list(self._queues.get(service_id, ()))

    def in_order(self, service_id: ServiceId, wanted: set[Asked]) -> Iterator[tuple[Asked, SessionId, JobId]]:
        """Give the waiting jobs of a service, the important first, then the old.

        Args:
            service_id: which service.
            wanted: what they may ask for; the caller takes one out and those behind are passed over.
        """
        queue = self._queues.get(service_id, {})
        at = {asked: 0 for asked in queue if asked in wanted}
        while at:
            asked = min(at, key=lambda one: queue[one][at[one]])
            _, _, session_id, job_id = queue[asked][at[asked]]
            at[asked] += 1
            yield asked, session_id, job_id
            at = {one: n for one, n in at.items() if n < len(queue[one]) and one in wanted}

    def held_by(self, worker_id: WorkerId) -> list[tuple[SessionId, JobId]]:
        """Give what a worker was offered or holds."""
        return [(session_id, job_id) for job_id, session_id in self._held.get(worker_id, {}).items()]

    def holders(self) -> list[WorkerId]:
        """Give everybody who was offered or holds something."""
        return list(self._held)

    def _remove(self, service_id: ServiceId, asked: Asked, entry: Entry) -> None:
        queue = self._queues[service_id]
        entries = queue[asked]
        del entries[bisect_left(entries, entry)]
        if not entries:
            del queue[asked]
        if not queue:
            del self._queues[service_id]

    def _release(self, job_id: JobId, worker_id: WorkerId) -> None:
        jobs = self._held[worker_id]
        del jobs[job_id]
        if not jobs:
            del self._held[worker_id]


def _place(session: Session, job: Job) -> tuple[ServiceId, Asked, Entry]:
    asked = tuple(sorted(job.capabilities.items())) if job.capabilities else ()
    return job.service_id, asked, (-job.priority, session.created_at, session.id, job.job_id)
