"""The two tables, cell by cell: every pair is legal as written or raises, and every state can still end."""

from __future__ import annotations

import itertools

import pytest

from sdk.lifecycle import (
    CONNECTION_TABLE,
    ENDED,
    ENDING,
    JOB_TABLE,
    ConnectionState,
    ConnectionStep,
    IllegalStepError,
    JobState,
    JobStep,
    LeftBecause,
    next_connection_state,
    next_job_state,
)


@pytest.mark.parametrize(("state", "step"), list(itertools.product(JobState, JobStep)))
def test_each_cell_of_the_job_table(state: JobState, step: JobStep) -> None:
    if (state, step) in JOB_TABLE:
        assert next_job_state(state, step) is JOB_TABLE[state, step]
    else:
        with pytest.raises(IllegalStepError, match=state.value):
            next_job_state(state, step)


@pytest.mark.parametrize(("state", "step"), list(itertools.product(ConnectionState, ConnectionStep)))
def test_each_cell_of_the_connection_table(state: ConnectionState, step: ConnectionStep) -> None:
    if (state, step) in CONNECTION_TABLE:
        assert next_connection_state(state, step) is CONNECTION_TABLE[state, step]
    else:
        with pytest.raises(IllegalStepError, match=state.value):
            next_connection_state(state, step)


@pytest.mark.parametrize("state", [state for state in JobState if state not in ENDED])
@pytest.mark.parametrize("step", [JobStep.LEAVE, JobStep.FAIL, JobStep.WITHDRAW])
def test_a_job_can_be_ended_in_every_state(state: JobState, step: JobStep) -> None:
    assert next_job_state(state, step) in ENDING


@pytest.mark.parametrize("state", [state for state in JobState if state in ENDING])
def test_what_is_ending_ends_when_all_is_put_away(state: JobState) -> None:
    assert next_job_state(state, JobStep.PUT_AWAY) in ENDED


@pytest.mark.parametrize("step", JobStep)
def test_stale_is_for_good(step: JobStep) -> None:
    """Nothing may lead from losing the job back to reporting about it."""
    if (JobState.STOPPING, step) in JOB_TABLE:
        assert JOB_TABLE[JobState.STOPPING, step] in {JobState.STOPPING, JobState.STALE}
    assert (JobState.STALE, step) not in JOB_TABLE


def test_who_was_removed_never_rejoins() -> None:
    assert next_job_state(JobState.JOINED, JobStep.REMOVED) is JobState.FAILING
    assert (JobState.FAILING, JobStep.ENTERED) not in JOB_TABLE


@pytest.mark.parametrize("because", LeftBecause)
def test_each_way_out_of_a_room_is_a_step(because: LeftBecause) -> None:
    assert (JobState.JOINED, because.value) in JOB_TABLE


@pytest.mark.parametrize("state", [state for state in ConnectionState if state is not ConnectionState.CLOSED])
def test_a_connection_can_be_closed_in_every_state(state: ConnectionState) -> None:
    assert next_connection_state(state, ConnectionStep.CLOSE) is ConnectionState.CLOSED
