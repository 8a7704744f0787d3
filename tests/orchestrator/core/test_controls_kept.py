"""What follows for a session from keeping recordings: one that is deleted, one that may not begin."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.core.errors import IllegalTransitionError, QuotaExceededError
from orchestrator.core.events import RecordingChanged, RecordingDeleted
from orchestrator.core.ids import RecordingId
from orchestrator.core.recording import RECORDER, RecordingStatus
from orchestrator.core.step import open_session
from orchestrator.core.triggers import RecordingDeletionDone
from tests.orchestrator.core.playing import CREATED, NOW, decide, opening, play
from tests.orchestrator.core.rules import check_step
from tests.orchestrator.core.test_controls import CAPTURING, COMPLETED, LIVE, start

R = RecordingStatus


def deleted(number: int = 1) -> RecordingDeletionDone:
    return RecordingDeletionDone(recording_id=RecordingId(f"rec{number}"), cause="retention")


def test_a_deleted_recording_is_said_once_and_another_may_follow() -> None:
    played = play(COMPLETED, deleted())
    assert played.recording.status is R.DELETED
    said = RecordingDeleted(session_id="s1", recording_id="rec1", cause="retention")
    assert [e for e in played.events if isinstance(e, RecordingDeleted)] == [said]
    assert decide(played, deleted()).is_empty
    assert play(played, start(2)).recording.status is R.STARTING


def test_an_earlier_recording_is_deleted_while_the_next_one_runs() -> None:
    played = play(play(COMPLETED, start(2)), deleted(1))
    assert played.recording.status is R.STARTING
    assert [r.status for r in played.session.earlier_recordings] == [R.DELETED]
    assert decide(played, deleted(1)).is_empty


def test_what_is_not_the_sessions_is_no_matter_and_what_runs_is_not_deleted() -> None:
    assert decide(COMPLETED, deleted(7)).is_empty
    assert decide(LIVE, deleted()).is_empty
    with pytest.raises(IllegalTransitionError, match="is recording cannot become deleted"):
        decide(CAPTURING, deleted())


def test_no_recording_begins_while_there_is_no_room_for_it() -> None:
    refused = replace(start(2), refusal="all is full")
    for played in (LIVE, COMPLETED):
        with pytest.raises(QuotaExceededError, match="all is full"):
            decide(played, refused)
    assert decide(CAPTURING, refused).is_empty  # the one that runs is the answer


def test_a_session_that_was_to_be_recorded_lives_without_its_recording() -> None:
    wanted = replace(opening("asr", record=True), recording_refusal="all is full")
    decision = open_session(wanted, NOW)
    check_step(None, None, decision, NOW)
    recording = decision.session.recording
    assert recording is not None
    assert (recording.status, recording.detail) == (R.FAILED, "all is full")
    assert decision.session.job_of(RECORDER) is None
    (said,) = [event for event in decision.events if isinstance(event, RecordingChanged)]
    assert (said.recording_status, said.detail) == ("failed", "all is full")
    assert decide(decision.session, CREATED).session.recording == recording
