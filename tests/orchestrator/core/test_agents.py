"""LiveKit agents as services: dispatched again until one is there, and never more than one."""

from __future__ import annotations

import pytest

from orchestrator.core.admission import refusal
from orchestrator.core.commands import Command, DeleteDispatch, DispatchAgent, RemoveParticipant
from orchestrator.core.errors import IllegalTransitionError
from orchestrator.core.ids import Identity, RoomSid
from orchestrator.core.jobs import JobState
from orchestrator.core.states import RoomStatus
from orchestrator.core.triggers import (
    JobDone,
    Participant,
    RemovalAsked,
    RoleAsked,
    RoomCreated,
    RoomLost,
    TerminateAsked,
)
from tests.orchestrator.core.playing import (
    CREATED,
    ROOM,
    Due,
    Played,
    accept,
    agent,
    client,
    gone,
    offer,
    opened,
    play,
    seen,
)

ECHO = "agent:echo"
LOST = RoomLost(sid=ROOM)
AGAIN = RoomCreated(sid=RoomSid("RM_2"))


def dispatch(attempt: int) -> DispatchAgent:
    return DispatchAgent(job_id="s1-1", attempt=attempt)


def removed(commands: tuple[Command, ...]) -> list[str]:
    return [command.identity for command in commands if isinstance(command, RemoveParticipant)]


def here(played: Played) -> list[str]:
    return [p.identity for p in played.session.participants.values()]


def joined(attempt: int = 0) -> Played:
    """A session whose agent is there."""
    return play(opened(ECHO), CREATED, accept(), seen(agent(ECHO, attempt=attempt)))


def test_an_agent_is_dispatched_in_the_commit_that_makes_it_possible() -> None:
    played = play(opened(ECHO), CREATED)
    assert played.commands == (dispatch(1),)
    job = played.job(ECHO)
    assert (job.state, job.attempt, job.worker_id) == (JobState.OFFERED, 1, None)
    assert played.session.missing_services == (ECHO,)
    assert played.due_in_s("offer:1") == 30


def test_the_session_is_ready_when_the_agent_is_in_the_room_and_not_before() -> None:
    waiting = play(opened(ECHO), CREATED, accept())
    assert waiting.session.room_status is RoomStatus.WAITING
    ready = play(waiting, seen(agent(ECHO)))
    assert ready.session.room_status is RoomStatus.READY
    assert ready.session.missing_services == ()
    assert ready.names.count("microservice_joined") == 1
    assert ready.session.clients == ()


def test_an_agent_may_be_there_before_livekits_answer() -> None:
    played = play(opened(ECHO), CREATED, seen(agent(ECHO)), accept())
    assert played.job(ECHO).state is JobState.JOINED


def test_an_agent_that_does_not_come_is_dispatched_again_after_the_retry_interval() -> None:
    waiting = play(opened(ECHO), CREATED, accept())
    assert waiting.due_in_s("joining:1") == 30
    again = play(waiting, Due("joining:1"))
    assert again.commands == (DeleteDispatch(job_id="s1-1", attempt=1), dispatch(2))
    assert again.job(ECHO).state is JobState.OFFERED
    assert "job_lost" in again.names


def test_a_dispatch_that_livekit_never_took_is_made_again() -> None:
    again = play(opened(ECHO), CREATED, Due("offer:1"))
    assert again.commands[-1] == dispatch(2)


def test_an_agent_that_left_is_missed_at_once_and_dispatched_again() -> None:
    left = play(joined(), seen(client()), gone(agent(ECHO)))
    assert left.session.degraded
    assert left.commands == ()
    again = play(left, Due("joining:1"))
    assert again.commands[-1] == dispatch(2)
    healed = play(again, accept(attempt=2), seen(agent(ECHO, 2)))
    assert not healed.session.degraded


def test_an_agent_that_comes_back_by_itself_was_never_away() -> None:
    back = play(joined(), seen(agent(ECHO, 1, "PA_new")), gone(agent(ECHO)))
    assert back.job(ECHO).state is JobState.JOINED
    assert back.commands == ()


def test_the_second_of_two_agents_is_put_out() -> None:
    played = play(joined(), seen(agent(ECHO, 2)))
    assert removed(played.commands) == ["agent-AJ_echo2"]
    assert here(played) == ["agent-AJ_echo1"]


def test_of_two_agents_the_one_stays_that_livekit_vouches_for() -> None:
    played = play(joined(), seen(agent(ECHO, 2, attempt=1)))
    assert removed(played.commands) == ["agent-AJ_echo1"]
    assert here(played) == ["agent-AJ_echo2"]
    assert played.job(ECHO).state is JobState.JOINED
    third = play(played, seen(agent(ECHO, 3, attempt=1)))
    assert removed(third.commands) == ["agent-AJ_echo3"]


def test_an_agent_of_an_earlier_dispatch_is_put_out_as_soon_as_livekit_says_so() -> None:
    late = play(opened(ECHO), CREATED, accept(), Due("joining:1"), accept(attempt=2))
    assumed = play(late, seen(agent(ECHO)))
    assert assumed.job(ECHO).state is JobState.JOINED
    known = play(assumed, seen(agent(ECHO, attempt=1)))
    assert removed(known.commands) == ["agent-AJ_echo1"]
    assert known.job(ECHO).state is JobState.ACCEPTED
    assert "joining:1" in known.session.deadlines
    told_at_once = play(late, seen(agent(ECHO, attempt=1)))
    assert removed(told_at_once.commands) == ["agent-AJ_echo1"]


def test_an_agent_that_livekit_vouches_for_later_stays() -> None:
    played = play(joined(), seen(agent(ECHO, attempt=1)))
    (known,) = played.session.participants.values()
    assert (known.attempt, known.is_assumed) == (1, False)
    assert (played.commands, played.names) == ((), [])
    assert play(played, seen(agent(ECHO, attempt=1))).session is played.session


def test_the_agent_of_an_earlier_attempt_does_not_come_back() -> None:
    again = play(joined(), gone(agent(ECHO)), Due("joining:1"))
    played = play(again, seen(agent(ECHO, 1, "PA_late")))
    assert removed(played.commands) == ["agent-AJ_echo1"]
    assert played.job(ECHO).state is JobState.OFFERED


def test_an_identity_that_the_agent_chose_itself_may_come_again() -> None:
    def chosen(sid: str) -> Participant:
        found = agent(ECHO, sid=sid)
        return Participant(
            identity=Identity("echo-bot"),
            sid=found.sid,
            role="worker",
            service_id=found.service_id,
        )

    first = play(opened(ECHO), CREATED, accept(), seen(chosen("PA_1")), gone(chosen("PA_1")))
    second = play(first, Due("joining:1"), accept(attempt=2), seen(chosen("PA_2")))
    assert second.job(ECHO).state is JobState.JOINED
    assert removed(second.commands) == []


@pytest.mark.parametrize("has_joined", [True, False])
def test_a_lost_room_takes_its_dispatches_with_it(has_joined: bool) -> None:
    before = joined() if has_joined else play(opened(ECHO), CREATED, accept())
    lost = play(before, LOST)
    assert lost.job(ECHO).state is JobState.PENDING
    assert here(lost) == []
    assert not any(isinstance(command, DispatchAgent) for command in lost.commands)
    again = play(lost, AGAIN)
    assert again.commands == (dispatch(2),)
    healed = play(again, accept(attempt=2), seen(agent(ECHO, 2)))
    assert healed.session.missing_services == ()


def test_a_room_that_was_made_again_unseen_gets_its_agent() -> None:
    again = play(joined(), AGAIN)
    assert again.commands[-1] == dispatch(2)
    assert "microservice_left" in again.names


def test_the_end_of_a_session_ends_the_dispatch_first() -> None:
    ending = play(joined(), TerminateAsked())
    assert ending.commands == (DeleteDispatch(job_id="s1-1", attempt=1),)
    assert ending.session.stage == "leaving"
    done = play(ending, JobDone(job_id=ending.job(ECHO).job_id, attempt=1))
    assert done.session.stage == "deleting"


def test_a_dispatch_under_way_is_ended_too() -> None:
    ending = play(opened(ECHO), CREATED, TerminateAsked())
    assert DeleteDispatch(job_id="s1-1", attempt=1) in ending.commands
    assert ending.job(ECHO).state is JobState.FAILED


def test_an_agent_that_nobody_asked_for_is_neither_client_nor_put_out() -> None:
    played = play(opened(), CREATED, seen(agent("agent:guest")), seen(client()))
    assert removed(played.commands) == []
    assert [p.identity for p in played.session.clients] == ["ann"]
    left = play(played, gone(agent("agent:guest")))
    assert "microservice_left" not in played.names + left.names


def test_no_worker_of_ours_is_asked_to_be_an_agent() -> None:
    waiting = play(opened(ECHO), CREATED)
    with pytest.raises(IllegalTransitionError, match="cannot be offered"):
        play(waiting, offer())


def test_a_strict_agent_that_never_comes_ends_the_session() -> None:
    played = play(opened(f"{ECHO}!"), CREATED, accept(), Due("joining:1"), Due("join"))
    assert played.session.room_status is RoomStatus.TERMINATING
    assert played.session.end_reason == "services_timeout"


def test_a_caller_who_removes_the_agent_gets_another_one() -> None:
    played = play(joined(), RemovalAsked(identity=Identity("agent-AJ_echo1")))
    assert removed(played.commands) == ["agent-AJ_echo1"]
    assert dispatch(2) in played.commands
    assert played.session.standings == {}
    assert removed(play(played, seen(agent(ECHO, 1, "PA_again"))).commands) == ["agent-AJ_echo1"]


def test_nobody_takes_the_name_of_an_agent_that_is_there() -> None:
    with pytest.raises(IllegalTransitionError, match="name of a service"):
        play(joined(), RoleAsked(identity=Identity("agent-AJ_echo1"), role="operator"))


def test_an_agent_that_was_put_out_is_still_refused_when_it_is_time_to_do_it() -> None:
    late = play(opened(ECHO), CREATED, accept(), Due("joining:1"), accept(attempt=2))
    stale = play(late, seen(agent(ECHO)), seen(agent(ECHO, attempt=1))).session
    assert refusal(stale, agent(ECHO)) is not None  # a list does not say by which dispatch it came
    second = play(joined(), seen(agent(ECHO, 2))).session
    assert refusal(second, agent(ECHO, 2)) is not None
    assert refusal(second, agent(ECHO)) is None
    swapped = play(joined(), seen(agent(ECHO, 2, attempt=1))).session
    assert refusal(swapped, agent(ECHO)) is not None
    assert refusal(swapped, agent(ECHO, 2)) is None
