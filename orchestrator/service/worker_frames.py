"""Makes the frames in which pull workers get their jobs."""

from __future__ import annotations

from orchestrator.core.jobs import Job
from orchestrator.core.recording import RECORDER
from orchestrator.core.session import Session
from orchestrator.core.work import needs_room
from orchestrator.ports import Token
from sdk.wire import Assign, Offer, RecordingTask


def offer_frame(session: Session, job: Job) -> Offer:
    """Make the question whether a worker takes a job."""
    return Offer(
        job_id=job.job_id,
        attempt=job.attempt,
        session_id=session.id,
        service_id=job.service_id,
        room_name=session.room_name,
        metadata=session.metadata,
        deadline=session.limits.offer_s,
    )


def assign_frame(session: Session, job: Job, token: Token, recording: RecordingTask) -> Assign:
    """Make what a worker needs to join (or to complete a recording).

    Args:
        session: whose job it is.
        job: accepted.
        token: for its room.
        recording: what the settings say of every recording; its id, and how it is taken, are the
            session's own.
    """
    frame = Assign(
        job_id=job.job_id,
        attempt=job.attempt,
        access_token=token.jwt,
        livekit_url=session.livekit_url,
        expires_at=token.expires_at.isoformat().replace("+00:00", "Z"),
    )
    if job.service_id != RECORDER or session.recording is None:
        return frame
    wanted = session.recording.wanted
    task = RecordingTask(
        recording_id=session.recording.recording_id,
        task="capture" if needs_room(session, job) else "complete",
        op=wanted.n if wanted is not None else 0,
        paused=session.recording.is_to_be == "pause",
        gaps=[
            {"start_us": pause.start_us, **({} if pause.end_us is None else {"end_us": pause.end_us})}
            for pause in session.recording.pauses
        ],
        closes=[
            {"attempt": checkpoint.attempt, "tree_size": checkpoint.size, "root": checkpoint.root}
            for checkpoint in session.recording.checkpoints
            if checkpoint.is_closed
        ],
        mode=session.recording.mode or recording.mode,
        quality=session.recording.quality or recording.quality,
        format=session.recording.format or recording.format,
        layout=session.recording.layout or recording.layout,
        e2ee_key=session.recording.e2ee,
        keyframe_interval_s=recording.keyframe_interval_s,
    )
    return Assign(
        job_id=frame.job_id,
        attempt=frame.attempt,
        access_token=frame.access_token,
        livekit_url=frame.livekit_url,
        expires_at=frame.expires_at,
        recording=task,
    )
