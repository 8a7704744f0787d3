"""The working copy of a step: what it counts, says and leaves out."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.core.commands import CreateRoom, LeaveJob, RemoveParticipant
from orchestrator.core.draft import Draft, armed_for
from orchestrator.core.errors import IllegalTransitionError
from orchestrator.core.events import JobChanged, RecordingChanged, name_of
from orchestrator.core.ids import JobId, WorkerId
from orchestrator.core.jobs import JobCause, JobState
from orchestrator.core.recording import Checkpoint, RecordingStatus
from orchestrator.core.states import Cause, RoomStatus
from tests.orchestrator.core.playing import CREATED, NOW, client, offer, opened, play, seen, serve

LATER = NOW + timedelta(seconds=5)


def test_nothing_done_is_an_empty_decision_with_the_same_record() -> None:
    session = opened("asr")
    decision = Draft(session, LATER).decide()
    assert decision.is_empty
    assert decision.session is session


def test_a_change_that_is_undone_is_no_change() -> None:
    draft = Draft(opened(), LATER)
    draft.set(degraded=True)
    draft.set(degraded=False)
    assert draft.decide().is_empty


@pytest.mark.parametrize("what", ["field", "command", "event"])
def test_a_change_a_command_or_an_event_makes_a_version(what: str) -> None:
    session = opened()
    draft = Draft(session, LATER)
    match what:
        case "field":
            draft.set(degraded=True)
        case "command":
            draft.commands.append(CreateRoom(room_name="r"))
        case _:
            draft.say_error("why")
    decision = draft.decide()
    assert not decision.is_empty
    assert decision.session.version == session.version + 1
    assert decision.session.updated_at == LATER
    assert decision.session.events == session.events + (what == "event")


def test_an_arming_is_new_each_time_and_ends_the_one_before() -> None:
    session = opened()
    draft = Draft(session, LATER)
    draft.arm("client", 10.0)
    first = draft.session.deadlines["client"]
    draft.arm("client", 20.0)
    second = draft.session.deadlines["client"]
    assert second.arming == first.arming + 1 == session.armings + 2
    assert second.due == LATER + timedelta(seconds=20)
    draft.disarm("client", "never-armed")
    assert "client" not in draft.session.deadlines
    assert draft.session.armings == second.arming


def test_a_move_to_the_same_state_says_nothing_and_an_illegal_one_raises() -> None:
    draft = Draft(opened(), LATER)
    draft.move(Cause.ROOM_LOST)
    assert not draft.events
    with pytest.raises(IllegalTransitionError):
        draft.move(Cause.CLIENTS_GONE)
    draft.move(Cause.ROOM_CREATED)
    assert draft.session.room_status is RoomStatus.READY
    assert [name_of(event) for event in draft.events] == ["status_changed"]


def test_a_job_that_leaves_its_worker_forgets_it_but_the_event_names_it() -> None:
    draft = Draft(play(opened("asr"), CREATED, *serve("asr")).session, LATER)
    moved = draft.move_job(draft.session.jobs[0], JobCause.LOSE, said="lost")
    assert moved.worker_id is None
    assert draft.events == [
        JobChanged(session_id="s1", job_id="s1-1", service_id="asr", attempt=1, state="lost", worker_id="w1")
    ]


def test_a_job_that_is_over_takes_its_deadlines_with_it() -> None:
    draft = Draft(play(opened("asr", "tts"), CREATED, offer(1), offer(2)).session, LATER)
    draft.arm("retry:1", 1.0)
    draft.move_job(draft.session.jobs[0], JobCause.GIVE_UP)
    assert {"offer:1", "retry:1"}.isdisjoint(draft.session.deadlines)
    assert "offer:2" in draft.session.deadlines


def test_who_is_told_to_leave_is_named_with_its_attempt() -> None:
    draft = Draft(play(opened("asr"), CREATED, *serve("asr")).session, LATER)
    draft.tell_to_leave(draft.session.jobs[0], "why", is_stale=True)
    assert draft.commands == [
        LeaveJob(job_id="s1-1", attempt=1, worker_id="w1", room_name="room-s1", reason="why", is_stale=True)
    ]


def test_who_is_removed_is_struck_off_at_once() -> None:
    draft = Draft(play(opened(), CREATED, seen(client())).session, LATER)
    draft.remove(client(), "why")
    assert not draft.session.participants
    assert draft.commands == [RemoveParticipant(room_name="room-s1", identity="ann", reason="why")]
    assert [name_of(event) for event in draft.events] == ["participant_removed"]


def test_a_recordings_move_is_said_with_its_newest_tree_and_goes_by_the_table() -> None:
    draft = Draft(play(opened(record=True), CREATED).session, LATER)
    recording = draft.session.recording
    assert recording is not None
    draft.put_recording(replace(recording, store="dir:x"))
    assert not draft.events
    draft.put_recording(
        replace(
            recording,
            status=RecordingStatus.STOPPED,
            checkpoints=(Checkpoint(attempt=1, size=3, root="aa"), Checkpoint(attempt=2, size=5, root="bb")),
        )
    )
    assert draft.events == [
        RecordingChanged(
            session_id="s1", recording_id="rec1", recording_status="stopped", tree_size=5, root="bb"
        )
    ]
    with pytest.raises(IllegalTransitionError):
        draft.put_recording(replace(recording, status=RecordingStatus.IDLE))


def test_a_recording_fails_once_and_only_while_it_runs() -> None:
    idle = Draft(opened(record=True), LATER)
    idle.fail_recording("why")
    assert not idle.events
    draft = Draft(play(opened(record=True), CREATED).session, LATER)
    draft.fail_recording("why")
    draft.fail_recording("why not")
    recording = draft.session.recording
    assert recording is not None
    assert (recording.status, recording.detail) == (RecordingStatus.FAILED, "why")
    assert len(draft.events) == 1
    assert "recorder" not in draft.session.deadlines


def test_a_jobs_deadlines_are_named_by_its_number() -> None:
    job = replace(opened("asr").jobs[0], job_id=JobId("0f-aa-12"), worker_id=WorkerId("w"))
    assert armed_for("offer", job) == "offer:12"
    assert job.state is JobState.PENDING
