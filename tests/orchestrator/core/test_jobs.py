"""The job life's table, cell by cell, and what a job says of itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.core.errors import IllegalTransitionError
from orchestrator.core.ids import JobId, ServiceId
from orchestrator.core.jobs import HELD, OVER, TABLE, Job, JobCause, JobState, move

S, C = JobState, JobCause
JOB = Job(job_id=JobId("s1-1"), service_id=ServiceId("asr"))

EXPECTED: dict[JobState, dict[JobCause, JobState]] = {
    S.PENDING: {C.OFFER: S.OFFERED, C.GIVE_UP: S.FAILED},
    S.OFFERED: {
        C.ACCEPT: S.ACCEPTED,
        C.REFUSE: S.PENDING,
        C.PRESENT: S.JOINED,
        C.LOSE: S.PENDING,
        C.GIVE_UP: S.FAILED,
        C.REOPEN: S.PENDING,
    },
    S.ACCEPTED: {
        C.PRESENT: S.JOINED,
        C.LOSE: S.PENDING,
        C.FINISH: S.DONE,
        C.GIVE_UP: S.FAILED,
        C.REOPEN: S.PENDING,
    },
    S.JOINED: {
        C.ABSENT: S.ACCEPTED,
        C.LOSE: S.PENDING,
        C.FINISH: S.DONE,
        C.GIVE_UP: S.DONE,
        C.REOPEN: S.PENDING,
    },
    S.DONE: {C.REOPEN: S.PENDING},
    S.FAILED: {C.REOPEN: S.PENDING},
    S.LOST: {},
}


@pytest.mark.parametrize("cause", JobCause)
@pytest.mark.parametrize("state", JobState)
def test_every_cell(state: JobState, cause: JobCause) -> None:
    after = EXPECTED[state].get(cause)
    if after is not None:
        assert move(state, cause) is after
        return
    with pytest.raises(IllegalTransitionError, match=f"a job that is {state.value} cannot move by"):
        move(state, cause)


def test_every_job_can_still_end_and_what_is_over_stays_so_but_for_the_recorder() -> None:
    for state in (S.PENDING, *HELD):
        assert move(state, C.GIVE_UP) in OVER
    assert {cause for state, cause in TABLE if state in OVER} == {C.REOPEN}


def test_a_lost_job_is_no_state_of_its_own() -> None:
    assert S.LOST not in TABLE.values()
    assert {*HELD, *OVER, S.PENDING, S.LOST} == set(JobState)


@pytest.mark.parametrize(("attempt", "identity"), [(0, "asr"), (1, "asr"), (3, "asr#3")])
def test_the_identity_is_the_attempts(attempt: int, identity: str) -> None:
    assert replace(JOB, attempt=attempt).identity == identity


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("manual_ready", [False, True])
@pytest.mark.parametrize("said_ready", [False, True])
def test_ready_is_presence_and_with_manual_ready_the_workers_word_too(
    state: JobState, manual_ready: bool, said_ready: bool
) -> None:
    job = replace(JOB, state=state, manual_ready=manual_ready, said_ready=said_ready)
    assert job.is_ready is (state is S.JOINED and (not manual_ready or said_ready))


@pytest.mark.parametrize("state", JobState)
def test_a_required_service_is_missing_until_it_is_ready_or_has_done_its_work(state: JobState) -> None:
    assert replace(JOB, state=state).is_missing is (state not in (S.JOINED, S.DONE))
    assert not replace(JOB, state=state, required=False).is_missing
