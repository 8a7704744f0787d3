"""What operators asked for holds: who was removed stays out, who drains gets nothing and hands over."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.core.jobs import HELD
from tests.invariants.checks.watching import Persisting, Views, Violation
from tests.invariants.history import Called, Committed, History, Joined, Replied, Told, WorkerSaved, WorkerUp

REMOVED_S = 2.0
WEBHOOKS_SETTLE_S = 30.0  # one of before the healing is tried again for so long, and those behind it wait
DRAIN_SWEEP_S = 0.5
SLACK_S = 2.0


def check_removals(history: History) -> list[Violation]:
    """Removal holds: it is stored when it is acknowledged, and useless tokens keep nobody in a room."""
    bounds = history.bounds
    stays = Persisting("removals", bounds.participants_interval_s + REMOVED_S, history.healed_at)
    prompt = Persisting("removals", REMOVED_S, history.healed_at + WEBHOOKS_SETTLE_S)
    views = Views()
    found = []
    for record in history:
        if isinstance(record, Replied) and (record.what, record.outcome) == ("remove", "ok"):
            session_id, identity, how = record.subject.split(" ")
            session = views.sessions.get(session_id)
            standings = session.standings if session is not None else {}
            standing = next((one for name, one in standings.items() if name == identity), None)
            if standing is None or (how and not standing.is_barred):
                what = (
                    f"{identity} was said to be removed from {session_id}, and the store knows nothing of it"
                )
                found.append(Violation(invariant="removals", at=record.at, what=what))
        if views.take(record):
            people = [f"{one.identity} ({one.sid}) stays with a useless token" for one in _useless(views)]
            stays.see(record.at, people)
            prompt.see(record.at, people if bounds.webhooks else ())
    return found + stays.end(history.ended_at) + prompt.end(history.ended_at)


def _useless(views: Views) -> Iterator[Joined]:
    for session in views.sessions.values():
        if not session.is_live or not session.standings:
            continue
        standings = {str(name): one for name, one in session.standings.items()}
        for joined in views.of(session).values():
            standing = standings.get(joined.identity)
            if standing is not None and (standing.is_barred or joined.grant < standing.number):
                yield joined


def check_drains(history: History) -> list[Violation]:
    """A drain holds: nothing new from its answer on, and after its deadline nothing is held any more."""
    found = []
    views = Views()
    drained: dict[str, float] = {}  # since when
    due: dict[str, float] = {}
    registers: dict[int, str] = {}  # by call: new processes of push workers that ask to be let in
    offered: dict[tuple[str, int], float] = {}  # when an attempt was committed
    begins = history.healed_at
    holds = Persisting("drains", DRAIN_SWEEP_S + SLACK_S, begins)
    for record in history:
        match record:
            case Replied(what="drain", outcome="ok"):
                worker, deadline_s = record.subject.split(" ")
                drained.setdefault(worker, record.at)
                due[worker] = min(due.get(worker, float("inf")), record.at + float(deadline_s))
            case Called(what="register"):
                registers[record.call] = record.who
            case Replied(what="register"):
                registers.pop(record.call, None)
            case WorkerUp() | WorkerSaved(drains=False):
                if isinstance(record, WorkerUp) or record.worker in registers.values():
                    drained.pop(record.worker, None)  # a new process of it, which ends the drain
                    due.pop(record.worker, None)
            case Told(what="offer" | "join-room") if record.worker in drained:
                # A frozen worker may hear much later of what was offered before.
                if offered.get((record.job_id, record.attempt), record.at) > drained[record.worker]:
                    what = f"{record.worker} drains and was asked for {record.job_id}"
                    found.append(Violation(invariant="drains", at=record.at, what=what))
            case _:
                if not views.take(record):
                    continue
                if isinstance(record, Committed):
                    for job in record.session.jobs:
                        offered.setdefault((job.job_id, job.attempt), record.at)
        held = {
            (job.worker_id, job.job_id)
            for session in views.sessions.values()
            for job in session.jobs
            if job.state in HELD
            and job.worker_id is not None
            and due.get(job.worker_id, record.at) < record.at
        }
        holds.see(record.at, (f"{worker} drained and still holds {job_id}" for worker, job_id in held))
    return found + holds.end(history.ended_at)
