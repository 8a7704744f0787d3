"""Job life as scripts: offers, refusals, silence, losses, and what old attempts say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.core.commands import LeaveJob
from orchestrator.core.errors import IllegalTransitionError, StaleAttemptError
from orchestrator.core.ids import JobId
from orchestrator.core.jobs import JobState
from orchestrator.core.states import RoomStatus
from orchestrator.core.triggers import (
    JobDone,
    JobLost,
    JobReady,
    JobRefused,
    RoomLost,
    TerminateAsked,
    Trigger,
)
from orchestrator.core.work import is_offerable
from tests.orchestrator.core.playing import (
    CREATED,
    ROOM,
    Due,
    accept,
    decide,
    offer,
    opened,
    play,
    seen,
    serve,
    worker,
)


def lost(number: int = 1, attempt: int = 1) -> JobLost:
    return JobLost(job_id=JobId(f"s1-{number}"), attempt=attempt, detail="the worker is dead")


def refused(attempt: int = 1, after_s: float | None = None) -> JobRefused:
    return JobRefused(job_id=JobId("s1-1"), attempt=attempt, detail="full", retry_after_s=after_s)


def done(number: int = 1, attempt: int = 1) -> JobDone:
    return JobDone(job_id=JobId(f"s1-{number}"), attempt=attempt)


WAITING = play(opened("asr"), CREATED)


# --- offers ---


def test_a_job_can_be_offered_once_there_is_a_room() -> None:
    assert not is_offerable(opened("asr"), opened("asr").jobs[0])
    assert is_offerable(WAITING.session, WAITING.job("asr"))
    without_room = play(WAITING, RoomLost(sid=ROOM))
    assert not is_offerable(without_room.session, without_room.job("asr"))
    with pytest.raises(IllegalTransitionError, match="cannot be offered"):
        decide(without_room, offer())


def test_an_offer_is_an_attempt_of_its_own() -> None:
    played = play(WAITING, offer(1, "w7"))
    job = played.job("asr")
    assert (job.state, job.attempt, job.worker_id) == (JobState.OFFERED, 1, "w7")
    assert played.due_in_s("offer:1") == 5.0
    assert played.names == ["job_offered"]
    with pytest.raises(IllegalTransitionError):
        decide(played, offer(1, "w8"))


def test_an_offer_of_a_job_that_is_not_there_is_stale() -> None:
    with pytest.raises(StaleAttemptError):
        decide(WAITING, offer(4))


def test_who_accepts_has_the_retry_interval_to_be_there() -> None:
    played = play(WAITING, offer(), accept(manual_ready=True))
    assert played.job("asr").manual_ready
    assert played.due_in_s("joining:1") == 30.0
    assert "offer:1" not in played.session.deadlines
    assert decide(played, accept()).is_empty


def test_who_accepts_and_does_not_come_loses_the_job() -> None:
    played = play(WAITING, offer(), accept(), Due("joining:1"))
    assert played.job("asr").state is JobState.PENDING
    assert played.names[-1] == "job_lost"
    stale = LeaveJob(
        job_id="s1-1",
        attempt=1,
        worker_id="w1",
        room_name="room-s1",
        reason="the worker is not in the room",
        is_stale=True,
    )
    assert played.commands == (stale,)


def test_silence_on_an_offer_is_a_loss() -> None:
    played = play(WAITING, offer(), Due("offer:1"))
    assert played.job("asr").state is JobState.PENDING
    assert played.job("asr").refused_by == ("w1",)
    assert played.names == ["job_offered", "job_lost"]


def test_a_push_call_without_an_answer_is_looked_for_until_the_retry_interval() -> None:
    called = play(WAITING, offer(is_push=True))
    assert called.due_in_s("offer:1") == 30.0
    there = play(called, 20.0, seen(worker("asr")))
    assert there.job("asr").state is JobState.JOINED
    assert there.session.room_status is RoomStatus.READY
    assert decide(there, accept()).is_empty  # its answer comes after all
    assert decide(there, refused()).is_empty
    again = play(called, Due("offer:1"), offer(is_push=True))
    assert again.job("asr").attempt == 2


# --- refusals ---


def test_a_refusal_lets_others_be_asked_at_once_and_the_same_one_after_a_pause() -> None:
    played = play(WAITING, offer(), refused())
    assert played.names == ["job_offered", "job_refused"]
    assert is_offerable(played.session, played.job("asr"))
    assert played.job("asr").refused_by == ("w1",)
    assert played.due_in_s("retry:1") == 0.5
    after = play(played, Due("retry:1"))
    assert after.job("asr").refused_by == ()
    assert not after.events


def test_who_refuses_is_remembered_until_the_pause_is_over() -> None:
    played = play(WAITING, offer(1, "w1"), refused(), offer(1, "w2"), refused(2))
    assert played.job("asr").refused_by == ("w1", "w2")
    assert play(played, Due("retry:1")).job("asr").refused_by == ()


def test_the_pause_doubles_up_to_the_retry_interval() -> None:
    played, pauses = WAITING, []
    for attempt in range(1, 10):
        played = play(played, offer(1, f"w{attempt % 2}"), refused(attempt))
        pauses.append(played.due_in_s("retry:1"))
        played = play(played, Due("retry:1"))
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_a_day_of_refusals_does_not_break_the_pause() -> None:
    job = replace(WAITING.job("asr"), refusals=5000)
    played = play(replace(WAITING.session, jobs=(job,)), offer(), refused())
    assert played.due_in_s("retry:1") == 30.0


def test_being_there_forgets_the_refusals() -> None:
    played = play(WAITING, offer(), refused(), *serve("asr", 1, 2, "w2"))
    assert (played.job("asr").refusals, played.job("asr").refused_by) == (0, ())
    assert play(played, lost(1, 2)).due_in_s("retry:1") == 0.5


@pytest.mark.parametrize(("asked_s", "pause_s"), [(7.0, 7.0), (0.0, 0.0), (-1.0, 0.0), (1e18, 30.0)])
def test_a_worker_may_name_its_pause_up_to_the_retry_interval(asked_s: float, pause_s: float) -> None:
    assert play(WAITING, offer(), refused(1, asked_s)).due_in_s("retry:1") == pause_s


# --- who speaks too late ---


@pytest.mark.parametrize(
    "word", [accept(), refused(), JobReady(job_id=JobId("s1-1"), attempt=1), done(), lost()]
)
def test_an_attempt_that_is_over_is_told_so_before_and_after_the_next_one(word: Trigger) -> None:
    waiting_again = play(WAITING, offer(), Due("offer:1"))
    next_one = play(waiting_again, offer(1, "w2"))
    for played in (WAITING, waiting_again, next_one, play(next_one, accept(1, 2), seen(worker("asr", 2)))):
        with pytest.raises(StaleAttemptError):
            decide(played, word)


@pytest.mark.parametrize("word", [accept(), JobReady(job_id=JobId("s1-1"), attempt=1)])
def test_who_takes_a_job_that_was_given_up_is_told_that_it_is_over(word: Trigger) -> None:
    ended = play(WAITING, offer(), TerminateAsked())
    assert ended.job("asr").state is JobState.FAILED
    with pytest.raises(StaleAttemptError, match="the job is failed"):
        decide(ended, word)


def test_losing_or_ending_a_job_twice_is_no_matter() -> None:
    ended = play(WAITING, *serve("asr"), done())
    assert decide(ended, done()).is_empty
    assert decide(ended, lost()).is_empty
    assert decide(ended, refused()).is_empty


@pytest.mark.parametrize("before", [(), (accept(),), (accept(), seen(worker("asr")))])
def test_done_ends_the_job_wherever_it_stands(before: tuple[Trigger, ...]) -> None:
    played = play(WAITING, offer(), *before, done())
    assert played.job("asr").state is JobState.DONE
    assert not {"offer:1", "joining:1"} & set(played.session.deadlines)


@pytest.mark.parametrize("before", [(), (accept(),), (accept(), seen(worker("asr")))])
def test_a_lost_job_waits_again_wherever_it_stood(before: tuple[Trigger, ...]) -> None:
    played = play(WAITING, offer(), *before, lost())
    job = played.job("asr")
    assert (job.state, job.attempt, job.worker_id) == (JobState.PENDING, 1, None)
    assert job.detail == "the worker is dead"
    assert "retry:1" in played.session.deadlines


def test_a_job_of_a_session_that_ends_is_not_offered_again() -> None:
    for before in ((accept(),), (accept(), seen(worker("asr")))):
        played = play(WAITING, offer(), *before, TerminateAsked(), lost())
        assert played.job("asr").state in (JobState.DONE, JobState.FAILED)
        assert played.session.stage == "deleting"
