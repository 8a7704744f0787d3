"""A session as clients see it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

from orchestrator.core.ids import Identity, JobId, RecordingId, RoomName, ServiceId, SessionId
from orchestrator.core.jobs import Job, JobState
from orchestrator.core.recording import Checkpoint, Recording, RecordingStatus
from orchestrator.core.session import Session
from orchestrator.core.states import RoomStatus
from orchestrator.web.session_view import recording_view, session_view

AT = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)
SESSION = Session(
    id=SessionId("s"),
    room_name=RoomName("r"),
    user_identity=Identity("u"),
    created_at=AT,
    updated_at=AT.astimezone(timezone(timedelta(hours=2))),
    expires_at=AT,
)


def test_times_are_utc_with_z_whatever_their_zone() -> None:
    view = session_view(SESSION)
    assert view["created_at"] == view["updated_at"] == "2026-11-21T12:00:00.123Z"


def test_services_are_ready_or_pending_and_optional_ones_neither() -> None:
    jobs = (
        Job(job_id=JobId("s-1"), service_id=ServiceId("asr"), state=JobState.JOINED),
        Job(job_id=JobId("s-2"), service_id=ServiceId("tts")),
        Job(job_id=JobId("s-3"), service_id=ServiceId("extra"), required=False),
    )
    view = session_view(replace(SESSION, jobs=jobs))
    assert view["ready_services"] == ["asr"]
    assert view["pending_services"] == view["missing_services"] == ["tts"]
    assert [job["service_id"] for job in view["jobs"]] == ["asr", "tts", "extra"]


def test_the_workspace_word_follows_the_rooms_end() -> None:
    assert session_view(SESSION)["status"] == "active"
    assert session_view(replace(SESSION, room_status=RoomStatus.TERMINATED))["status"] == "completed"


def test_a_recording_shows_the_newest_attempts_head_and_all_checkpoints() -> None:
    recording = Recording(
        recording_id=RecordingId("rec"),
        status=RecordingStatus.RECORDING,
        checkpoints=(Checkpoint(attempt=1, size=9, root="aa"), Checkpoint(attempt=2, size=4, root="bb")),
        stats={"duration_s": 1.5},
    )
    view = recording_view(recording)
    assert (view["tree_size"], view["root"], view["status"]) == (4, "bb", "recording")
    assert view["checkpoints"] == [
        {"attempt": 1, "size": 9, "root": "aa"},
        {"attempt": 2, "size": 4, "root": "bb"},
    ]
    assert session_view(SESSION)["recording"] is None
    assert session_view(SESSION)["recording_status"] == "idle"
