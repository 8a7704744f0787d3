"""Jobs: offered, taken, lost and offered again, each attempt fenced; and what the recorder reports.

Source: architecture §5, contracts §7.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator.core.draft import Draft, armed_for
from orchestrator.core.errors import IllegalTransitionError, StaleAttemptError
from orchestrator.core.jobs import HELD, OVER, Job, JobCause, JobState
from orchestrator.core.recording import RECORDER, Checkpoint, RecordingStatus
from orchestrator.core.session import Session
from orchestrator.core.triggers import (
    JobAccepted,
    JobDone,
    JobLost,
    JobOffered,
    JobReady,
    JobRefused,
    RecordingReported,
)

_FIRST_RETRY_S = 0.5  # doubled at every refusal in a row, up to the retry interval


def is_offerable(session: Session, job: Job) -> bool:
    """Tell whether somebody may be asked to do this job now.

    A worker is asked when there is a room to join; the recorder also after the end, while an earlier attempt
    of its recording is to be completed.
    """
    if job.state is not JobState.PENDING:
        return False
    if session.is_live:
        return session.room_sid is not None
    return job.service_id == RECORDER and session.recording is not None and session.recording.is_running


def offered(draft: Draft, trigger: JobOffered) -> None:
    """Somebody is about to be asked: the attempt is counted before the word goes out."""
    job = _job(draft, trigger.job_id)
    if not is_offerable(draft.session, job):
        raise IllegalTransitionError(f"job {job.job_id} is {job.state.value} and cannot be offered")
    job = draft.move_job(
        job,
        JobCause.OFFER,
        attempt=job.attempt + 1,
        worker_id=trigger.worker_id,
        said_ready=False,
        manual_ready=False,
        detail="",
    )
    limits = draft.session.limits
    # A push call that timed out may have taken effect: look for presence that long before asking again.
    draft.arm(armed_for("offer", job), limits.retry_s if trigger.is_push else limits.offer_s)
    draft.disarm(armed_for("retry", job))


def accepted(draft: Draft, trigger: JobAccepted) -> None:
    """The worker took it; it has the retry interval to be in the room."""
    job = _current(draft, trigger.job_id, trigger.attempt)
    if job.state is not JobState.OFFERED:
        return
    job = draft.move_job(job, JobCause.ACCEPT, manual_ready=trigger.manual_ready)
    draft.disarm(armed_for("offer", job))
    if draft.session.is_live:  # completing a recording needs no room
        draft.arm(armed_for("joining", job), draft.session.limits.retry_s)


def refused(draft: Draft, trigger: JobRefused) -> None:
    """The worker said no: the next one is asked at once, the same one after a growing pause."""
    job = _current(draft, trigger.job_id, trigger.attempt)
    if job.state is JobState.OFFERED:
        _back_to_queue(draft, job, JobCause.REFUSE, "refused", trigger.detail, trigger.retry_after_s)


def ready(draft: Draft, trigger: JobReady) -> None:
    """The worker says that it is ready itself."""
    job = _current(draft, trigger.job_id, trigger.attempt)
    if job.state in HELD:
        draft.put_job(replace(job, said_ready=True))  # counts when LiveKit lists the worker too


def done(draft: Draft, trigger: JobDone) -> None:
    """The worker left as agreed; saying so twice is no matter."""
    job = _current(draft, trigger.job_id, trigger.attempt)
    if job.state in OVER or job.state is JobState.PENDING:
        return
    if job.state is JobState.OFFERED:
        job = draft.move_job(job, JobCause.ACCEPT)
    draft.disarm(armed_for("offer", job), armed_for("joining", job))
    draft.move_job(job, JobCause.FINISH, detail=trigger.detail)
    recording = draft.session.recording
    if job.service_id == RECORDER and recording is not None and recording.is_running:
        draft.fail_recording(trigger.detail or "the recorder left before the recording was complete")


def lost(draft: Draft, trigger: JobLost) -> None:
    """The worker is gone: the job goes back to the queue, and what the old attempt says is refused."""
    job = _current(draft, trigger.job_id, trigger.attempt)
    if job.state not in HELD:
        return
    session = draft.session
    is_recorder = job.service_id == RECORDER
    draft.disarm(armed_for("offer", job), armed_for("joining", job))
    if not session.is_live and not (is_recorder and session.recording and session.recording.is_running):
        draft.move_job(job, JobCause.GIVE_UP, detail=trigger.detail)
        return
    _back_to_queue(draft, job, JobCause.LOSE, "lost", trigger.detail, None)
    if is_recorder and session.is_live and session.recording is not None:
        if session.recording.status is RecordingStatus.RECORDING:
            draft.put_recording(replace(session.recording, status=RecordingStatus.STARTING))
        if session.recording.is_running:
            draft.arm("recorder", session.limits.join_s)


def deadline_reached(draft: Draft, kind: str, number: str) -> None:
    """A job's own deadline passed: silence on an offer, no presence after it, or the end of a pause."""
    job = draft.session.job(f"{draft.session.id}-{number}")
    if job is None:
        return
    match kind:
        case "offer" if job.state is JobState.OFFERED:
            _back_to_queue(draft, job, JobCause.LOSE, "lost", "the worker did not answer in time", None)
        case "joining" if job.state is JobState.ACCEPTED:
            lost(
                draft,
                JobLost(job_id=job.job_id, attempt=job.attempt, detail="the worker is not in the room"),
            )
        case "retry" if job.state is JobState.PENDING:
            draft.put_job(replace(job, refused_by=()))
        case _:
            pass  # it moved on in the meantime


def recorder_timeout(draft: Draft, kind: str) -> None:
    """No recorder came in time, or nobody reported on the recording since long: give it up, say why."""
    session = draft.session
    if kind == "recorder":
        if session.recording is None or session.recording.status is not RecordingStatus.STARTING:
            return
        detail = f"no recorder joined within {session.limits.join_s:g} s"
    else:
        detail = f"nobody completed the recording within {session.limits.recording_s:g} s of the room's end"
    job = session.job_of(RECORDER)
    if job is not None and job.state not in OVER:
        if job.state in HELD:
            draft.tell_to_leave(job, detail, is_stale=True)
        draft.move_job(job, JobCause.GIVE_UP, detail=detail)
    draft.fail_recording(detail)


def recording_reported(draft: Draft, trigger: RecordingReported) -> None:
    """Commit what the recorder says of its attempt; a repeated frame changes nothing and is acknowledged."""
    job = _current(draft, trigger.job_id, trigger.attempt)
    recording = draft.session.recording
    if recording is None or job.service_id != RECORDER:
        raise IllegalTransitionError(f"job {job.job_id} is not the recorder of a recorded session")
    if recording.attempt == trigger.attempt and trigger.n <= recording.n:
        return
    known = tuple(c for c in recording.checkpoints if c.attempt != trigger.attempt)
    closed = {int(c["attempt"]): c for c in trigger.closes}
    known = tuple(
        replace(c, size=int(closed[c.attempt]["tree_size"]), root=str(closed[c.attempt]["root"]))
        if c.attempt in closed
        else c
        for c in known
    )
    if trigger.tree_size:
        known += (
            Checkpoint(
                attempt=trigger.attempt, size=trigger.tree_size, root=trigger.root, note=trigger.checkpoint
            ),
        )
    status = trigger.status if recording.is_running else recording.status
    is_again = trigger.attempt != recording.attempt and draft.session.is_live
    if not is_again and _rank(status) < _rank(recording.status):
        status = recording.status  # a late frame, or a completer's first, never takes the facet back
    draft.put_recording(
        replace(
            recording,
            status=status,
            attempt=trigger.attempt,
            n=trigger.n,
            done_op=max(recording.done_op, trigger.op),
            store=trigger.store or recording.store,
            checkpoints=known,
            stats=trigger.stats or recording.stats,
            detail=trigger.detail,
        )
    )
    if status is not RecordingStatus.STARTING:
        draft.disarm("recorder")
    if "recording" in draft.session.deadlines:
        draft.disarm("recording")
        if status not in (RecordingStatus.COMPLETED, RecordingStatus.FAILED):
            draft.arm("recording", draft.session.limits.recording_s)


_RANKS = {status: rank for rank, status in enumerate(RecordingStatus)}


def _rank(status: RecordingStatus) -> int:
    return _RANKS[status]


def _job(draft: Draft, job_id: str) -> Job:
    job = draft.session.job(job_id)
    if job is None:
        raise StaleAttemptError(f"session {draft.session.id} has no job {job_id}")
    return job


def _current(draft: Draft, job_id: str, attempt: int) -> Job:
    """Give the job, if it is still this attempt's."""
    job = _job(draft, job_id)
    if job.attempt != attempt or job.state is JobState.PENDING:
        raise StaleAttemptError(f"attempt {attempt} of job {job_id} is over; the job is at {job.attempt}")
    return job


def _back_to_queue(
    draft: Draft, job: Job, cause: JobCause, said: str, detail: str, retry_after_s: float | None
) -> None:
    worker_id = job.worker_id
    assert worker_id is not None
    # Whoever was asked may have acted on it: it is told that this attempt is over.
    draft.tell_to_leave(job, detail, is_stale=True)
    draft.disarm(armed_for("offer", job), armed_for("joining", job))
    moved = draft.move_job(
        job,
        cause,
        said=said,
        worker_id=None,
        refused_by=(*job.refused_by, worker_id),
        refusals=job.refusals + 1,
        detail=detail,
    )
    limits = draft.session.limits
    pause_s = min(_FIRST_RETRY_S * 2 ** (moved.refusals - 1), limits.retry_s)
    draft.arm(armed_for("retry", moved), retry_after_s if retry_after_s is not None else pause_s)
