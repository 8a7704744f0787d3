"""Frames carry what a worker needs, and of a recording only what belongs to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from msgspec import UNSET

from orchestrator.core.recording import Checkpoint
from orchestrator.ports import Token
from orchestrator.service.worker_frames import assign_frame, offer_frame
from sdk.wire import RecordingTask
from tests.orchestrator.core.playing import CREATED, NOW, accept, offer, opened, play

TOKEN = Token(jwt="the-token", expires_at=NOW + timedelta(minutes=5))
SETTINGS = RecordingTask(recording_id="", quality="medium", keyframe_interval_s=2.0)


def test_an_offer_names_the_room_and_carries_no_token() -> None:
    played = play(opened("asr"), CREATED, offer())
    frame = offer_frame(played.session, played.job("asr"))
    assert (frame.job_id, frame.attempt, frame.room_name) == ("s1-1", 1, "room-s1")
    assert (frame.metadata, frame.deadline) == ({"case": "1"}, 5.0)


def test_an_assignment_carries_the_token_and_no_recording_for_others() -> None:
    played = play(opened("asr"), CREATED, offer(), accept())
    frame = assign_frame(played.session, played.job("asr"), TOKEN, SETTINGS)
    assert (frame.access_token, frame.livekit_url) == ("the-token", "ws://livekit")
    assert frame.expires_at == "2026-11-21T12:05:00Z"
    assert frame.recording is UNSET


def test_the_recorder_is_told_what_to_record() -> None:
    played = play(opened(record=True), CREATED, offer(), accept())
    frame = assign_frame(played.session, played.job("recorder"), TOKEN, SETTINGS)
    assert isinstance(frame.recording, RecordingTask)
    assert (frame.recording.recording_id, frame.recording.task) == ("rec1", "capture")
    assert (frame.recording.quality, frame.recording.keyframe_interval_s) == ("medium", 2.0)


def test_the_next_recorder_is_told_where_earlier_attempts_were_closed() -> None:
    played = play(opened(record=True), CREATED, offer(), accept())
    recording = played.session.recording
    assert recording is not None
    checkpoints = (
        Checkpoint(attempt=1, size=7, root="ab", is_closed=True),
        Checkpoint(attempt=2, size=3, root="cd"),
    )
    session = replace(played.session, recording=replace(recording, checkpoints=checkpoints))
    frame = assign_frame(session, played.job("recorder"), TOKEN, SETTINGS)
    assert isinstance(frame.recording, RecordingTask)
    assert frame.recording.closes == [{"attempt": 1, "tree_size": 7, "root": "ab"}]
