"""What must hold after every step of every session, whatever happened: for scripts and walks alike."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from itertools import pairwise

import msgspec

from orchestrator.core.draft import Decision, armed_for
from orchestrator.core.events import JobChanged, SessionStatusChanged, encode_data
from orchestrator.core.ids import is_agent
from orchestrator.core.jobs import HELD, JobState
from orchestrator.core.recording import AGAIN, CAPTURING, RECORDER, SEALING, TABLE, RecordingStatus
from orchestrator.core.session import Session
from orchestrator.core.states import TABLE as ROOM_TABLE
from orchestrator.core.states import RoomStatus
from orchestrator.core.triggers import Participant, RoomCreateFailed, RoomDeleted, Trigger
from orchestrator.core.work import is_offerable, needs_room

_ROOM_MOVES = frozenset((state.value, after.value) for (state, _), after in ROOM_TABLE.items())
_ENDED = (RoomStatus.TERMINATING, RoomStatus.TERMINATED)
_BEGUN = (RecordingStatus.IDLE, RecordingStatus.STARTING)
_SECRET_KEYS = ("token", "jwt", "secret", "password", "key")
_BOOKKEEPING = ("version", "events", "updated_at")
# What may still change when the room life is over.
_RECORDINGS = ("recording", "earlier_recordings")
_AFTER_THE_END = (*_BOOKKEEPING, *_RECORDINGS, "is_name_held", "room_sid", "jobs", "deadlines", "armings")


def check_step(before: Session | None, trigger: Trigger | None, decision: Decision, now: datetime) -> None:
    """Check one step and the record that it leaves.

    Args:
        before: the record before; None for the first.
        trigger: what happened; None for the opening.
    """
    if before is not None:
        _check_numbers(before, decision, now)
        _check_moves(before, decision)
        _check_end(before, decision.session)
        _check_name(before, trigger, decision.session)
    if not decision.is_empty:
        check_record(decision.session)
    for event in decision.events:
        keys = msgspec.json.decode(encode_data(event)).keys()
        assert not [key for key in keys if any(word in key for word in _SECRET_KEYS)]


def check_record(session: Session) -> None:
    """Check what must hold of a record by itself."""
    _check_deadlines(session)
    _check_jobs(session)
    _check_presence(session)
    _check_recording(session)


def check_round_trip(session: Session) -> None:
    """Stored and read again it is the same record."""
    assert msgspec.json.decode(msgspec.json.encode(session), type=Session) == session


def _unlike(before: Session, after: Session, *but: str) -> bool:
    return replace(after, **{name: getattr(before, name) for name in but}) != before


def _check_numbers(before: Session, decision: Decision, now: datetime) -> None:
    after = decision.session
    if decision.is_empty:
        assert after is before
        assert not decision.events
        assert not decision.commands
        return
    assert _unlike(before, after, *_BOOKKEEPING) or decision.commands, "a commit for nothing"
    assert after.version == before.version + 1
    assert after.events == before.events + len(decision.events)
    assert after.updated_at == now
    assert after.created_at == before.created_at


def _check_moves(before: Session, decision: Decision) -> None:
    after = decision.session
    said = [event.status for event in decision.events if isinstance(event, SessionStatusChanged)]
    path = [before.room_status.value, *said]
    assert path[-1] == after.room_status.value, "the room life moved without a word"
    assert all(old == new or (old, new) in _ROOM_MOVES for old, new in pairwise(path))
    if after.degraded is not before.degraded:
        assert said, "degraded changed without a word"
    if after.room_status in (RoomStatus.READY, RoomStatus.ACTIVE):
        told = [e.missing_services for e in decision.events if isinstance(e, SessionStatusChanged)]
        known = told[-1] if told else before.missing_services if before.degraded else ()
        assert known == (after.missing_services if after.degraded else ()), "clients know of others"
    spoken_of = {event.job_id for event in decision.events if isinstance(event, JobChanged)}
    assert all(job.service_id == RECORDER for job in after.jobs[len(before.jobs) :])
    for old_job, job in zip(before.jobs, after.jobs, strict=False):
        assert job.job_id == old_job.job_id
        assert old_job.attempt <= job.attempt <= old_job.attempt + 1
        assert job.state is old_job.state or job.job_id in spoken_of
        if job.attempt > old_job.attempt:
            assert job.state is JobState.OFFERED
    if before.recording is None:
        assert after.recording is None or after.recording.status in _BEGUN
        return
    assert after.recording is not None
    old, new = before.recording, after.recording
    if new.recording_id != old.recording_id:
        assert old.status in AGAIN
        assert new.status in _BEGUN
        assert before.is_live
        assert after.earlier_recordings == (*before.earlier_recordings, old), "a recording was forgotten"
        return
    for earlier, now in zip(before.earlier_recordings, after.earlier_recordings, strict=True):
        is_deleted = now == replace(earlier, status=RecordingStatus.DELETED) and earlier.status in AGAIN
        assert now == earlier or is_deleted, "an earlier recording changed"
    assert old.status is new.status or (old.status, new.status) in TABLE
    assert new.done_op >= old.done_op
    sizes = {checkpoint.attempt: checkpoint.size for checkpoint in new.checkpoints}
    assert all(sizes.get(c.attempt, 0) >= c.size for c in old.checkpoints), "a tree was forgotten or shrank"


def _check_end(before: Session, after: Session) -> None:
    if before.room_status in _ENDED:
        assert after.room_status in _ENDED
        assert after.end_reason == before.end_reason
    if before.room_status is RoomStatus.TERMINATED:
        assert not _unlike(before, after, *_AFTER_THE_END), "Terminated is final"
        for old_job, job in zip(before.jobs, after.jobs, strict=True):
            assert job == old_job or after.is_recorder(job)


def _check_name(before: Session, trigger: Trigger | None, after: Session) -> None:
    assert before.is_name_held or not after.is_name_held
    if before.is_name_held and not after.is_name_held:
        is_foreign = isinstance(trigger, RoomCreateFailed) and trigger.is_foreign
        assert isinstance(trigger, RoomDeleted) or is_foreign
        assert after.room_status is RoomStatus.TERMINATED


def _check_deadlines(session: Session) -> None:
    """I1: every state that is not final has a deadline that ends it, and none outlives its reason."""
    armed = session.deadlines
    names = set(armed)
    assert len({deadline.arming for deadline in armed.values()}) == len(armed)
    assert all(deadline.arming <= session.armings for deadline in armed.values())
    status = session.room_status
    assert ("create" in names) == (status is RoomStatus.CREATING)
    assert ("join" in names) == (status is RoomStatus.WAITING)
    assert ("client" in names) == (status is RoomStatus.READY)
    assert ("expires" in names) == session.is_live
    assert ("end" in names) == (status is RoomStatus.TERMINATING)
    assert ("end:capture" in names) == (session.stage == "capture")
    assert ("end:leave" in names) == (session.stage == "leaving")
    assert (session.stage != "") == (status is RoomStatus.TERMINATING)
    recording = session.recording
    for job in session.jobs:
        is_up = status in (RoomStatus.READY, RoomStatus.ACTIVE)
        assert (armed_for("offer", job) in names) == (job.state is JobState.OFFERED)
        waits = job.state is JobState.ACCEPTED and needs_room(session, job)
        assert (armed_for("joining", job) in names) == waits
        assert (armed_for("service", job) in names) == (is_up and job.strict and job.is_missing)
        if armed_for("retry", job) in names:
            assert job.state is JobState.PENDING
        elif job.state is JobState.PENDING:
            assert not job.refused_by, "nothing would let it ask them again"
    if status is not RoomStatus.TERMINATED:
        assert ("recording" in names) == (recording is not None and recording.status in SEALING)
        assert names.isdisjoint({"recorder"}) or session.is_live
    else:
        held = any(job.state in HELD for job in session.jobs)
        is_running = recording is not None and recording.is_running
        assert ("recording" in names) == (held or is_running)
        assert session.is_open == (held or is_running)
        if not session.is_open:
            assert not names, "a closed session still has deadlines"


def _check_jobs(session: Session) -> None:
    for job in session.jobs:
        assert (job.state in HELD and not is_agent(job.service_id)) == (job.worker_id is not None)
        if is_agent(job.service_id):
            assert not is_offerable(session, job), "nobody would dispatch it"
        assert job.attempt >= 1 or job.state in (JobState.PENDING, JobState.FAILED)
        if session.room_status in _ENDED and not session.is_recorder(job):
            assert job.state not in (JobState.PENDING, JobState.OFFERED)
        if session.room_status is RoomStatus.TERMINATED and not session.is_recorder(job):
            assert job.state not in HELD
    missing = tuple(
        job.service_id
        for job in session.jobs
        if job.required and job.state is not JobState.DONE and not job.is_ready
    )
    assert session.missing_services == missing
    if session.recording is not None:
        assert RECORDER not in missing
    if session.room_status in (RoomStatus.READY, RoomStatus.ACTIVE):
        assert session.degraded == bool(missing)
    assert len({job.service_id for job in session.jobs}) == len(session.jobs)


def _check_presence(session: Session) -> None:
    """I5, and that Active means a client."""
    present = session.participants
    assert not [p for p in present.values() if session.is_live and _is_stale_client(session, p)]
    assert all(sid == participant.sid for sid, participant in present.items())
    assert len({participant.identity for participant in present.values()}) == len(present)
    if session.room_status is RoomStatus.READY:
        assert not session.clients
    if session.room_status is RoomStatus.ACTIVE:
        assert session.clients
    if session.room_status is RoomStatus.TERMINATED:
        assert not present
    if not session.is_live:
        return
    for job in session.jobs:
        attempts = [p.attempt for p in present.values() if p.service_id == job.service_id]
        if job.state is JobState.JOINED:
            assert set(attempts) == {job.attempt}, "two attempts are believed to be in the room"
            assert len(attempts) == 1 or (job.service_id == RECORDER and len(attempts) == 2)
        elif job.state in (JobState.ACCEPTED, JobState.OFFERED):
            assert job.attempt not in attempts


def _is_stale_client(session: Session, participant: Participant) -> bool:
    """I5 for clients: who was removed, or came with a token from before, is never believed to be there."""
    standing = session.standings.get(participant.identity)
    if participant.service_id is not None or standing is None:
        return participant.session_id not in ("", session.id)
    return standing.is_barred or participant.grant < standing.number


def _check_recording(session: Session) -> None:
    recording = session.recording
    if recording is None:
        return
    asked = recording.wanted.n if recording.wanted is not None else 0
    assert recording.done_op <= asked
    assert len({c.attempt for c in recording.checkpoints}) == len(recording.checkpoints)
    job = session.job_of(RECORDER)
    if job is None:  # it was refused when the session began, so nobody was asked for
        assert recording.status in (RecordingStatus.FAILED, RecordingStatus.DELETED)
        return
    assert recording.attempt <= job.attempt
    if recording.status in CAPTURING and session.is_live and recording.is_to_be == "stop":
        assert job.state in (JobState.ACCEPTED, JobState.JOINED), "nobody would make the cut mark"
    if recording.is_running:
        assert job.state in HELD or job.state is JobState.PENDING, "nobody will ever complete it"
    if session.is_live:
        waits = recording.status is RecordingStatus.STARTING
        assert ("recorder" in session.deadlines) == waits
