"""I1, I2, I8, I11 to I13: a session moves as the tables say, in time, and what was said stays true."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from itertools import pairwise

from orchestrator.core.events import SessionStatusChanged, SessionTerminated, encode_data, name_of
from orchestrator.core.session import Deadline, Session
from orchestrator.core.states import RoomStatus
from tests.fakes.clock import START
from tests.invariants.checks.watching import Persisting, Views, Violation
from tests.invariants.history import (
    Appended,
    Called,
    Committed,
    History,
    Refused,
    Replied,
    Started,
    WorkerSaved,
)

SWEEP_S = 0.2
SLACK_S = 1.0  # what invariants.md allows beside the sweep
PAUSE_S = 2.0  # a deadline that could not be fired rests so long; at the healing it may have just begun
LOOK_S = 1.0  # the client deadline looks at LiveKit first, twice when somebody is gone

_S = RoomStatus
_LIVE = (_S.CREATING, _S.WAITING, _S.READY, _S.ACTIVE)
# The moves of architecture §4, written down again on purpose: the product's own table is what is judged.
LEGAL = {
    (_S.CREATING, _S.READY),
    (_S.CREATING, _S.WAITING),
    (_S.WAITING, _S.READY),
    (_S.READY, _S.ACTIVE),
    (_S.ACTIVE, _S.READY),
    (_S.TERMINATING, _S.TERMINATED),
    *((state, _S.TERMINATING) for state in _LIVE),
}
_DEADLINE_OF = {
    "client_timeout": ("client",),
    "expired": ("expires",),
    "max_duration": ("max",),
    "services_timeout": ("join", "service"),
}


def check_i1(history: History) -> list[Violation]:
    """Not stuck: every open state has a deadline, none is overdue, and in the end everything is over."""
    views = Views()
    begun = history.healed_at + PAUSE_S
    skew_s = next((record.skew_s for record in reversed(list(history.of(Started)))), 0.0)
    bare = Persisting("I1", SLACK_S, history.healed_at)
    for record in history:
        if views.take(record):
            bare.see(record.at, (f"{s.id} {s.room_status.value} without a deadline" for s in _bare(views)))
    found = bare.end(history.ended_at)
    armed = _armed(history)
    for before, after in _spans(history):
        session = before.session
        if session.is_over:
            continue
        end = after.at if after is not None else history.ended_at
        for name, deadline in session.deadlines.items():
            due_s = min(_due_s(deadline, skew_s), armed[session.id, deadline.arming][1])
            late_s = end - max(due_s, begun)
            if late_s > SWEEP_S + SLACK_S + (LOOK_S if name == "client" else 0.0):
                state = session.room_status.value
                what = f"{session.id} is {state} {late_s:.2f} s after its {name!r} deadline"
                found.append(Violation(invariant="I1", at=end, what=what))
    for session in views.sessions.values():
        if not session.is_over and not _has_cause(session, history.ended_at, skew_s):
            what = f"{session.id} is still {session.room_status.value} at the end"
            found.append(Violation(invariant="I1", at=history.ended_at, what=what))
    return found


def check_i2(history: History) -> list[Violation]:
    """Legal: versions count up from 1, every move is in the table, the terminal state is final."""
    found = []
    last: dict[str, Session] = {}
    for record in history.of(Committed):
        session, before = record.session, last.get(record.session.id)
        version = before.version if before is not None else 0
        if session.version != version + 1:
            what = f"{session.id} goes from version {version} to {session.version}"
            found.append(Violation(invariant="I2", at=record.at, what=what))
        state = before.room_status if before is not None else _S.CREATING
        said = [_S(e.status) for e in record.events if isinstance(e, SessionStatusChanged)]
        for old, new in pairwise((state, *said)):
            if old is not new and (old, new) not in LEGAL:
                what = f"{session.id} goes from {old.value} to {new.value}"
                found.append(Violation(invariant="I2", at=record.at, what=what))
        if (said[-1] if said else state) is not session.room_status:
            what = f"{session.id} is {session.room_status.value}, and nobody said so"
            found.append(Violation(invariant="I2", at=record.at, what=what))
        last[session.id] = session
    return found


def check_i8(history: History) -> list[Violation]:
    """Event = transition: a commit's events are in the feed by the same operation, and none without one."""
    found = []
    appended: dict[int, list[Appended]] = {}
    for event in history.of(Appended):
        appended.setdefault(event.op, []).append(event)
    numbers: dict[str, int] = {}
    known = set()
    for record in history.of(Committed):
        known.add(record.op)
        session_id = record.session.id
        first = numbers.get(session_id, 0) + 1
        wanted = [
            (session_id, number, name_of(event), encode_data(event))
            for number, event in enumerate(record.events, start=first)
        ]
        numbers[session_id] = record.session.events
        got = [(e.session_id, e.number, e.name, e.data) for e in appended.get(record.op, [])]
        if got != wanted or record.session.events != first - 1 + len(record.events):
            version = record.session.version
            what = f"{session_id} version {version}: {len(wanted)} events, {len(got)} in the feed"
            found.append(Violation(invariant="I8", at=record.at, what=what))
        is_end = record.session.is_over and any(isinstance(e, SessionTerminated) for e in record.events)
        if record.session.is_over and numbers[session_id] and not is_end and _ends_here(record):
            what = f"{session_id} ended without saying so"
            found.append(Violation(invariant="I8", at=record.at, what=what))
    known |= {record.op for record in history.of(WorkerSaved)}
    refused = {record.op for record in history.of(Refused)}
    for op, events in appended.items():
        if op not in known or op in refused:
            what = f"operation {op} left {len(events)} events and no change"
            found.append(Violation(invariant="I8", at=events[0].at, what=what))
    return found


def check_i11(history: History) -> list[Violation]:
    """Acknowledged = durable: what a caller was told is in the store then, and stays."""
    found = []
    sessions: dict[str, Session] = {}
    workers: dict[str, bool] = {}
    ended: dict[str, float] = {}
    for record in history:
        match record:
            case Committed():
                sessions[record.session.id] = record.session
                if record.session.id in ended and record.session.room_status in _LIVE:
                    what = f"{record.session.id} was ended for its caller and lives again"
                    found.append(Violation(invariant="I11", at=record.at, what=what))
            case WorkerSaved():
                workers[record.worker] = not record.is_gone
            case Replied(outcome="ok", what="create") if record.subject not in sessions:
                what = f"{record.subject} was given to its caller and is not stored"
                found.append(Violation(invariant="I11", at=record.at, what=what))
            case Replied(outcome="ok", what="terminate"):
                session = sessions.get(record.subject)
                ended[record.subject] = record.at
                if session is None or session.room_status in _LIVE:
                    what = f"{record.subject} was said to be ended and lives"
                    found.append(Violation(invariant="I11", at=record.at, what=what))
            case Replied(outcome="ok", what="register") if not workers.get(record.subject):
                what = f"worker {record.subject} was told that it is registered and is not stored"
                found.append(Violation(invariant="I11", at=record.at, what=what))
            case _:
                pass
    return found


def check_i12(history: History) -> list[Violation]:
    """Idempotent: requests with one key make one session, and the answers name no other.

    A session whose creation failed does not count: its caller was told so, and its key is free again.
    """
    found = []
    keys: dict[int, tuple[str, str]] = {}  # by call: who, with which key
    answers: dict[str, set[str]] = {}
    for record in history:
        if isinstance(record, Called) and record.what == "create" and record.detail:
            keys[record.call] = (record.who, record.detail)
        elif isinstance(record, Replied) and record.what == "create" and record.outcome == "ok":
            who, key = keys.get(record.call, ("", ""))
            known = answers.setdefault(key, set())
            if key and known and record.subject not in known:
                what = f"{key!r} of {who} gave {sorted(known)} and then {record.subject}"
                found.append(Violation(invariant="I12", at=record.at, what=what))
            known.add(record.subject)
    last = {record.session.id: record.session for record in history.of(Committed)}
    for who in sorted({who for who, _ in keys.values()}):
        made = [s.id for s in last.values() if s.user_identity == who and s.end_reason != "create_failed"]
        if len(made) > 1:
            what = f"{who} asked with one key and has {len(made)} sessions: {made}"
            found.append(Violation(invariant="I12", at=history.ended_at, what=what))
    return found


def check_i13(history: History) -> list[Violation]:
    """Time: what a deadline does is not done more than 1 s early, nor late, whatever a machine's clock does.

    The store's time never goes back (SQLite), so late is judged across all starts. A start may follow a clock
    that was set forward, so early is judged within one instance's life.
    """
    found = []
    since = _armed(history)
    last: dict[str, Session] = {}
    healthy = history.healed_at + PAUSE_S
    for record in history.of(Committed):
        session = record.session
        before = last.get(session.id)
        for name in _fired(before, record):
            armed = before.deadlines.get(name) if before is not None else None
            if armed is None:
                continue
            owner, due_s = since[session.id, armed.arming]
            if owner == record.instance and record.at < due_s - 1.0:
                what = f"{session.id} did by {name!r} what was due {due_s - record.at:.2f} s later"
                found.append(Violation(invariant="I13", at=record.at, what=what))
            late_s = record.at - max(due_s, healthy)
            if late_s > SWEEP_S + SLACK_S + (LOOK_S if name == "client" else 0.0):
                what = f"{session.id} did by {name!r} what was due {late_s:.2f} s before"
                found.append(Violation(invariant="I13", at=record.at, what=what))
        last[session.id] = session
    return found


def _armed(history: History) -> dict[tuple[str, int], tuple[str, float]]:
    """Give by session and arming who armed a deadline, and when it is due for the world outside."""
    armed: dict[tuple[str, int], tuple[str, float]] = {}
    for record in history.of(Committed):
        for deadline in record.session.deadlines.values():
            left_s = (deadline.due - record.store_at).total_seconds()
            key = (record.session.id, deadline.arming)
            armed.setdefault(key, (record.instance, record.at + left_s))
    return armed


def _fired(before: Session | None, record: Committed) -> Iterator[str]:
    """Name the deadlines that this commit must have come from."""
    session = record.session
    if before is None:
        return
    if before.room_status in _LIVE and session.room_status not in _LIVE:
        for kind in _DEADLINE_OF.get(session.end_reason, ()):
            gone = [n for n in before.deadlines if n.partition(":")[0] == kind and n not in session.deadlines]
            due = sorted(gone, key=lambda name: before.deadlines[name].due)
            yield from due[:1]
    if before.room_status is _S.WAITING and session.room_status is _S.READY and session.degraded:
        yield "join"


def _ends_here(record: Committed) -> bool:
    said = [e.status for e in record.events if isinstance(e, SessionStatusChanged)]
    return _S.TERMINATED.value in said


def _bare(views: Views) -> Iterator[Session]:
    """Give sessions that wait for something without a limit."""
    for session in views.sessions.values():
        wanted: Hashable = {
            _S.CREATING: "create",
            _S.WAITING: "join",
            _S.READY: "client",
            _S.ACTIVE: "expires",
            _S.TERMINATING: "end",
            _S.TERMINATED: None,
        }[session.room_status]
        if wanted is not None and wanted not in session.deadlines:
            yield session


def _has_cause(session: Session, at: float, skew_s: float) -> bool:
    """Whether something will still move the session; a deadline that is late is told as that."""
    return bool(session.deadlines) and all(
        _due_s(deadline, skew_s) > at - SWEEP_S - SLACK_S for deadline in session.deadlines.values()
    )


def _due_s(deadline: Deadline, skew_s: float) -> float:
    """Give when a deadline is due by the store's time in the last instance, in virtual seconds."""
    return (deadline.due - START).total_seconds() - skew_s


def _spans(history: History) -> Iterator[tuple[Committed, Committed | None]]:
    """Give each commit with the next one of its session."""
    last: dict[str, Committed] = {}
    for record in history.of(Committed):
        before = last.get(record.session.id)
        if before is not None:
            yield before, record
        last[record.session.id] = record
    for record in last.values():
        yield record, None
