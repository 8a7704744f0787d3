"""The session machine: (session, what happened, now) in, a decision out. No I/O, no clock, no random.

Source: architecture §4. The parts: `presence` (who is in the room), `work` (jobs), `agents`
(jobs of LiveKit agents), `ending` (the way out).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import assert_never

from orchestrator.core import admission, agents, controls, ending, presence, work
from orchestrator.core.commands import CreateRoom, DeleteRoom
from orchestrator.core.draft import Decision, Draft
from orchestrator.core.events import RoomRecreated, SessionCreated
from orchestrator.core.ids import Identity, RecordingId, RoomName, ServiceId, SessionId, job_id
from orchestrator.core.jobs import Job
from orchestrator.core.recording import RECORDER, Manner, Recording, RecordingStatus
from orchestrator.core.request_keys import KeyScope
from orchestrator.core.session import Limits, Session, due_in
from orchestrator.core.states import Cause, RoomStatus
from orchestrator.core.triggers import (
    DeadlineReached,
    JobAccepted,
    JobDone,
    JobLost,
    JobOffered,
    JobReady,
    JobRefused,
    ParticipantsSeen,
    RecordingControlAsked,
    RecordingDeletionDone,
    RecordingReported,
    RecordingStartAsked,
    RemovalAsked,
    RoleAsked,
    RoomCreated,
    RoomCreateFailed,
    RoomDeleted,
    RoomFinished,
    RoomLost,
    TerminateAsked,
    Trigger,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One service that a new session asks for; its worker must offer all ``capabilities``."""

    service_id: ServiceId
    required: bool = True
    strict: bool = False
    priority: int = 0
    capabilities: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Everything a new session is made of.

    ``recording_id`` given means: record it, as ``recording_manner`` says; with ``recording_refusal`` the
    recording fails at once, because of that, and the session lives.
    """

    session_id: SessionId
    room_name: RoomName
    user_identity: Identity
    user_name: str = ""
    livekit_url: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    services: tuple[Wanted, ...] = ()
    recording_id: RecordingId | None = None
    recording_manner: Manner = field(default_factory=Manner)
    recording_refusal: str = ""
    limits: Limits = field(default_factory=Limits)
    max_duration_s: float | None = None
    request_key: KeyScope | None = None


def open_session(opening: Opening, now: datetime) -> Decision:
    """Decide the intent: the first record of a session, its room asked for, its deadlines armed."""
    # One job per service: a second one would wait for a second worker of the same name for ever.
    wanted_by_id = {wanted.service_id: wanted for wanted in reversed(opening.services)}
    services = [w for w in opening.services if wanted_by_id.get(w.service_id) is w]
    if opening.recording_id is not None and not opening.recording_refusal:
        services = [wanted for wanted in services if wanted.service_id != RECORDER]
        services.append(Wanted(service_id=RECORDER, required=False))
    session = Session(
        id=opening.session_id,
        room_name=opening.room_name,
        user_identity=opening.user_identity,
        user_name=opening.user_name,
        livekit_url=opening.livekit_url,
        metadata=opening.metadata,
        created_at=now,
        updated_at=now,
        expires_at=due_in(now, opening.limits.ttl_s),
        limits=opening.limits,
        jobs=tuple(
            Job(
                job_id=job_id(opening.session_id, number),
                service_id=wanted.service_id,
                required=wanted.required,
                strict=wanted.strict,
                priority=wanted.priority,
                capabilities=wanted.capabilities,
            )
            for number, wanted in enumerate(services, start=1)
        ),
        recording=(
            Recording.begin(opening.recording_id, opening.recording_manner) if opening.recording_id else None
        ),
        request_key=opening.request_key,
    )
    draft = Draft(session, now)
    draft.arm("create", opening.limits.create_s)
    draft.arm_at("expires", session.expires_at)
    if opening.max_duration_s is not None:
        draft.arm("max", opening.max_duration_s)
    draft.events.append(
        SessionCreated(session_id=session.id, room_name=session.room_name, livekit_url=session.livekit_url)
    )
    if opening.recording_refusal:
        draft.refuse_recording(opening.recording_refusal)
    draft.commands.append(CreateRoom(room_name=session.room_name))
    return draft.decide()


def step(session: Session, trigger: Trigger, now: datetime) -> Decision:
    """Decide what follows when something happened to a session.

    Args:
        session: the record as last committed.
        trigger: what happened. Repeated and late ones are harmless: they decide nothing.
        now: the store's time.

    Returns:
        The decision; `is_empty` when nothing follows.

    Raises:
        StaleAttemptError: a worker spoke for an attempt that is no longer the job's.
        IllegalTransitionError: a pair that no table has (HTTP answers 409).
    """
    draft = Draft(session, now)
    match trigger:
        case RoomCreated():
            _room_created(draft, trigger)
        case RoomCreateFailed():
            _room_create_failed(draft, trigger)
        case RoomLost():
            _room_lost(draft, trigger)
        case RoomFinished():
            if session.is_live and session.room_sid == trigger.sid:
                ending.begin(draft, Cause.ENDED, "room_finished")
        case RoomDeleted():
            ending.room_deleted(draft)
        case ParticipantsSeen():
            presence.seen(draft, trigger)
        case JobOffered():
            work.offered(draft, trigger)
        case JobAccepted():
            work.accepted(draft, trigger)
        case JobRefused():
            work.refused(draft, trigger)
        case JobReady():
            work.ready(draft, trigger)
        case JobDone():
            work.done(draft, trigger)
        case JobLost():
            work.lost(draft, trigger)
        case RecordingReported():
            work.recording_reported(draft, trigger)
        case RecordingStartAsked():
            controls.start_asked(draft, trigger)
        case RecordingControlAsked():
            controls.control_asked(draft, trigger.op)
        case RecordingDeletionDone():
            controls.deletion_done(draft, trigger)
        case TerminateAsked():
            if session.is_live:
                ending.begin(draft, Cause.ENDED, trigger.reason)
        case RemovalAsked():
            admission.removal_asked(draft, trigger)
        case RoleAsked():
            admission.role_asked(draft, trigger)
        case DeadlineReached():
            _deadline_reached(draft, trigger)
        case _:
            assert_never(trigger)
    presence.settle(draft)
    ending.go_on(draft)
    agents.dispatch_pending(draft)
    return draft.decide()


def and_then(decision: Decision, trigger: Trigger, now: datetime) -> Decision:
    """Let something more happen in the same commit.

    Raises:
        StaleAttemptError, IllegalTransitionError: as `step` does; ``decision`` stands as it was.
    """
    more = step(decision.session, trigger, now)
    if more.is_empty:
        return decision
    return Decision(
        session=replace(more.session, version=decision.session.version),
        events=decision.events + more.events,
        commands=decision.commands + more.commands,
    )


def _room_created(draft: Draft, trigger: RoomCreated) -> None:
    session = draft.session
    if session.room_status is RoomStatus.CREATING:
        draft.set(room_sid=trigger.sid)
        draft.disarm("create")
        if session.missing_services:
            draft.move(Cause.ROOM_CREATED_WAITING)
            draft.arm("join", session.limits.join_s)
        else:
            presence.enter_ready(draft, Cause.ROOM_CREATED)
        if session.recording is not None and session.recording.status is RecordingStatus.IDLE:
            draft.put_recording(replace(session.recording, status=RecordingStatus.STARTING))
            draft.arm("recorder", session.limits.join_s)
    elif session.is_live:
        if session.room_sid != trigger.sid:
            agents.room_lost(draft)
            draft.set(room_sid=trigger.sid)
            draft.events.append(RoomRecreated(session_id=session.id, room_name=session.room_name))
    elif session.stage in ("", "deleting"):
        # A room that came after its session's end: the deletion may already be through.
        draft.commands.append(DeleteRoom(room_name=session.room_name))


def _room_create_failed(draft: Draft, trigger: RoomCreateFailed) -> None:
    session = draft.session
    if session.room_status is RoomStatus.CREATING:
        draft.say_error(trigger.detail)
        if trigger.is_foreign:
            ending.end_without_room(draft, "create_failed")
        else:
            ending.begin(draft, Cause.CREATE_FAILED, "create_failed")
    elif session.is_live and session.room_sid is None and trigger.is_foreign:
        # LiveKit had lost the room and a stranger took its name: there is no way back into it.
        draft.say_error(trigger.detail)
        ending.begin(draft, Cause.ENDED, "create_failed")


def _room_lost(draft: Draft, trigger: RoomLost) -> None:
    session = draft.session
    if session.is_live and session.room_sid is not None and session.room_sid == trigger.sid:
        draft.move(Cause.ROOM_LOST)
        draft.set(room_sid=None)
        agents.room_lost(draft)
        draft.commands.append(CreateRoom(room_name=session.room_name))


def _deadline_reached(draft: Draft, trigger: DeadlineReached) -> None:
    session = draft.session
    armed = session.deadlines.get(trigger.name)
    if armed is None or armed.arming != trigger.arming:
        return  # its arming is over
    draft.disarm(trigger.name)
    kind, _, number = trigger.name.partition(":")
    match kind:
        case "create":
            draft.say_error("the room could not be created in time")
            ending.begin(draft, Cause.CREATE_FAILED, "create_failed")
        case "join":
            presence.join_timeout(draft)
        case "service":
            presence.service_timeout(draft, number)
        case "client":
            if session.room_status is RoomStatus.READY and not session.clients:
                ending.begin(draft, Cause.CLIENT_TIMEOUT, "client_timeout")
        case "expires":
            _expires(draft)
        case "max":
            ending.begin(draft, Cause.ENDED, "max_duration")
        case "recorder" | "recording":
            work.recorder_timeout(draft, kind)
        case "offer" | "joining" | "retry":
            work.deadline_reached(draft, kind, number)
        case "end":
            ending.deadline_reached(draft, number)
        case _:
            raise AssertionError(f"deadline {trigger.name!r} has no rule")


def _expires(draft: Draft) -> None:
    session = draft.session
    # In a room that LiveKit has lost nobody is present, whatever its last list said.
    if session.clients and session.room_sid is not None:
        expires_at = due_in(draft.now, session.limits.ttl_s)
        draft.set(expires_at=expires_at)
        draft.arm_at("expires", expires_at)
    else:
        ending.begin(draft, Cause.ENDED, "expired")
