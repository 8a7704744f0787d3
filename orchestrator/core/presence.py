"""Who is in the room, and what follows for Ready, Active and degraded.

Presence is what LiveKit lists, keyed by SID: names and times may repeat, SIDs do not.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator.core import admission, agents, ending
from orchestrator.core.draft import Draft, armed_for
from orchestrator.core.events import (
    ClientJoined,
    MicroserviceJoined,
    SessionReady,
)
from orchestrator.core.ids import is_agent
from orchestrator.core.jobs import Job, JobCause, JobState
from orchestrator.core.states import Cause, RoomStatus
from orchestrator.core.triggers import Participant, ParticipantsSeen
from orchestrator.core.work import needs_room


def seen(draft: Draft, trigger: ParticipantsSeen) -> None:
    """Take over who is there and who is certainly gone."""
    if draft.session.room_status in (RoomStatus.TERMINATING, RoomStatus.TERMINATED):
        _seen_while_ending(draft, trigger)
        return
    # Who is there first: a worker that came back under a new SID was not away.
    for participant in trigger.present:
        known = draft.session.participants.get(participant.sid)
        if known is None:
            _joined(draft, participant)
        elif known.is_assumed and participant.attempt:
            _attributed(draft, known, participant)
    for sid in sorted(trigger.gone):
        participant_gone = draft.session.participants.get(sid)
        if participant_gone is not None:
            _left(draft, participant_gone)


def settle(draft: Draft) -> None:
    """Bring Ready, Active and degraded in line with who is there; called at the end of every step."""
    session = draft.session
    if session.room_status is RoomStatus.WAITING and not session.missing_services:
        draft.disarm("join")
        enter_ready(draft, Cause.SERVICES_PRESENT)
    _settle_clients(draft)
    if draft.session.room_status in (RoomStatus.READY, RoomStatus.ACTIVE):
        _settle_degraded(draft)


def enter_ready(draft: Draft, cause: Cause) -> None:
    """Become Ready, saying who is missing, and wait for a client."""
    missing = draft.session.missing_services
    draft.set(degraded=bool(missing))
    draft.move(cause)
    draft.events.append(
        SessionReady(
            session_id=draft.session.id, all_participants_joined=not missing, missing_services=missing
        )
    )
    draft.arm("client", draft.session.limits.client_s)


def join_timeout(draft: Draft) -> None:
    """The join deadline passed: `strict` services end the session, others leave it degraded."""
    if draft.session.room_status is not RoomStatus.WAITING:
        return
    missing = [job for job in draft.session.jobs if job.is_missing]
    draft.say_error(f"services did not join in time: {', '.join(j.service_id for j in missing)}")
    if any(job.strict for job in missing):
        ending.begin(draft, Cause.SERVICES_TIMEOUT, "services_timeout")
    else:
        enter_ready(draft, Cause.SERVICES_MISSING)


def service_timeout(draft: Draft, number: str) -> None:
    """A required service was away for the whole service timeout: `strict` ends the session."""
    job = draft.session.job(f"{draft.session.id}-{number}")
    if job is not None and job.is_missing and job.strict:
        draft.say_error(f"service was away for {draft.session.limits.service_s:g} s: {job.service_id}")
        ending.begin(draft, Cause.SERVICES_TIMEOUT, "services_timeout")


def _joined(draft: Draft, participant: Participant) -> None:
    session = draft.session
    participant = agents.taken_for(session, participant)
    refusal = admission.refusal(session, participant)
    if refusal is not None:
        draft.remove(participant, refusal)
        return
    job = session.job_of(participant.service_id) if participant.service_id is not None else None
    if job is not None:
        _forget_identity(draft, participant)
        _worker_joined(draft, job, participant)
        return
    came_back = _forget_identity(draft, participant)
    draft.set(participants={**draft.session.participants, participant.sid: participant})
    if participant.role == "client" and not came_back:
        draft.events.append(ClientJoined(session_id=session.id, user_identity=participant.identity))


def _worker_joined(draft: Draft, job: Job, participant: Participant) -> None:
    session = draft.session
    draft.set(participants={**session.participants, participant.sid: participant})
    for other in session.participants.values():
        if other.service_id == job.service_id and other.attempt < participant.attempt:
            draft.remove(other, "a newer attempt of this job has joined")
    if is_agent(job.service_id):
        agents.replace_others(draft, participant)
        job = replace(job, agent=participant.identity)
        draft.put_job(job)
    if job.state is JobState.JOINED:
        return
    job = draft.move_job(job, JobCause.PRESENT, refusals=0, refused_by=(), has_joined=True)
    draft.disarm(armed_for("joining", job), armed_for("offer", job))
    if participant.role != "recorder":  # it is hidden: what nobody sees is not announced
        draft.events.append(MicroserviceJoined(session_id=session.id, service_id=job.service_id))


def _attributed(draft: Draft, known: Participant, participant: Participant) -> None:
    """LiveKit has said by which dispatch an agent came; that of an earlier attempt does not stay."""
    if participant.attempt == known.attempt:
        participants = {**draft.session.participants, known.sid: replace(known, is_assumed=False)}
        draft.set(participants=participants)
    else:
        _left(draft, known)
        draft.remove(known, "a newer attempt of this job exists")


def _left(draft: Draft, participant: Participant) -> None:
    session = draft.session
    participants = {sid: p for sid, p in session.participants.items() if sid != participant.sid}
    draft.set(participants=participants)
    if participant.service_id is None:
        ending.say_gone(draft, participant)
        return
    job = session.job_of(participant.service_id)
    if job is None:
        return
    is_recorder = participant.role == "recorder"
    if is_recorder and any(_is_same_attempt(participant, other) for other in participants.values()):
        return  # its other connection is still there
    ending.say_gone(draft, participant)  # an older attempt is struck off when a newer joins: it was the last
    if job.attempt == participant.attempt and job.state is JobState.JOINED:
        job = draft.move_job(job, JobCause.ABSENT, said="absent")
        if needs_room(session, job):
            # Its worker may be on its way back; the deadline offers the job to somebody else.
            draft.arm(armed_for("joining", job), session.limits.rejoin_s)


def _is_same_attempt(one: Participant, other: Participant) -> bool:
    return (one.service_id, one.attempt) == (other.service_id, other.attempt)


def _forget_identity(draft: Draft, participant: Participant) -> bool:
    """Drop an earlier SID of the same identity; tell whether there was one."""
    kept = {sid: p for sid, p in draft.session.participants.items() if p.identity != participant.identity}
    came_back = len(kept) < len(draft.session.participants)
    if came_back:
        draft.set(participants=kept)
    return came_back


def _seen_while_ending(draft: Draft, trigger: ParticipantsSeen) -> None:
    """While ending nobody new may come in; who goes is struck off."""
    session = draft.session
    if session.room_status is RoomStatus.TERMINATED:
        return
    for participant in trigger.present:
        if participant.sid not in session.participants:
            draft.remove(participant, admission.ENDING)
    gone = trigger.gone & session.participants.keys()
    for sid in sorted(gone):
        ending.say_gone(draft, session.participants[sid])
    if gone:
        kept = {sid: p for sid, p in draft.session.participants.items() if sid not in gone}
        draft.set(participants=kept)


def _settle_clients(draft: Draft) -> None:
    session = draft.session
    if session.room_status is RoomStatus.READY and session.clients:
        draft.disarm("client")
        draft.move(Cause.CLIENT_PRESENT)
    elif session.room_status is RoomStatus.ACTIVE and not session.clients:
        draft.move(Cause.CLIENTS_GONE)
        draft.arm("client", session.limits.client_s)


def _settle_degraded(draft: Draft) -> None:
    session = draft.session
    missing = [job for job in session.jobs if job.is_missing]
    if missing and not session.degraded:
        draft.set(degraded=True)
        draft.move(Cause.SERVICE_GONE)
        draft.say_status()
    elif session.degraded and not missing:
        draft.set(degraded=False)
        draft.move(Cause.SERVICE_HEALED)
        draft.say_status()
    elif session.degraded and draft.said_missing != session.missing_services:
        draft.say_status()  # still degraded, but others are missing than clients know
    for job in session.jobs:
        name = armed_for("service", job)  # one each: a service is not blamed for how long another was away
        if not job.is_missing:
            draft.disarm(name)
        elif job.strict and name not in session.deadlines:
            draft.arm(name, session.limits.service_s)
