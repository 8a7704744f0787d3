"""The way out, in order: tokens refused, capture stopped, workers told to leave, room deleted, Terminated.

Every stage has a deadline and the whole a hard limit; a deletion that LiveKit has not confirmed outlives
Terminated as a command, and the room name stays held until then. Source: architecture §4 (Ending).
"""

from __future__ import annotations

from orchestrator.core import controls
from orchestrator.core.commands import DeleteRoom
from orchestrator.core.draft import Draft, armed_for
from orchestrator.core.events import ClientLeft, MicroserviceLeft, SessionTerminated
from orchestrator.core.jobs import HELD, OVER, Job, JobCause, JobState
from orchestrator.core.recording import CAPTURING, RECORDER, SEALING, Recording
from orchestrator.core.session import Deadline, Session
from orchestrator.core.states import Cause, RoomStatus
from orchestrator.core.triggers import Participant


def begin(draft: Draft, cause: Cause, reason: str) -> None:
    """Move to Terminating, give up what nobody does yet, and stop the capture first."""
    session = draft.session
    draft.set(end_reason=reason, deadlines=_recorders_own(session))
    draft.move(cause)
    draft.arm("end", session.limits.termination_s)
    for job in session.jobs:
        _give_up_unstarted(draft, job)
    recorder = _capturing(draft)
    if recorder is None:
        _tell_workers(draft)
        return
    if recorder.is_to_be != "stop":
        controls.ask(draft, recorder, "stop")
    draft.set(stage="capture")
    draft.arm("end:capture", session.limits.capture_stop_s)


def end_without_room(draft: Draft, reason: str) -> None:
    """End a session whose room never was ours: nothing to delete, the name is free at once."""
    draft.set(end_reason=reason, deadlines={}, is_name_held=False)
    draft.move(Cause.CREATE_FAILED)
    for job in draft.session.jobs:
        _give_up_unstarted(draft, job)
    _terminated(draft, Cause.CLEANED_UP)


def go_on(draft: Draft) -> None:
    """Take the next stage as soon as the present one has nothing left to wait for."""
    session = draft.session
    if session.stage == "capture" and _capturing(draft) is None:
        _tell_workers(draft)
    if draft.session.stage == "leaving" and not _still_here(draft):
        _delete_room(draft)
    _bound_recording(draft)


def say_gone(draft: Draft, participant: Participant) -> None:
    """Say that a client or a worker is no longer in the room; of hidden ones nothing is said."""
    session_id = draft.session.id
    if participant.role == "client":
        draft.events.append(ClientLeft(session_id=session_id, user_identity=participant.identity))
    elif participant.role == "worker" and participant.service_id is not None:
        draft.events.append(MicroserviceLeft(session_id=session_id, service_id=participant.service_id))


def room_deleted(draft: Draft) -> None:
    """LiveKit confirmed: the name is free, and the room life is over."""
    session = draft.session
    if session.room_status is RoomStatus.TERMINATING and session.stage == "deleting":
        draft.set(is_name_held=False, room_sid=None)
        _terminated(draft, Cause.CLEANED_UP)
    elif session.room_status is RoomStatus.TERMINATED:
        draft.set(is_name_held=False, room_sid=None)


def deadline_reached(draft: Draft, stage: str) -> None:
    """A stage took too long, or (stage "") the whole ending did."""
    session = draft.session
    if stage == "capture" and session.stage == "capture":
        _tell_workers(draft)
    elif stage == "leave" and session.stage == "leaving":
        _delete_room(draft)
    elif stage == "" and session.room_status is RoomStatus.TERMINATING:
        if session.stage != "deleting":
            _delete_room(draft)
        _terminated(draft, Cause.HARD_LIMIT)


def _capturing(draft: Draft) -> Recording | None:
    """The recording while media may still come in; None when the cut mark is made or never will be."""
    recording = draft.session.recording
    if recording is None or recording.status not in CAPTURING:
        return None
    if recording.is_to_be == "stop" and recording.pending is None:
        return None
    job = draft.session.job_of(RECORDER)
    if job is None or job.state not in (JobState.ACCEPTED, JobState.JOINED):
        return None  # who was only asked has no token yet, and will be told to complete, not to capture
    return recording


def _give_up_unstarted(draft: Draft, job: Job) -> None:
    if job.state not in (JobState.PENDING, JobState.OFFERED):
        return
    recording = draft.session.recording if job.service_id == RECORDER else None
    if recording is not None and recording.is_running and recording.attempt:
        return  # an earlier attempt left something: somebody must still complete it
    if job.state is JobState.OFFERED:
        draft.tell_to_leave(job, "session ended", is_stale=True)
    draft.move_job(job, JobCause.GIVE_UP, detail="the session ended before a worker joined")
    if recording is not None:
        draft.fail_recording("the session ended before a recorder joined")


def _tell_workers(draft: Draft) -> None:
    draft.disarm("end:capture")
    draft.set(stage="leaving")
    for job in draft.session.jobs:
        if job.state in (JobState.ACCEPTED, JobState.JOINED):
            draft.tell_to_leave(job, draft.session.end_reason)
    draft.arm("end:leave", draft.session.limits.leave_s)


def _still_here(draft: Draft) -> list[Job]:
    """Workers that were told to leave and have not said so; the recorder seals on and holds nothing up."""
    session = draft.session
    return [job for job in session.jobs if job.state in HELD and not session.is_recorder(job)]


def _delete_room(draft: Draft) -> None:
    draft.disarm("end:leave", "end:capture")
    for job in _still_here(draft):
        draft.move_job(job, JobCause.GIVE_UP, detail="did not say that it left; the room is deleted")
    draft.set(stage="deleting")
    draft.commands.append(DeleteRoom(room_name=draft.session.room_name))


def _terminated(draft: Draft, cause: Cause) -> None:
    for participant in draft.session.participants.values():
        say_gone(draft, participant)
    draft.set(stage="", participants={}, deadlines=_recorders_own(draft.session))
    draft.move(cause)
    draft.events.append(SessionTerminated(session_id=draft.session.id, end_reason=draft.session.end_reason))


def _bound_recording(draft: Draft) -> None:
    """See that a recording whose capture is over has a last resort, also in a room that goes on."""
    session = draft.session
    job = session.job_of(RECORDER)
    recording = session.recording
    is_sealing = recording is not None and recording.status in SEALING
    is_running = recording is not None and recording.is_running
    outlasts = session.is_over and job is not None and (is_running or job.state not in OVER)
    if not is_sealing and not outlasts:
        draft.disarm("recording")
    elif "recording" not in session.deadlines:
        draft.arm("recording", session.limits.recording_s)


def _recorders_own(session: Session) -> dict[str, Deadline]:
    """Deadlines that outlive the room: those of the recorder's job, which may still have to complete."""
    job = session.job_of(RECORDER)
    if job is None:
        return {}
    names = {armed_for("offer", job), armed_for("retry", job)}
    return {name: deadline for name, deadline in session.deadlines.items() if name in names}
