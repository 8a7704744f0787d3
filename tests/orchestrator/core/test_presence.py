"""Who is in the room: clients, workers of every attempt, and what follows for Ready, Active and degraded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.core.commands import RemoveParticipant
from orchestrator.core.events import (
    ClientJoined,
    ClientLeft,
    Error,
    MicroserviceJoined,
    MicroserviceLeft,
    ParticipantRemoved,
    SessionReady,
    SessionStatusChanged,
)
from orchestrator.core.ids import JobId, ParticipantSid
from orchestrator.core.jobs import JobState
from orchestrator.core.states import RoomStatus
from orchestrator.core.triggers import JobDone, JobLost, JobReady, ParticipantsSeen, TerminateAsked
from tests.orchestrator.core.playing import (
    CREATED,
    Due,
    Played,
    accept,
    client,
    decide,
    gone,
    offer,
    opened,
    play,
    seen,
    serve,
    worker,
)

S = RoomStatus
LOST = JobLost(job_id=JobId("s1-1"), attempt=1, detail="the worker is dead")


def ready(*services: str) -> Played:
    """A session whose services are all there."""
    names = [name.strip("?!") for name in services]
    script = [entry for number, name in enumerate(names, 1) for entry in serve(name, number, 1, f"w{number}")]
    return play(opened(*services), CREATED, *script)


# --- Ready ---


def test_the_last_required_service_makes_the_session_ready() -> None:
    waiting = play(opened("asr", "tts", "nlu?"), CREATED, *serve("asr", 1))
    assert waiting.session.room_status is S.WAITING
    assert waiting.session.missing_services == ("tts",)
    played = play(waiting, *serve("tts", 2))
    assert played.session.room_status is S.READY
    assert SessionReady(session_id="s1", all_participants_joined=True) in played.events
    assert not played.session.degraded
    assert "join" not in played.session.deadlines


def test_with_a_client_already_there_it_goes_on_to_active_in_the_same_commit() -> None:
    waiting = play(opened("asr"), CREATED, seen(client()), offer(), accept())
    assert waiting.session.room_status is S.WAITING
    decision = decide(waiting, seen(worker("asr")))
    assert decision.session.room_status is S.ACTIVE
    statuses = [event.status for event in decision.events if isinstance(event, SessionStatusChanged)]
    assert statuses == ["Ready", "Active"]


def test_join_deadline_under_degrade_is_ready_and_names_who_is_missing() -> None:
    played = play(opened("asr", "tts", "nlu?"), CREATED, *serve("tts", 2), Due("join"))
    assert played.session.room_status is S.READY
    assert played.session.degraded
    ready_event = SessionReady(session_id="s1", all_participants_joined=False, missing_services=("asr",))
    assert ready_event in played.events
    said = SessionStatusChanged(session_id="s1", status="Ready", degraded=True, missing_services=("asr",))
    assert said in played.events
    assert Error(session_id="s1", message="services did not join in time: asr") in played.events
    assert played.statuses == ["WaitingForServices", "Ready"]  # degraded is said with Ready, not after it


def test_join_deadline_under_strict_ends_the_session() -> None:
    played = play(opened("asr", "tts!"), CREATED, *serve("asr", 1), Due("join"))
    assert played.session.room_status is S.TERMINATING
    assert played.session.end_reason == "services_timeout"


def test_strict_of_a_service_that_is_there_does_not_end_the_session_for_one_that_may_be_missing() -> None:
    played = play(opened("asr", "tts!"), CREATED, *serve("tts", 2), Due("join"))
    assert (played.session.room_status, played.session.missing_services) == (S.READY, ("asr",))


def test_optional_services_never_hold_ready_back_nor_degrade() -> None:
    played = play(opened("nlu?"), CREATED)
    assert played.session.room_status is S.READY
    joined = play(played, *serve("nlu"))
    assert MicroserviceJoined(session_id="s1", service_id="nlu") in joined.events
    left = play(joined, gone(worker("nlu")))
    assert not left.session.degraded
    assert not left.session.missing_services


def test_a_service_that_comes_after_the_degrade_heals_the_session() -> None:
    degraded = play(opened("asr"), CREATED, Due("join"))
    healed = play(degraded, *serve("asr"))
    assert not healed.session.degraded
    assert healed.events[-1] == SessionStatusChanged(session_id="s1", status="Ready")


def test_with_manual_ready_presence_is_not_enough() -> None:
    joined = play(opened("asr"), CREATED, offer(), accept(manual_ready=True), seen(worker("asr")))
    assert joined.session.room_status is S.WAITING
    assert joined.job("asr").state is JobState.JOINED
    played = play(joined, JobReady(job_id=JobId("s1-1"), attempt=1))
    assert played.session.room_status is S.READY


def test_a_word_of_ready_before_the_presence_counts_when_the_presence_comes() -> None:
    early = play(opened("asr"), CREATED, offer(), accept(manual_ready=True))
    early = play(early, JobReady(job_id=JobId("s1-1"), attempt=1))
    assert early.session.room_status is S.WAITING
    assert play(early, seen(worker("asr"))).session.room_status is S.READY


def test_a_service_that_is_done_is_not_missing() -> None:
    done = play(ready("asr"), JobDone(job_id=JobId("s1-1"), attempt=1))
    assert not done.session.degraded
    assert not done.session.missing_services


# --- clients ---


def test_the_first_client_makes_active_and_the_last_one_ready_again() -> None:
    active = play(ready(), seen(client()), seen(client(), client("bob", "PA_bob")))
    assert active.session.room_status is S.ACTIVE
    assert active.statuses == ["Active"]
    assert ClientJoined(session_id="s1", user_identity="bob") in active.events
    one = play(active, gone(client()))
    assert one.session.room_status is S.ACTIVE
    assert one.events == (ClientLeft(session_id="s1", user_identity="ann"),)
    assert play(one, gone(client("bob", "PA_bob"))).session.room_status is S.READY


@pytest.mark.parametrize("role", ["operator", "recorder"])
def test_who_only_watches_makes_nothing_active_and_is_not_announced(role: str) -> None:
    watcher = replace(client("op", "PA_op"), role=role)  # type: ignore[arg-type]  # one of Role
    played = play(ready(), seen(watcher))
    assert played.session.room_status is S.READY
    assert not played.events
    assert not play(played, gone(watcher)).events


def test_the_same_list_again_decides_nothing() -> None:
    active = play(ready(), seen(client()))
    assert decide(active, seen(client())).is_empty
    assert decide(active, ParticipantsSeen()).is_empty
    assert decide(active, gone(client("ghost", "PA_ghost"))).is_empty


def test_a_client_that_comes_back_under_a_new_sid_neither_left_nor_joined() -> None:
    active = play(ready(), seen(client()))
    new = client(sid="PA_2")
    together = ParticipantsSeen(present=(new,), gone=frozenset({client().sid}))
    for script in ((together,), (seen(new), gone(client()))):
        played = play(active, *script)
        assert played.session.room_status is S.ACTIVE
        assert list(played.session.participants) == ["PA_2"]
        assert not played.events


def test_many_leave_at_once_and_each_is_said_in_a_fixed_order() -> None:
    people = [client(name, f"PA_{name}") for name in ("carl", "ann", "bob")]
    left = play(ready(), seen(*people), gone(*people))
    names = [event.user_identity for event in left.events if isinstance(event, ClientLeft)]
    assert names == ["ann", "bob", "carl"]


def test_a_client_that_is_seen_while_creating_counts_when_the_room_is_there() -> None:
    creating = play(opened("asr"), seen(client()))
    assert creating.session.room_status is S.CREATING
    assert play(creating, CREATED, *serve("asr")).session.room_status is S.ACTIVE


# --- a required service gone ---


def test_a_required_service_gone_degrades_at_once_and_back_it_heals() -> None:
    away = play(ready("asr"), gone(worker("asr")))
    assert away.session.room_status is S.READY
    assert away.session.degraded
    assert MicroserviceLeft(session_id="s1", service_id="asr") in away.events
    assert away.job("asr").state is JobState.ACCEPTED
    assert away.due_in_s("joining:1") == 5.0
    back = play(away, seen(worker("asr", sid="PA_asr_again")))
    assert not back.session.degraded
    assert back.job("asr").attempt == 1


def test_every_change_of_who_is_missing_is_said_while_it_stays_degraded() -> None:
    def said(played: Played) -> list[tuple[str, ...]]:
        return [e.missing_services for e in played.events if isinstance(e, SessionStatusChanged)]

    script = [*serve("asr", 1), *serve("tts", 2, 1, "w2")]
    both = play(opened("asr", "tts"), CREATED, *script)
    tts = next(p for p in both.session.participants.values() if p.service_id == "tts")
    first = play(both, gone(worker("asr")))
    assert said(first) == [("asr",)]
    second = play(first, gone(tts))
    assert said(second) == [("asr", "tts")]
    third = play(second, seen(worker("asr", sid="PA_again")))
    assert said(third) == [("tts",)]
    assert third.session.degraded
    assert said(play(third, seen(client()))) == [("tts",)], "Active is said with it, and only once"
    healed = play(third, seen(replace(tts, sid=ParticipantSid("PA_tts_again"))))
    assert said(healed) == [()]
    assert not healed.session.degraded


def test_a_worker_that_does_not_come_back_is_offered_again() -> None:
    away = play(ready("asr"), gone(worker("asr")), Due("joining:1"))
    assert away.job("asr").state is JobState.PENDING
    again = play(away, *serve("asr", attempt=2, worker_id="w2"))
    assert again.job("asr").identity == "asr#2"
    assert not again.session.degraded


def test_a_worker_back_under_a_new_sid_in_one_list_was_not_away() -> None:
    new = worker("asr", sid="PA_new")
    played = play(ready("asr"), ParticipantsSeen(present=(new,), gone=frozenset({worker("asr").sid})))
    assert not played.events
    assert not played.session.degraded


@pytest.mark.parametrize("with_client", [False, True])
def test_a_strict_service_that_stays_away_ends_the_session(with_client: bool) -> None:
    start = ready("asr!")
    start = play(start, seen(client())) if with_client else start
    away = play(start, gone(worker("asr")))
    assert away.session.degraded
    assert away.due_in_s("service:1") == 60.0
    ended = play(away, Due("service:1"))
    assert Error(session_id="s1", message="service was away for 60 s: asr") in ended.events
    assert ended.session.room_status is S.TERMINATING
    assert ended.session.end_reason == "services_timeout"


def test_a_strict_service_that_heals_in_time_has_the_whole_time_again() -> None:
    away = play(ready("asr!"), gone(worker("asr")), 50.0, seen(worker("asr", sid="PA_b")))
    assert "service:1" not in away.session.deadlines
    again = play(away, gone(worker("asr", sid="PA_b")))
    assert again.due_in_s("service:1") == 60.0


def test_the_attempts_of_a_strict_service_do_not_move_its_deadline_on() -> None:
    away = play(ready("asr!"), LOST, 20.0, offer(1, "w2"), accept(1, 2), 20.0)
    assert away.due_in_s("service:1") == 20.0


def test_a_strict_service_is_not_blamed_for_how_long_another_one_was_away() -> None:
    played = play(ready("asr!", "tts!"), gone(worker("asr")), 50.0, gone(worker("tts")), 5.0)
    played = play(played, seen(worker("asr", sid="PA_back")), 10.0)
    assert played.session.room_status is S.READY
    assert "service:1" not in played.session.deadlines
    assert played.due_in_s("service:2") == 45.0
    assert play(played, Due("service:2")).session.end_reason == "services_timeout"


def test_under_degrade_a_service_may_stay_away() -> None:
    away = play(ready("asr"), gone(worker("asr")))
    assert not [name for name in away.session.deadlines if name.startswith("service")]


# --- attempts ---


def test_an_old_attempt_that_is_still_there_is_put_out_when_the_newer_has_joined() -> None:
    frozen = play(ready("asr"), LOST)
    assert [p.identity for p in frozen.session.participants.values()] == ["asr"]
    taken = play(frozen, offer(1, "w2"), accept(1, 2))
    assert not [c for c in taken.commands if isinstance(c, RemoveParticipant)]
    joined = play(taken, seen(worker("asr"), worker("asr", 2)))
    assert [c.identity for c in joined.commands if isinstance(c, RemoveParticipant)] == ["asr"]
    assert [p.identity for p in joined.session.participants.values()] == ["asr#2"]
    assert not joined.session.degraded


@pytest.mark.parametrize("is_newer_there", [False, True])
def test_an_old_attempt_that_appears_is_put_out_at_once(is_newer_there: bool) -> None:
    taken = play(opened("asr"), CREATED, offer(), Due("offer:1"), offer(1, "w2"), accept(1, 2))
    if is_newer_there:
        taken = play(taken, seen(worker("asr", 2)))
    late = play(taken, seen(worker("asr", 1)))
    assert [c.identity for c in late.commands if isinstance(c, RemoveParticipant)] == ["asr"]
    assert isinstance(late.events[0], ParticipantRemoved)
    assert late.job("asr").attempt == 2
    assert late.session.participants == taken.session.participants


def test_a_worker_whose_job_waits_again_or_never_was_is_put_out() -> None:
    lost = play(ready("asr"), gone(worker("asr")), LOST)
    assert play(lost, seen(worker("asr", sid="PA_late"))).commands
    assert play(ready("asr"), seen(worker("tts"))).commands


def test_an_old_attempt_that_goes_before_the_newer_comes_has_left() -> None:
    taken = play(ready("asr"), LOST, offer(1, "w2"), accept(1, 2))
    left = play(taken, gone(worker("asr")))
    assert left.events == (MicroserviceLeft(session_id="s1", service_id="asr"),)
    assert left.job("asr").state is JobState.ACCEPTED


def test_the_recorders_coming_and_going_is_not_announced() -> None:
    played = play(opened(record=True), CREATED, *serve("recorder"), gone(worker("recorder")))
    assert not {"microservice_joined", "microservice_left"} & set(played.names)
    assert not played.session.degraded


# --- while ending ---


def test_nobody_new_comes_in_while_the_session_ends() -> None:
    ending = play(ready("asr"), TerminateAsked())
    late = play(ending, seen(client()))
    assert late.commands == (
        RemoveParticipant(room_name="room-s1", identity="ann", reason="the session is ending"),
    )
    assert "client_joined" not in late.names


def test_who_is_there_when_the_session_ends_leaves_by_itself_or_with_the_room() -> None:
    ending = play(ready("asr"), seen(client()), TerminateAsked())
    assert decide(ending, seen(client(), worker("asr"))).is_empty


def test_who_goes_while_the_session_ends_is_said_and_who_stays_is_said_at_its_end() -> None:
    ending = play(ready("asr"), seen(client(), client("bob", "PA_bob")), TerminateAsked())
    going = play(ending, gone(client()))
    assert going.events == (ClientLeft(session_id="s1", user_identity="ann"),)
    ended = play(going, Due("end"))
    assert ClientLeft(session_id="s1", user_identity="bob") in ended.events
    assert MicroserviceLeft(session_id="s1", service_id="asr") in ended.events
    assert decide(ended, seen(client("late", "PA_late"))).is_empty
