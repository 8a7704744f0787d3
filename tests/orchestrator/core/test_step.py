"""The room life as scripts, row by row of architecture §4."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.core.commands import CreateRoom, DeleteRoom
from orchestrator.core.events import Error, RoomRecreated, SessionCreated, SessionReady
from orchestrator.core.ids import RoomSid
from orchestrator.core.recording import RecordingStatus
from orchestrator.core.states import RoomStatus
from orchestrator.core.step import open_session, step
from orchestrator.core.triggers import (
    DeadlineReached,
    RoomCreated,
    RoomCreateFailed,
    RoomDeleted,
    RoomFinished,
    RoomLost,
    TerminateAsked,
    Trigger,
)
from tests.orchestrator.core.playing import (
    CREATED,
    NOW,
    ROOM,
    Due,
    client,
    decide,
    gone,
    in_state,
    opened,
    opening,
    play,
    seen,
    serve,
)

S = RoomStatus
LOST = RoomLost(sid=ROOM)
AGAIN = RoomCreated(sid=RoomSid("RM_2"))


# --- the intent ---


def test_the_intent_asks_for_the_room_and_has_a_deadline() -> None:
    decision = open_session(opening("asr!", "nlu?", max_duration_s=90.0), NOW)
    session = decision.session
    assert (session.version, session.events, session.room_status) == (1, 1, S.CREATING)
    assert decision.commands == (CreateRoom(room_name="room-s1"),)
    assert decision.events == (
        SessionCreated(session_id="s1", room_name="room-s1", livekit_url="ws://livekit"),
    )
    due = {name: (deadline.due - NOW).total_seconds() for name, deadline in session.deadlines.items()}
    assert due == {"create": 15.0, "expires": 86400.0, "max": 90.0}
    assert [(j.job_id, j.service_id, j.required, j.strict) for j in session.jobs] == [
        ("s1-1", "asr", True, True),
        ("s1-2", "nlu", False, False),
    ]
    assert session.expires_at == NOW + timedelta(days=1)
    assert session.recording is None


def test_a_recorded_session_has_the_recorder_beside_its_services() -> None:
    session = opened("asr", record=True)
    assert [(job.service_id, job.required) for job in session.jobs] == [("asr", True), ("recorder", False)]
    assert session.recording is not None
    assert session.recording.status is RecordingStatus.IDLE


def test_a_service_that_is_asked_for_twice_is_one_job() -> None:
    session = opened("asr", "recorder", "asr?", record=True)
    assert [(job.service_id, job.required) for job in session.jobs] == [("asr", True), ("recorder", False)]


# --- Creating ---


def test_room_created_and_nothing_required_is_ready() -> None:
    session, events = (played := play(opened("nlu?"), CREATED)).session, played.events
    assert (session.room_status, session.room_sid) == (S.READY, ROOM)
    assert SessionReady(session_id="s1", all_participants_joined=True) in events
    assert played.names == ["status_changed", "session_ready"]
    assert played.due_in_s("client") == 300.0


def test_room_created_and_services_required_waits_for_them() -> None:
    played = play(opened("asr"), CREATED)
    assert played.session.room_status is S.WAITING
    assert played.due_in_s("join") == 60.0
    assert not played.commands


def test_room_created_with_a_client_already_in_it_is_active_in_the_same_commit() -> None:
    played = play(opened(), seen(client()), CREATED)
    assert played.statuses == ["Ready", "Active"]
    assert "client" not in played.session.deadlines


def test_room_created_starts_the_recording() -> None:
    played = play(opened("asr", record=True), CREATED)
    assert played.recording.status is RecordingStatus.STARTING
    assert played.due_in_s("recorder") == 60.0


def test_a_session_with_a_recording_and_no_other_service_is_ready_at_once() -> None:
    played = play(opened(record=True), CREATED)
    assert played.session.room_status is S.READY
    assert not played.session.degraded
    assert played.session.missing_services == ()


@pytest.mark.parametrize("trigger", [Due("create"), RoomCreateFailed(detail="LiveKit did not make the room")])
def test_a_room_that_cannot_be_created_ends_the_session_and_deletes_what_may_come(
    trigger: Due | RoomCreateFailed,
) -> None:
    played = play(opened("asr", record=True), trigger)
    assert played.session.room_status is S.TERMINATING
    assert played.session.end_reason == "create_failed"
    assert played.commands == (DeleteRoom(room_name="room-s1"),)
    assert "error" in played.names
    ended = play(played, RoomDeleted())
    assert ended.session.room_status is S.TERMINATED
    assert not ended.session.is_open


def test_a_strangers_room_is_never_deleted_and_its_name_is_not_ours_to_hold() -> None:
    played = play(opened("asr"), RoomCreateFailed(detail="taken", is_foreign=True))
    assert played.statuses == ["Terminating", "Terminated"]
    assert not played.commands
    assert not played.session.is_name_held
    assert not played.session.deadlines
    assert played.session.end_reason == "create_failed"


@pytest.mark.parametrize("status", [S.WAITING, S.READY, S.ACTIVE, S.TERMINATING, S.TERMINATED])
@pytest.mark.parametrize("is_foreign", [False, True])
def test_a_late_failure_to_create_does_nothing_while_there_is_a_room(
    status: RoomStatus, is_foreign: bool
) -> None:
    assert decide(in_state(status), RoomCreateFailed(detail="late", is_foreign=is_foreign)).is_empty


# --- a room that LiveKit lost ---


@pytest.mark.parametrize("status", [S.WAITING, S.READY, S.ACTIVE])
def test_a_lost_room_is_created_again_under_the_same_name(status: RoomStatus) -> None:
    before = in_state(status)
    lost = play(before, LOST)
    assert lost.session.room_status is status
    assert lost.session.room_sid is None
    assert lost.commands == (CreateRoom(room_name="room-s1"),)
    back = play(lost, AGAIN)
    assert back.session.room_status is status
    assert back.session.room_sid == "RM_2"
    assert back.events == (RoomRecreated(session_id="s1", room_name="room-s1"),)
    assert back.session.deadlines == before.deadlines


@pytest.mark.parametrize("status", RoomStatus)
def test_a_loss_of_another_life_of_the_room_is_no_matter(status: RoomStatus) -> None:
    assert decide(in_state(status), RoomLost(sid=RoomSid("RM_0"))).is_empty
    assert decide(in_state(status), RoomLost(sid=None)).is_empty


def test_losing_the_room_twice_asks_for_it_once() -> None:
    lost = play(in_state(S.READY), LOST)
    assert decide(lost, LOST).is_empty


@pytest.mark.parametrize("status", [S.TERMINATING, S.TERMINATED])
def test_an_ending_session_makes_no_new_room(status: RoomStatus) -> None:
    assert decide(in_state(status), LOST).is_empty


def test_who_is_seen_after_the_loss_is_present_in_the_new_room() -> None:
    active = play(in_state(S.ACTIVE), LOST, AGAIN)
    back = play(active, seen(client(sid="PA_new")), gone(client()))
    assert back.session.room_status is S.ACTIVE
    assert not back.events  # the same identity came back: nobody joined, nobody left


def test_a_stranger_who_took_the_name_of_a_lost_room_ends_the_session() -> None:
    lost = play(in_state(S.ACTIVE), LOST)
    ended = play(lost, RoomCreateFailed(detail="taken", is_foreign=True))
    assert ended.session.room_status is S.TERMINATING
    assert ended.session.end_reason == "create_failed"
    assert Error(session_id="s1", message="taken") in ended.events


def test_a_failure_that_is_not_final_leaves_a_lost_room_waiting() -> None:
    lost = play(in_state(S.ACTIVE), LOST)
    assert decide(lost, RoomCreateFailed(detail="no answer")).is_empty


def test_a_repeated_creation_of_the_same_room_is_no_matter() -> None:
    assert decide(in_state(S.READY), CREATED).is_empty


# --- the ends ---


@pytest.mark.parametrize("status", [S.CREATING, S.WAITING, S.READY, S.ACTIVE])
def test_terminate_ends_any_live_session(status: RoomStatus) -> None:
    played = play(in_state(status), TerminateAsked(reason="deleted"))
    assert played.session.room_status is S.TERMINATING
    assert played.session.end_reason == "deleted"


@pytest.mark.parametrize("status", [S.TERMINATING, S.TERMINATED])
def test_terminating_again_is_the_same_answer(status: RoomStatus) -> None:
    assert decide(in_state(status), TerminateAsked(reason="again")).is_empty


@pytest.mark.parametrize("status", [S.WAITING, S.READY, S.ACTIVE])
def test_room_finished_of_this_sid_ends_the_session_and_of_another_does_not(status: RoomStatus) -> None:
    session = in_state(status)
    assert decide(session, RoomFinished(sid=RoomSid("RM_0"))).is_empty
    assert decide(play(session, LOST), RoomFinished(sid=ROOM)).is_empty
    assert play(session, RoomFinished(sid=ROOM)).session.end_reason == "room_finished"


def test_nobody_comes_into_a_ready_room() -> None:
    played = play(in_state(S.READY), Due("client"))
    assert played.session.room_status is S.TERMINATING
    assert played.session.end_reason == "client_timeout"


def test_the_client_deadline_is_armed_anew_each_time_ready_is_entered() -> None:
    ready = play(opened(), CREATED, 290.0, seen(client()), 100.0, gone(client()))
    assert ready.session.room_status is S.READY
    assert ready.due_in_s("client") == 300.0


@pytest.mark.parametrize("status", [S.CREATING, S.WAITING, S.READY, S.ACTIVE])
def test_max_duration_ends_even_a_session_with_a_client(status: RoomStatus) -> None:
    session = opened("asr", max_duration_s=600.0)
    script: dict[RoomStatus, tuple[Trigger, ...]] = {
        S.CREATING: (),
        S.WAITING: (CREATED,),
        S.READY: (CREATED, *serve("asr")),
        S.ACTIVE: (CREATED, *serve("asr"), seen(client())),
    }
    played = play(session, *script[status], Due("max"))
    assert (played.session.room_status, played.session.end_reason) == (S.TERMINATING, "max_duration")


def test_expiry_ends_a_session_without_a_client() -> None:
    played = play(in_state(S.READY), Due("expires"))
    assert (played.session.room_status, played.session.end_reason) == (S.TERMINATING, "expired")


def test_expiry_moves_on_while_a_client_is_present() -> None:
    played = play(in_state(S.ACTIVE), Due("expires"))
    assert played.session.room_status is S.ACTIVE
    assert played.session.expires_at == played.now + timedelta(days=1)
    assert played.due_in_s("expires") == 86400.0
    assert not played.events
    assert play(played, gone(client()), Due("expires")).session.end_reason == "expired"


def test_a_client_of_a_room_that_is_lost_for_good_does_not_keep_its_session_for_ever() -> None:
    played = play(in_state(S.ACTIVE), LOST, Due("expires"))
    assert played.session.end_reason == "expired"


# --- deadlines ---


@pytest.mark.parametrize("status", RoomStatus)
def test_a_deadline_whose_arming_is_over_does_nothing(status: RoomStatus) -> None:
    session = in_state(status)
    names = ("create", "join", "client", "expires", "max", "end", "end:capture", "end:leave", "recorder")
    for name in (*names, "recording", "offer:1", "joining:1", "retry:1", "service:1"):
        assert decide(session, DeadlineReached(name=name, arming=session.armings + 7)).is_empty


def test_a_late_client_deadline_of_an_earlier_ready_does_nothing() -> None:
    ready = play(opened(), CREATED)
    old = ready.session.deadlines["client"]
    later = play(ready, seen(client()), gone(client()))
    assert decide(later, DeadlineReached(name="client", arming=old.arming), after_s=900.0).is_empty


def test_a_deadline_without_a_rule_is_a_mistake_of_ours() -> None:
    played = play(opened(), CREATED)
    deadline = played.session.deadlines["client"]
    odd = {**played.session.deadlines, "tea": deadline}
    with pytest.raises(AssertionError, match="'tea' has no rule"):
        step(replace(played.session, deadlines=odd), DeadlineReached(name="tea", arming=deadline.arming), NOW)
