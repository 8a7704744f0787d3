"""A session as clients see it: one name per thing, times in RFC 3339. Source: contracts §2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from orchestrator.core.jobs import Job
from orchestrator.core.recording import Recording
from orchestrator.core.session import Session
from orchestrator.core.states import RoomStatus
from orchestrator.core.triggers import Participant
from orchestrator.core.waiting import Waiting
from orchestrator.web.errors import rfc3339

WhyWaiting = Callable[[Session, Job], Waiting | None]

_encoder: Final = msgspec.json.Encoder()


def session_json(session: Session, why: WhyWaiting) -> bytes:
    """Encode a session as `GET /api/v1/sessions/{id}` answers it. Holds no token.

    Args:
        session: as committed.
        why: says of a pending job what it waits for at this moment; None of one that does not wait.
    """
    view = session_view(session)
    for job, shown in zip(session.jobs, view["jobs"], strict=True):
        waiting = why(session, job)
        shown["waiting"] = (
            {"reason": waiting.reason.value, "message": waiting.message} if waiting is not None else None
        )
    return _encoder.encode(view)


def session_view(session: Session) -> dict[str, Any]:
    """Give the fields of a session; ``status`` is the workspace's word, ``room_status`` the room's."""
    required = [job for job in session.jobs if job.required]
    return {
        "session_id": session.id,
        "user_id": session.user_identity,
        "status": "completed" if session.room_status is RoomStatus.TERMINATED else "active",
        "room_name": session.room_name,
        "room_status": session.room_status.value,
        "recording_status": session.recording.status.value if session.recording else "idle",
        "degraded": session.degraded,
        "end_reason": session.end_reason or None,
        "ready_services": [job.service_id for job in required if job.is_ready],
        "pending_services": [job.service_id for job in required if job.is_missing],
        "missing_services": list(session.missing_services),
        "created_at": rfc3339(session.created_at),
        "updated_at": rfc3339(session.updated_at),
        "last_activity_at": rfc3339(session.updated_at),
        "expires_at": rfc3339(session.expires_at),
        "metadata": session.metadata,
        "version": session.version,
        "livekit_url": session.livekit_url,
        "recording": recording_view(session.recording) if session.recording else None,
        "jobs": [job_view(job) for job in session.jobs],
        "participants": [participant_view(p) for p in session.participants.values()],
    }


def recording_view(recording: Recording) -> dict[str, Any]:
    """Give the recording facet; size and root are those of the newest attempt's last checkpoint."""
    last = max(recording.checkpoints, key=lambda checkpoint: checkpoint.attempt, default=None)
    return {
        "recording_id": recording.recording_id,
        "status": recording.status.value,
        "mode": recording.mode or None,
        "quality": recording.quality or None,
        "format": recording.format or None,
        "layout": recording.layout or None,
        "pending": recording.pending,
        "store": recording.store,
        "tree_size": last.size if last else 0,
        "root": last.root if last else "",
        "checkpoints": [
            {"attempt": c.attempt, "size": c.size, "root": c.root} for c in recording.checkpoints
        ],
        "stats": recording.all_stats,
        "detail": recording.detail,
    }


def job_view(job: Job) -> dict[str, Any]:
    """Give one service of a session."""
    return {
        "job_id": job.job_id,
        "service_id": job.service_id,
        "attempt": job.attempt,
        "state": job.state.value,
        "required": job.required,
        "policy": "strict" if job.strict else "degrade",
        "priority": job.priority,
        "capabilities": job.capabilities,
        "ready": job.is_ready,
        "worker_id": job.worker_id,
        "detail": job.detail,
    }


def participant_view(participant: Participant) -> dict[str, Any]:
    """Give somebody in the room."""
    view: dict[str, Any] = {
        "identity": participant.identity,
        "sid": participant.sid,
        "role": participant.role,
    }
    if participant.service_id is not None:
        view |= {"service_id": participant.service_id, "attempt": participant.attempt}
    return view
