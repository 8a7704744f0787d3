"""What callers ask of a recording: start, pause, resume, stop.

An operation is numbered, and said to the recorder until a report shows its number. Whoever takes the job
later is told with the job where the recording is to go on. Source: architecture §4, contracts §7.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Final

from orchestrator.core.commands import ControlRecording
from orchestrator.core.draft import Draft, armed_for
from orchestrator.core.errors import IllegalTransitionError, QuotaExceededError
from orchestrator.core.events import RecordingDeleted
from orchestrator.core.ids import job_id
from orchestrator.core.jobs import HELD, Job, JobCause, JobState
from orchestrator.core.recording import (
    AGAIN,
    OPEN,
    RECORDER,
    Control,
    Manner,
    Operation,
    Recording,
    RecordingStatus,
    check_move,
)
from orchestrator.core.states import RoomStatus
from orchestrator.core.triggers import RecordingDeletionDone, RecordingStartAsked

MAX_RECORDINGS: Final = 64  # of one session: they stay in its record
MAX_OPERATIONS: Final = 512  # of one recording: its pauses stay in the record, and in each report

_WITH_ROOM: Final = frozenset({RoomStatus.WAITING, RoomStatus.READY, RoomStatus.ACTIVE})
_TOLD: Final = frozenset({JobState.ACCEPTED, JobState.JOINED})  # who has its token, and hears of operations
_DONE: Final[dict[Operation, str]] = {"pause": "paused", "resume": "resumed", "stop": "stopped"}


def start_asked(draft: Draft, trigger: RecordingStartAsked) -> None:
    """Begin a recording, unless one runs: then that one is the answer.

    Raises:
        IllegalTransitionError: the session is over, its recording is being stopped or taken otherwise.
        QuotaExceededError: another one may not begin now.
    """
    session = draft.session
    if not session.is_live:
        raise IllegalTransitionError(
            f"session {session.id} is {session.room_status.value}: there is nothing to record any more"
        )
    old = session.recording
    if old is not None and old.status in OPEN and old.is_to_be != "stop":
        _check_same(old.manner, trigger.manner)
        if trigger.e2ee and not old.e2ee:
            raise IllegalTransitionError(
                "the session is being recorded without an e2ee_key; stop that first to start with one"
            )
        return
    if old is not None and old.status not in AGAIN:
        raise IllegalTransitionError(
            f"the recording {old.recording_id} is being stopped ({old.status.value}); start another one"
            " once it is completed"
        )
    if trigger.refusal:
        raise QuotaExceededError(trigger.refusal)
    if old is not None and len(session.earlier_recordings) + 1 >= MAX_RECORDINGS:
        raise IllegalTransitionError(
            f"the session has {MAX_RECORDINGS} recordings, which is the limit; open another session"
        )
    if old is not None:
        draft.set(earlier_recordings=(*session.earlier_recordings, old))
    recording = Recording.begin(trigger.recording_id, trigger.manner.over(trigger.default), e2ee=trigger.e2ee)
    draft.put_recording(recording)
    _open_job(draft)
    if session.room_status in _WITH_ROOM:  # while the room is being created it begins with the room
        draft.put_recording(replace(recording, status=RecordingStatus.STARTING))
        draft.arm("recorder", session.limits.join_s)


def _check_same(taken: Manner, asked: Manner) -> None:
    """Refuse what cannot be changed while a recording runs."""
    for field in fields(Manner):
        now, wanted = getattr(taken, field.name), getattr(asked, field.name)
        if now and wanted and now != wanted:
            raise IllegalTransitionError(
                f"the session is being recorded with {field.name} {now!r}; stop that first"
                f" to start {wanted!r}"
            )


def control_asked(draft: Draft, op: Operation) -> None:
    """Pause, resume or stop the recording; what is so already, or was asked for last, changes nothing.

    Raises:
        IllegalTransitionError: there is no recording, or it is in no state for this.
    """
    session = draft.session
    recording = session.recording
    if recording is None:
        raise IllegalTransitionError(f"session {session.id} is not being recorded; start a recording first")
    is_open = session.is_live and recording.status in OPEN
    if op == "stop":
        if is_open and recording.is_to_be != "stop":
            _stop(draft, recording)
        return
    if not is_open or recording.is_to_be == "stop":
        state = recording.status.value if recording.status not in OPEN else "being stopped"
        raise IllegalTransitionError(f"the recording is {state} and cannot be {_DONE[op]}")
    if recording.is_to_be == op:
        return
    if op == "pause" and recording.wanted is not None and recording.wanted.n >= MAX_OPERATIONS:
        raise IllegalTransitionError(
            f"the recording was paused and resumed {MAX_OPERATIONS} times, which is the limit; stop it and"
            " start another one"
        )
    ask(draft, recording, op)


def deletion_done(draft: Draft, trigger: RecordingDeletionDone) -> None:
    """Note that a recording of the session is deleted; one that is so, or not its own, is no matter."""
    session = draft.session
    recordings = (*session.earlier_recordings, session.recording)
    found = next((r for r in recordings if r is not None and r.recording_id == trigger.recording_id), None)
    if found is None or found.status is RecordingStatus.DELETED:
        return
    check_move(found.status, RecordingStatus.DELETED)
    deleted = replace(found, status=RecordingStatus.DELETED)
    if found is session.recording:
        draft.set(recording=deleted)
    else:
        earlier = tuple(deleted if r is found else r for r in session.earlier_recordings)
        draft.set(earlier_recordings=earlier)
    draft.events.append(
        RecordingDeleted(session_id=session.id, recording_id=found.recording_id, cause=trigger.cause)
    )


def ask(draft: Draft, recording: Recording, op: Operation) -> Recording:
    """Ask the recorder for an operation; whoever is about to get the job learns of it with the job."""
    control = Control(n=(recording.wanted.n if recording.wanted else 0) + 1, op=op)
    recording = replace(recording, wanted=control)
    draft.put_recording(recording)
    job = draft.session.job_of(RECORDER)
    if job is not None and job.state in _TOLD:
        draft.commands.append(
            ControlRecording(
                job_id=job.job_id,
                attempt=job.attempt,
                worker_id=job.worker_id or "",
                n=control.n,
                op=control.op,
            )
        )
    return recording


def _stop(draft: Draft, recording: Recording) -> None:
    recording = ask(draft, recording, "stop")
    job = draft.session.job_of(RECORDER)
    if job is not None and job.state in _TOLD:
        return  # its recorder makes the cut mark and completes
    draft.disarm("recorder")
    if recording.attempt:
        # Nobody captures, and an earlier attempt left something: whoever takes the job completes it.
        draft.put_recording(replace(recording, status=RecordingStatus.STOPPING))
        return
    detail = "stopped before a recorder joined"
    if job is not None:
        if job.state is JobState.OFFERED:
            draft.tell_to_leave(job, detail, is_stale=True)
        draft.move_job(job, JobCause.GIVE_UP, detail=detail)
    draft.put_recording(replace(recording, status=RecordingStatus.FAILED, detail=detail))


def _open_job(draft: Draft) -> None:
    """See that a recorder is looked for: by a new job, or by a next attempt of the one there is."""
    session = draft.session
    job = session.job_of(RECORDER)
    if job is None:
        number = len(session.jobs) + 1
        added = Job(job_id=job_id(session.id, number), service_id=RECORDER, required=False)
        draft.set(jobs=(*session.jobs, added))
        return
    if job.state is JobState.PENDING:
        return  # nobody had completed the recording before
    if job.state in HELD:
        draft.tell_to_leave(job, "another recording begins", is_stale=True)
        draft.disarm(armed_for("offer", job), armed_for("joining", job))
    draft.move_job(
        job,
        JobCause.REOPEN,
        said="reopened",
        refused_by=(),
        refusals=0,
        has_joined=False,
        detail="",
    )
