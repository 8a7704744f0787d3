"""I3, I4, I5, I6: a job has one holder, one lease and one face in the room, and is never forgotten."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from orchestrator.core.ids import WorkerId
from orchestrator.core.jobs import HELD, Job, JobState
from orchestrator.core.session import Session
from orchestrator.core.states import RoomStatus
from tests.invariants.checks.watching import Persisting, Views, Violation
from tests.invariants.history import (
    Claimed,
    Committed,
    Drops,
    History,
    Holds,
    Joined,
    Released,
    Stopped,
    Told,
    WorkerDown,
    WorkerUp,
)

_TAKEN = (JobState.ACCEPTED, JobState.JOINED)
NEWER_READY_S = 2.0
LOST_JOB_S = 9.0


def check_i3(history: History) -> list[Violation]:
    """One effect: an attempt is accepted of one worker at most, attempts never fall or go to two."""
    found = []
    accepted: dict[tuple[str, str, int], str] = {}
    attempts: dict[tuple[str, str], int] = {}
    for record in history.of(Committed):
        for job in record.session.jobs:
            key = (record.session.id, job.service_id)
            if job.attempt < attempts.get(key, 0):
                what = f"{key} falls from attempt {attempts[key]} to {job.attempt}"
                found.append(Violation(invariant="I3", at=record.at, what=what))
            attempts[key] = max(job.attempt, attempts.get(key, 0))
            if job.state not in _TAKEN or job.worker_id is None:
                continue
            holder = accepted.setdefault((*key, job.attempt), job.worker_id)
            if holder != job.worker_id:
                what = f"{key} attempt {job.attempt} is accepted of {holder} and of {job.worker_id}"
                found.append(Violation(invariant="I3", at=record.at, what=what))
    assigned: dict[tuple[str, int], str] = {}
    for told in history.of(Told):
        if told.what in ("assign", "join-room"):
            worker = assigned.setdefault((told.job_id, told.attempt), told.worker)
            if worker != told.worker:
                what = f"{told.job_id} attempt {told.attempt} went to {worker} and to {told.worker}"
                found.append(Violation(invariant="I3", at=told.at, what=what))
    return found


def check_i4(history: History) -> list[Violation]:
    """One lease: nobody claims what another holds, and the fence grows with every claim."""
    found = []
    held: dict[int, tuple[str, int, datetime]] = {}  # by row: who, fence, until
    fences: dict[int, int] = {}
    for record in history:
        match record:
            case Claimed():
                if record.fence <= fences.get(record.row, 0):
                    what = f"row {record.row} is claimed again under fence {record.fence}"
                    found.append(Violation(invariant="I4", at=record.at, what=what))
                fences[record.row] = record.fence
                owner, _, until = held.get(record.row, ("", 0, record.store_at))
                if owner and until > record.store_at:
                    what = f"row {record.row} is claimed by {record.instance} while {owner} holds it"
                    found.append(Violation(invariant="I4", at=record.at, what=what))
                held[record.row] = (record.instance, record.fence, record.until)
            case Released():
                if record.row in held and held[record.row][1] == record.fence:
                    del held[record.row]
            case Stopped():  # one process holds the store: with it its leases are gone
                held = {row: lease for row, lease in held.items() if lease[0] != record.instance}
            case _:
                pass
    return found


def check_i5(history: History) -> list[Violation]:
    """One presence: the old one is out 2 s after the newer is ready, and when it comes back."""
    bounds = history.bounds
    look_s = NEWER_READY_S if bounds.webhooks else bounds.participants_interval_s + NEWER_READY_S
    twice = Persisting("I5", NEWER_READY_S, history.healed_at)
    zombie = Persisting("I5", look_s, history.healed_at)
    views = Views()
    late: set[str] = set()  # SIDs that joined when their attempt was over already
    for record in history:
        if not views.take(record):
            continue
        if isinstance(record, Joined) and record.service_id:
            late.update(
                record.sid
                for session in views.sessions.values()
                if session.room_name == record.room and session.is_live
                for job in session.jobs
                if job.service_id == record.service_id and job.attempt > record.attempt
            )
        pairs = list(_older(views))
        twice.see(record.at, (f"{old.identity} beside attempt {job.attempt}" for old, job, _ in pairs))
        zombie.see(
            record.at,
            (f"{old.identity} ({old.sid}) came back" for old in _zombies(views) if old.sid in late),
        )
    return twice.end(history.ended_at) + zombie.end(history.ended_at)


def check_i6(history: History) -> list[Violation]:
    """No lost job: who is missing is said within 9 s, and a free worker is asked."""
    bounds = history.bounds
    views = Views()
    silent = Persisting("I6", LOST_JOB_S, history.healed_at)
    idle = Persisting("I6", LOST_JOB_S + bounds.retry_s, history.healed_at)
    up: dict[str, WorkerUp] = {}
    is_push: dict[str, bool] = {}
    held: set[tuple[str, str, int]] = set()
    for record in history:
        match record:
            case WorkerUp():
                up[record.worker], is_push[record.worker] = record, record.is_push
            case WorkerDown():
                up.pop(record.worker, None)
            case Holds():
                held.add((record.worker, record.job_id, record.attempt))
            case Drops():
                held.discard((record.worker, record.job_id, record.attempt))
            case _:
                if not views.take(record):
                    continue
        silent.see(record.at, _unsaid(views, held, is_push))
        idle.see(record.at, _unserved(views, up))
    return silent.end(history.ended_at) + idle.end(history.ended_at)


def _older(views: Views) -> Iterator[tuple[Joined, Job, Session]]:
    """Give participants whose newer attempt is ready."""
    for session in views.sessions.values():
        if not session.is_live:
            continue
        for joined in views.of(session).values():
            job = session.job_of(joined.service_id)
            if job is not None and joined.attempt < job.attempt and job.state is JobState.JOINED:
                yield joined, job, session


def _zombies(views: Views) -> Iterator[Joined]:
    for session in views.sessions.values():
        if session.is_live:
            for joined in views.of(session).values():
                job = session.job_of(joined.service_id)
                if job is not None and joined.attempt < job.attempt:
                    yield joined


def _unsaid(views: Views, held: set[tuple[str, str, int]], is_push: dict[str, bool]) -> Iterator[str]:
    """Give jobs that look served and are not."""
    for session in views.sessions.values():
        if session.room_status not in (RoomStatus.READY, RoomStatus.ACTIVE) or session.degraded:
            continue
        present = {(joined.service_id, joined.attempt) for joined in views.of(session).values()}
        for job in session.jobs:
            if not job.required or job.state is JobState.DONE:
                continue
            worker = job.worker_id or ""
            has_worker = is_push.get(worker, True) or (worker, job.job_id, job.attempt) in held
            if (job.service_id, job.attempt) not in present or not has_worker:
                yield f"{job.job_id} ({job.service_id}, attempt {job.attempt}) is not done and nobody says so"


def _unserved(views: Views, up: dict[str, WorkerUp]) -> Iterator[str]:
    """Give jobs that nobody does although somebody could."""
    busy = Counter(
        job.worker_id
        for session in views.sessions.values()
        for job in session.jobs
        if job.worker_id is not None and job.state in HELD
    )
    free = {w.service_id for w in up.values() if w.capacity is None or busy[WorkerId(w.worker)] < w.capacity}
    for session in views.sessions.values():
        if not session.is_live or session.room_sid is None:
            continue
        for job in session.jobs:
            if job.service_id in free and job.state is JobState.PENDING:
                yield f"{job.job_id} ({job.service_id}) waits while a worker is free"
