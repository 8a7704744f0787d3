"""Jobs: offered, taken, lost and offered again, each attempt fenced; and what the recorder reports.

Source: architecture §5, contracts §7.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator.core.draft import Draft, armed_for
from orchestrator.core.errors import IllegalTransitionError, StaleAttemptError
from orchestrator.core.ids import is_agent
from orchestrator.core.jobs import HELD, OVER, Job, JobCause, JobState
from orchestrator.core.recording import (
    CAPTURING,
    RECORDER,
    TABLE,
    Checkpoint,
    Pause,
    Recording,
    RecordingStatus,
)
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
_MAX_DOUBLINGS = 20  # 0.5 s × 2^20 is six days: any retry interval is reached before


def is_offerable(session: Session, job: Job) -> bool:
    """Tell whether somebody may be asked to do this job now.

    A worker is asked when there is a room to join; the recorder also after the end, while an earlier attempt
    of its recording is to be completed.
    """
    if job.state is not JobState.PENDING or not _is_wanted(session, job):
        return False
    return session.room_sid is not None or not needs_room(session, job)


def needs_room(session: Session, job: Job) -> bool:
    """Tell whether the job is done in the room; a recorder whose capture is over seals on without one."""
    if not session.is_recorder(job):
        return session.is_live
    return session.is_live and session.recording is not None and session.recording.status in CAPTURING


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
        has_joined=False,
        detail="",
    )
    limits = draft.session.limits
    # A push call that timed out may have taken effect: look for presence that long before asking again.
    draft.arm(armed_for("offer", job), limits.retry_s if trigger.is_push else limits.offer_s)
    draft.disarm(armed_for("retry", job))


def accepted(draft: Draft, trigger: JobAccepted) -> None:
    """The worker took it; it has the retry interval to be in the room."""
    job = _held(draft, trigger.job_id, trigger.attempt)
    if job.state is not JobState.OFFERED:
        return
    job = draft.move_job(job, JobCause.ACCEPT, manual_ready=trigger.manual_ready)
    draft.disarm(armed_for("offer", job))
    if needs_room(draft.session, job):
        draft.arm(armed_for("joining", job), draft.session.limits.retry_s)


def refused(draft: Draft, trigger: JobRefused) -> None:
    """The worker said no: the next one is asked at once, the same one after a growing pause."""
    job = _current(draft, trigger.job_id, trigger.attempt)
    if job.state is JobState.OFFERED:
        _release(draft, job, JobCause.REFUSE, "refused", trigger.detail, trigger.retry_after_s)


def ready(draft: Draft, trigger: JobReady) -> None:
    """The worker says that it is ready itself."""
    job = _held(draft, trigger.job_id, trigger.attempt)
    draft.put_job(replace(job, said_ready=True))  # counts when LiveKit lists the worker too


def done(draft: Draft, trigger: JobDone) -> None:
    """The worker left as agreed; saying so twice is no matter."""
    job = _current(draft, trigger.job_id, trigger.attempt)
    if job.state in OVER:
        return
    if job.state is JobState.OFFERED:
        job = draft.move_job(job, JobCause.ACCEPT)
    draft.move_job(job, JobCause.FINISH, detail=trigger.detail)
    if draft.session.is_recorder(job):
        draft.fail_recording(trigger.detail or "the recorder left before the recording was complete")


def lost(draft: Draft, trigger: JobLost) -> None:
    """The worker is gone: the job goes back to the queue, and what the old attempt says is refused."""
    job = _current(draft, trigger.job_id, trigger.attempt)
    if job.state not in HELD:
        return
    _release(draft, job, JobCause.LOSE, "lost", trigger.detail, None)


def deadline_reached(draft: Draft, kind: str, number: str) -> None:
    """A job's own deadline passed: silence on an offer, no presence after it, or the end of a pause."""
    job = draft.session.job(f"{draft.session.id}-{number}")
    if job is None:
        return
    match kind:
        case "offer" if job.state is JobState.OFFERED:
            _release(draft, job, JobCause.LOSE, "lost", "the worker did not answer in time", None)
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
    elif session.recording is not None and not session.recording.is_running:
        detail = f"the recorder did not say within {session.limits.recording_s:g} s that it is done"
    else:
        what = "the room's end" if session.is_over else "its stop"
        detail = f"nobody completed the recording within {session.limits.recording_s:g} s of {what}"
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
    _held(draft, trigger.job_id, trigger.attempt)  # what was given up has nothing new to say
    status = trigger.status if recording.is_running else recording.status
    is_next = trigger.attempt != recording.attempt
    is_resumed = (recording.status, status) == (RecordingStatus.PAUSED, RecordingStatus.RECORDING)
    is_back = is_resumed or (is_next and draft.session.is_live)
    is_late = _rank(status) < _rank(recording.status) and not is_back
    if is_late or status is RecordingStatus.DELETED or (recording.status, status) not in TABLE:
        status = recording.status  # a late frame, or a completer's first, never takes the facet back
    op = min(trigger.op, recording.wanted.n if recording.wanted else 0)  # no more than was asked is done
    draft.put_recording(
        replace(
            recording,
            status=status,
            attempt=trigger.attempt,
            n=trigger.n,
            done_op=max(recording.done_op, op),
            store=trigger.store or recording.store,
            checkpoints=_checkpoints(recording, trigger),
            pauses=_pauses(trigger) or recording.pauses,
            stats=trigger.stats or ({} if is_next else recording.stats),
            earlier_stats=recording.all_stats if is_next else recording.earlier_stats,
            detail=trigger.detail,
        )
    )
    if status is not RecordingStatus.STARTING:
        draft.disarm("recorder")
    elif recording.status is not RecordingStatus.STARTING:
        draft.arm("recorder", draft.session.limits.join_s)
    if status not in CAPTURING:
        draft.disarm(armed_for("joining", job))  # it seals on outside of the room
    if "recording" in draft.session.deadlines:
        draft.arm("recording", draft.session.limits.recording_s)


def _checkpoints(recording: Recording, trigger: RecordingReported) -> tuple[Checkpoint, ...]:
    """What is known of every attempt's tree; one that shrank is not believed (recording.md §3, Fencing)."""
    known = {checkpoint.attempt: checkpoint for checkpoint in recording.checkpoints}
    reported = known.get(trigger.attempt)
    if trigger.tree_size and (reported is None or trigger.tree_size >= reported.size):
        known[trigger.attempt] = Checkpoint(
            attempt=trigger.attempt, size=trigger.tree_size, root=trigger.root, note=trigger.checkpoint
        )
    for close in trigger.closes:
        try:
            attempt, size, root = int(close["attempt"]), int(close["tree_size"]), str(close["root"])
        except (KeyError, TypeError, ValueError) as error:
            raise IllegalTransitionError(
                "an entry of `closes` lacks a whole-numbered attempt or tree_size, or a root"
            ) from error
        old = known.get(attempt)
        if not 0 < attempt < trigger.attempt or (old is not None and (old.is_closed or size < old.size)):
            continue  # the first close holds, and none takes back what was acknowledged
        is_as_reported = old is not None and (size, root) == (old.size, old.root)
        note = old.note if old is not None and is_as_reported else ""
        known[attempt] = Checkpoint(attempt=attempt, size=size, root=root, note=note, is_closed=True)
    return tuple(known[attempt] for attempt in sorted(known))


def _pauses(trigger: RecordingReported) -> tuple[Pause, ...]:
    """Read the pauses of a report; each one says all that there were."""
    pauses = []
    for gap in trigger.gaps:
        start_us, end_us = gap.get("start_us"), gap.get("end_us")
        if not isinstance(start_us, int) or not isinstance(end_us, int | None):
            raise IllegalTransitionError("an entry of `gaps` lacks a whole-numbered start_us or end_us")
        pauses.append(Pause(start_us=start_us, end_us=end_us))
    return tuple(pauses)


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


def _held(draft: Draft, job_id: str, attempt: int) -> Job:
    """Give the job, if this attempt still has it."""
    job = _current(draft, job_id, attempt)
    if job.state not in HELD:
        raise StaleAttemptError(f"attempt {attempt} of job {job_id} is over; the job is {job.state.value}")
    return job


def _is_wanted(session: Session, job: Job) -> bool:
    """Tell whether there is still something to do: the recorder's work ends with its recording alone."""
    if session.is_recorder(job):
        return session.recording is not None and session.recording.is_running
    return session.is_live


def _release(
    draft: Draft, job: Job, cause: JobCause, said: str, detail: str, retry_after_s: float | None
) -> None:
    """Take the job from its worker: back to the queue while it is wanted, else given up."""
    worker_id = job.worker_id
    # Whoever was asked may have acted on it: it is told that this attempt is over.
    draft.tell_to_leave(job, detail, is_stale=True)
    if not _is_wanted(draft.session, job):
        draft.move_job(job, JobCause.GIVE_UP, detail=detail)
        return
    draft.disarm(armed_for("offer", job), armed_for("joining", job))
    if is_agent(job.service_id):
        draft.move_job(job, cause, said=said, detail=detail)  # dispatched again as soon as there is a room
        return
    assert worker_id is not None
    moved = draft.move_job(
        job,
        cause,
        said=said,
        worker_id=None,
        refused_by=(*job.refused_by, worker_id),
        refusals=job.refusals + 1,
        detail=detail,
    )
    # The exponent has a bound, because a day of refusals would leave the range of float.
    pause_s = _FIRST_RETRY_S * 2 ** min(moved.refusals - 1, _MAX_DOUBLINGS)
    if retry_after_s is not None:
        pause_s = max(0.0, retry_after_s)
    session = draft.session
    draft.arm(armed_for("retry", moved), min(pause_s, session.limits.retry_s))
    if session.is_live and session.is_recorder(job):
        _capture_lost(draft)


def _capture_lost(draft: Draft) -> None:
    """Nobody captures now: the next attempt goes on with it, or completes what was to be stopped."""
    recording = draft.session.recording
    if recording is None or recording.status not in CAPTURING:
        return
    if recording.is_to_be == "stop":
        draft.put_recording(replace(recording, status=RecordingStatus.STOPPING))
        draft.disarm("recorder")
    elif recording.status is not RecordingStatus.STARTING:  # while Starting, the first deadline still runs
        draft.put_recording(replace(recording, status=RecordingStatus.STARTING))
        draft.arm("recorder", draft.session.limits.join_s)
