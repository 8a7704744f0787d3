"""Each checker is silent on a history that keeps its promise, and speaks up on one that breaks it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from orchestrator.core.events import SessionCreated, SessionEvent, SessionStatusChanged, encode_data, name_of
from orchestrator.core.grants import Standing
from orchestrator.core.ids import (
    Identity,
    JobId,
    ParticipantSid,
    RoomName,
    RoomSid,
    ServiceId,
    SessionId,
    WorkerId,
)
from orchestrator.core.jobs import Job, JobState
from orchestrator.core.session import Deadline, Session
from orchestrator.core.states import RoomStatus
from orchestrator.core.triggers import Participant
from tests.fakes.clock import START
from tests.invariants.checkers import CHECKERS, check_all
from tests.invariants.history import (
    Appended,
    Called,
    Claimed,
    Committed,
    Ended,
    History,
    Joined,
    Reading,
    Record,
    Replied,
    RoomGone,
    RoomMade,
    Sampled,
    Seen,
    Told,
    Unhandled,
)
from tests.invariants.outgoing_records import Delivered, Subscribed

OURS = "deployment"
CREATED = SessionCreated(session_id="s1", room_name="lobby", livekit_url="")


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def deadline(arming: int, due_s: float) -> Deadline:
    return Deadline(arming=arming, due=after(due_s))


JOB = Job(
    job_id=JobId("s1-1"),
    service_id=ServiceId("asr"),
    attempt=1,
    state=JobState.JOINED,
    worker_id=WorkerId("w1"),
)
READY = Session(
    id=SessionId("s1"),
    version=1,
    events=1,
    room_name=RoomName("lobby"),
    room_sid=RoomSid("RM_1"),
    room_status=RoomStatus.CREATING,
    user_identity=Identity("ann"),
    created_at=START,
    updated_at=START,
    expires_at=after(600),
    deadlines={"create": deadline(1, 500)},
)
OPEN = replace(
    READY,
    version=2,
    events=2,
    room_status=RoomStatus.READY,
    deadlines={"client": deadline(2, 500)},
    jobs=(JOB,),
    participants={
        ParticipantSid("PA_1"): Participant(
            identity=Identity("asr"),
            sid=ParticipantSid("PA_1"),
            role="worker",
            service_id=ServiceId("asr"),
            attempt=1,
        )
    },
)
ROOM = RoomMade(at=0.0, name="lobby", sid="RM_1", deployment_id=OURS, session_id="s1")


def joined(at: float, sid: str = "PA_1", attempt: int = 1) -> Joined:
    identity = "asr" if attempt == 1 else f"asr#{attempt}"
    return Joined(
        at=at, room="lobby", sid=sid, identity=identity, role="worker", service_id="asr", attempt=attempt
    )


def status(state: RoomStatus) -> SessionStatusChanged:
    return SessionStatusChanged(session_id="s1", status=state.value)


def commit(
    at: float, session: Session, *events: SessionEvent, op: int = 0, store_s: float | None = None
) -> list[Record]:
    """Give a commit and its events as they stand in the feed."""
    number = op or session.version
    first = session.events - len(events) + 1
    appended = [
        Appended(
            at=at,
            op=number,
            position=f"1:{first + place}",
            seq=first + place,
            session_id="s1",
            number=first + place,
            name=name_of(event),
            data=encode_data(event),
        )
        for place, event in enumerate(events)
    ]
    moved = Committed(
        at=at,
        store_at=after(at if store_s is None else store_s),
        op=number,
        instance="i1",
        session=session,
        events=events,
    )
    return [moved, *appended]


GOOD: list[Record] = [
    ROOM,
    *commit(0.0, READY, CREATED),
    joined(0.1),
    *commit(0.2, OPEN, status(RoomStatus.READY)),
]
END = Ended(at=60.0)


def moved(at: float, *events: SessionEvent, **fields: object) -> list[Record]:
    """Give the third commit of the session."""
    return commit(at, replace(OPEN, version=3, events=2 + len(events), **fields), *events)  # type: ignore[arg-type]


def claim(at: float, instance: str, fence: int) -> Claimed:
    return Claimed(at=at, store_at=after(at), instance=instance, row=1, fence=fence, until=after(at + 5))


def told(worker: str) -> Told:
    return Told(at=1.0, worker=worker, what="assign", job_id="s1-1", attempt=1)


def read(after_: str = "1:0") -> Reading:
    return Reading(at=0.3, reader="r", session_id="s1", after="", begins=after_)


def seen(number: int, name: str, event: SessionEvent) -> Seen:
    return Seen(at=1.0, reader="r", position=f"1:{number}", name=name, data=encode_data(event))


def replied(what: str, subject: str = "s1") -> Replied:
    return Replied(at=1.0, call=1, what=what, outcome="ok", subject=subject)


ALONE: list[Record] = [record for record in GOOD if not isinstance(record, Joined)]
STRAY = Appended(at=1.0, op=99, position="1:3", seq=3, session_id="s1", number=3, name="error", data=b"{}")
FIRST = seen(1, "session_created", CREATED)
SECOND = seen(2, "status_changed", status(RoomStatus.READY))

FEED: list[Record] = [replace(STRAY, seq=n, number=n, position=f"1:{n}") for n in (1, 2, 3)]
SUBSCRIBED = Subscribed(at=0.5, target="t", temper="steady")


def delivered(number: int) -> Delivered:
    position = f"1:{number}"
    return Delivered(
        at=1.5, target="t", message_id=f"t {number}", position=position, session_id="s1", number=number
    )


BAD: list[tuple[str, str, list[Record]]] = [
    ("I1", "overdue", [*GOOD, *moved(1.0, deadlines={"client": deadline(3, 20)}), END]),
    ("I1", "without a deadline", [*GOOD, *moved(1.0, deadlines={}), END]),
    ("I2", "a version is missing", [*GOOD, *commit(1.0, replace(OPEN, version=4, events=2))]),
    (
        "I2",
        "back to life",
        [
            *GOOD,
            *moved(1.0, status(RoomStatus.TERMINATING), room_status=RoomStatus.TERMINATING),
            *commit(2.0, replace(OPEN, version=4, events=4), status(RoomStatus.READY)),
        ],
    ),
    ("I2", "a move that nobody said", [*GOOD, *moved(1.0, room_status=RoomStatus.ACTIVE)]),
    ("I3", "the attempt falls", [*GOOD, *moved(1.0, jobs=(replace(JOB, attempt=0),))]),
    ("I3", "two holders", [*GOOD, *moved(1.0, jobs=(replace(JOB, worker_id=WorkerId("w2")),))]),
    ("I3", "two were assigned it", [*GOOD, told("w1"), told("w2")]),
    ("I4", "claimed while held", [claim(1.0, "i1", 1), claim(2.0, "i2", 2)]),
    ("I4", "a fence twice", [claim(1.0, "i1", 1), claim(9.0, "i2", 1)]),
    (
        "I5",
        "two faces",
        [*GOOD, joined(1.0, "PA_2", 2), *moved(1.1, jobs=(replace(JOB, attempt=2),)), END],
    ),
    ("I6", "nobody is there", [*ALONE, END]),
    ("I7", "one skipped", [*GOOD, read(), SECOND, END]),
    ("I7", "one twice", [*GOOD, read(), FIRST, FIRST, SECOND, END]),
    ("I7", "the last never came", [*GOOD, read(), FIRST, END]),
    ("I8", "an event without a change", [*GOOD, STRAY]),
    ("I8", "a change without its event", GOOD[:-1]),
    ("I9", "a worker that LiveKit has not", [*ALONE, END]),
    ("I9", "another room", [*GOOD, *moved(1.0, room_sid=RoomSid("RM_0")), END]),
    ("I10", "a room of nobody", [ROOM, END]),
    (
        "I10",
        "a stranger's room deleted",
        [
            *GOOD,
            RoomMade(at=1.0, name="theirs", sid="RM_9", deployment_id="other", session_id=""),
            RoomGone(at=2.0, name="theirs", sid="RM_9", by="us"),
        ],
    ),
    ("I11", "created and not stored", [replied("create", "s2")]),
    ("I11", "ended and alive", [*GOOD, replied("terminate")]),
    ("I11", "registered and not stored", [replied("register", "w1")]),
    (
        "I12",
        "one key, two answers",
        [
            Called(at=0.0, call=1, who="ann", what="create", detail="key"),
            Replied(at=1.0, call=1, what="create", outcome="ok", subject="s1"),
            Called(at=2.0, call=2, who="ann", what="create", detail="key"),
            Replied(at=3.0, call=2, what="create", outcome="ok", subject="s2"),
        ],
    ),
    (
        "I13",
        "early",
        [
            *GOOD,
            *moved(
                1.0,
                status(RoomStatus.TERMINATING),
                room_status=RoomStatus.TERMINATING,
                end_reason="client_timeout",
                deadlines={"end": deadline(3, 9)},
            ),
        ],
    ),
    (
        "I14",
        "one object more with each session",
        [Sampled(at=n, sessions=n, tasks=5, objects=100 + n) for n in range(9)],
    ),
    ("removals", "acknowledged and not stored", [*GOOD, replied("remove", "s1 ann barred")]),
    (
        "removals",
        "comes back with the old token",
        [
            *GOOD,
            *moved(1.0, standings={Identity("ann"): Standing(number=1)}),
            Joined(at=2.0, room="lobby", sid="PA_9", identity="ann", role="client", grant=0),
            END,
        ],
    ),
    (
        "drains",
        "asked while it drains",
        [replied("drain", "w1 5.0"), replace(told("w1"), at=3.0, what="offer")],
    ),
    ("drains", "kept after the deadline", [*GOOD, replied("drain", "w1 5.0"), *moved(20.0), END]),
    ("deliveries", "one left out", [*FEED, delivered(1), delivered(3)]),
    ("deliveries", "under two ids", [*FEED, delivered(1), replace(delivered(1), message_id="another")]),
    ("deliveries", "one never", [SUBSCRIBED, *FEED, delivered(1), delivered(2), END]),
    ("unhandled", "raised", [Unhandled(at=1.0, instance="i1", what="KeyError()")]),
]


def test_a_history_without_a_fault_in_it_passes_all() -> None:
    ending = commit(
        1.0,
        replace(
            OPEN, version=3, events=3, room_status=RoomStatus.TERMINATING, deadlines={"end": deadline(3, 9)}
        ),
        status(RoomStatus.TERMINATING),
    )
    assert check_all(History((*GOOD, read(), FIRST, SECOND, *ending))) == []


@pytest.mark.parametrize(("name", "what", "records"), BAD, ids=[f"{name} {what}" for name, what, _ in BAD])
def test_a_broken_promise_is_reported(name: str, what: str, records: list[Record]) -> None:
    assert [violation.invariant for violation in CHECKERS[name](History(tuple(records)))], what


def test_every_checker_has_its_control() -> None:
    assert {name for name, _, _ in BAD} == set(CHECKERS)
