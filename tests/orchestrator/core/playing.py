"""Plays scripts of triggers on a session, one rule check per step: `play(opened("asr"), CREATED, …)`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from orchestrator.core.commands import Command
from orchestrator.core.draft import Decision
from orchestrator.core.events import SessionEvent, SessionStatusChanged, name_of
from orchestrator.core.ids import (
    Identity,
    JobId,
    ParticipantSid,
    RecordingId,
    RoomName,
    RoomSid,
    ServiceId,
    SessionId,
    WorkerId,
    identity_of,
)
from orchestrator.core.jobs import Job
from orchestrator.core.recording import RECORDER, Recording, RecordingStatus
from orchestrator.core.session import Limits, Session
from orchestrator.core.states import RoomStatus
from orchestrator.core.step import Opening, Wanted, open_session, step
from orchestrator.core.triggers import (
    DeadlineReached,
    JobAccepted,
    JobOffered,
    Participant,
    ParticipantsSeen,
    RecordingReported,
    RoomCreated,
    RoomDeleted,
    TerminateAsked,
    Trigger,
)
from tests.orchestrator.core.rules import check_step

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
ROOM = RoomSid("RM_1")
CREATED = RoomCreated(sid=ROOM)


@dataclass(frozen=True)
class Due:
    """In a script: the deadline of this name is reached, at its time (or later, when that is past)."""

    name: str


@dataclass(frozen=True)
class Played:
    """What a script led to; unpack it as ``session, events, commands``."""

    session: Session
    events: tuple[SessionEvent, ...]
    commands: tuple[Command, ...]
    now: datetime

    @property
    def names(self) -> list[str]:
        """SSE names of the events, in order."""
        return [name_of(event) for event in self.events]

    @property
    def statuses(self) -> list[str]:
        """Room states that were said, in order."""
        return [event.status for event in self.events if isinstance(event, SessionStatusChanged)]

    def job(self, service_id: str) -> Job:
        """The job of a service."""
        job = self.session.job_of(service_id)
        assert job is not None
        return job

    @property
    def recording(self) -> Recording:
        """The recording of a recorded session."""
        assert self.session.recording is not None
        return self.session.recording

    def due_in_s(self, name: str) -> float:
        """Seconds from now until a deadline; KeyError when it is not armed."""
        return (self.session.deadlines[name].due - self.now).total_seconds()


def wanted(name: str) -> Wanted:
    """``asr`` required, ``asr?`` optional, ``asr!`` strict."""
    plain = name.rstrip("?!")
    return Wanted(service_id=ServiceId(plain), required=not name.endswith("?"), strict=name.endswith("!"))


def opening(*services: str, record: bool = False, max_duration_s: float | None = None) -> Opening:
    """What a caller asked for; see `wanted` for how services are written."""
    return Opening(
        session_id=SessionId("s1"),
        room_name=RoomName("room-s1"),
        user_identity=Identity("ann"),
        user_name="Ann",
        livekit_url="ws://livekit",
        metadata={"case": "1"},
        services=tuple(wanted(name) for name in services),
        recording_id=RecordingId("rec1") if record else None,
        limits=Limits(),
        max_duration_s=max_duration_s,
    )


def opened(*services: str, record: bool = False, max_duration_s: float | None = None) -> Session:
    """The first record of a session."""
    decision = open_session(opening(*services, record=record, max_duration_s=max_duration_s), NOW)
    check_step(None, None, decision, NOW)
    return decision.session


def play(start: Session | Played, *script: Trigger | Due | float) -> Played:
    """Step through a script; a number lets so many seconds pass. Events and commands are the script's own."""
    session, now = (start.session, start.now) if isinstance(start, Played) else (start, start.updated_at)
    events: tuple[SessionEvent, ...] = ()
    commands: tuple[Command, ...] = ()
    for entry in script:
        if isinstance(entry, float | int):
            now += timedelta(seconds=entry)
            continue
        if isinstance(entry, Due):
            deadline = session.deadlines[entry.name]
            now = max(now, deadline.due)
            entry = DeadlineReached(name=entry.name, arming=deadline.arming)
        decision = step(session, entry, now)
        check_step(session, entry, decision, now)
        session = decision.session
        events += decision.events
        commands += decision.commands
    return Played(session=session, events=events, commands=commands, now=now)


def decide(session: Session | Played, trigger: Trigger, after_s: float = 0.0) -> Decision:
    """One step."""
    record, now = (session.session, session.now) if isinstance(session, Played) else (session, NOW)
    now += timedelta(seconds=after_s)
    decision = step(record, trigger, now)
    check_step(record, trigger, decision, now)
    return decision


def in_state(status: RoomStatus, *services: str, record: bool = False) -> Session:
    """A session that came to a state by itself."""
    services = services or (("asr",) if status is RoomStatus.WAITING else ())
    session = opened(*services, record=record)
    served = [entry for number, name in enumerate(services, 1) for entry in serve(name.strip("?!"), number)]
    match status:
        case RoomStatus.CREATING:
            played = play(session)
        case RoomStatus.WAITING:
            played = play(session, CREATED)
        case RoomStatus.READY:
            played = play(session, CREATED, *served)
        case RoomStatus.ACTIVE:
            played = play(session, CREATED, *served, seen(client()))
        case RoomStatus.TERMINATING:
            played = play(session, CREATED, *served, TerminateAsked())
        case _:
            played = play(session, CREATED, TerminateAsked(), RoomDeleted())
    assert played.session.room_status is status
    return played.session


# --- who is in the room ---


def client(name: str = "ann", sid: str = "PA_ann") -> Participant:
    """A client as LiveKit lists it."""
    return Participant(identity=Identity(name), sid=ParticipantSid(sid))


def worker(service: str, attempt: int = 1, sid: str = "") -> Participant:
    """A worker (or the recorder) as LiveKit lists it."""
    service_id = ServiceId(service)
    return Participant(
        identity=identity_of(service_id, attempt),
        sid=ParticipantSid(sid or f"PA_{service}_{attempt}"),
        role="recorder" if service_id == RECORDER else "worker",
        service_id=service_id,
        attempt=attempt,
    )


def agent(service: str, number: int = 1, sid: str = "", *, attempt: int = 0) -> Participant:
    """A LiveKit agent that came by LiveKit's ``number``-th job; with the attempt when LiveKit has said it."""
    return Participant(
        identity=Identity(f"agent-AJ_{service.removeprefix('agent:')}{number}"),
        sid=ParticipantSid(sid or f"PA_agent_{number}"),
        role="worker",
        service_id=ServiceId(service),
        attempt=attempt,
    )


def seen(*present: Participant) -> ParticipantsSeen:
    """A list that shows these."""
    return ParticipantsSeen(present=present)


def gone(*absent: Participant) -> ParticipantsSeen:
    """These are certainly not there any more."""
    return ParticipantsSeen(gone=frozenset(participant.sid for participant in absent))


# --- what workers do; jobs are numbered in the order of the services ---


def offer(number: int = 1, worker_id: str = "w1", *, is_push: bool = False) -> JobOffered:
    """A worker is asked to do a job."""
    return JobOffered(job_id=JobId(f"s1-{number}"), worker_id=WorkerId(worker_id), is_push=is_push)


def accept(number: int = 1, attempt: int = 1, *, manual_ready: bool = False) -> JobAccepted:
    """It takes it."""
    return JobAccepted(job_id=JobId(f"s1-{number}"), attempt=attempt, manual_ready=manual_ready)


def serve(service: str, number: int = 1, attempt: int = 1, worker_id: str = "w1") -> tuple[Trigger, ...]:
    """A worker is asked, takes the job and is seen in the room."""
    return (offer(number, worker_id), accept(number, attempt), seen(worker(service, attempt)))


def report(
    status: RecordingStatus, *, n: int, number: int = 1, attempt: int = 1, size: int = 0, op: int = 0
) -> RecordingReported:
    """A frame of the recorder; change more of it with `dataclasses.replace`."""
    return RecordingReported(
        job_id=JobId(f"s1-{number}"),
        attempt=attempt,
        n=n,
        status=status,
        tree_size=size,
        root=f"{attempt}-{size}" if size else "",
        checkpoint=f"note {attempt} {size}" if size else "",
        store="dir:rec1",
        stats={"chunks": float(size)},
        op=op,
        closes=(),
        detail="",
    )


def closing(frame: RecordingReported, attempt: int, size: int, root: str) -> RecordingReported:
    """The same frame, closing an earlier attempt."""
    entry = {"attempt": attempt, "tree_size": size, "root": root}
    return replace(frame, closes=(*frame.closes, entry))
