"""The life of a recording, cell by cell."""

from __future__ import annotations

import pytest

from recorder.core.states import CAPTURING, ENDED, TABLE, IllegalStepError, RecordingState, Step, next_state

USUAL = [
    (Step.OPENED, RecordingState.RECORDING),
    (Step.CUT, RecordingState.STOPPING),
    (Step.MANIFEST_STORED, RecordingState.STOPPED),
    (Step.VERIFYING, RecordingState.PROCESSING),
    (Step.VERIFIED, RecordingState.COMPLETED),
]


def test_the_usual_way_leads_to_completed() -> None:
    state = RecordingState.STARTING
    for step, expected in USUAL:
        state = next_state(state, step)
        assert state is expected


def test_every_state_that_has_not_ended_can_fail() -> None:
    for state in set(RecordingState) - ENDED:
        assert next_state(state, Step.BROKEN) is RecordingState.FAILED


@pytest.mark.parametrize("state", [RecordingState.COMPLETED, RecordingState.FAILED])
@pytest.mark.parametrize("step", list(Step))
def test_nothing_leads_out_of_an_ended_recording(state: RecordingState, step: Step) -> None:
    assert state in ENDED
    with pytest.raises(IllegalStepError, match=f"{state.value} does not know"):
        next_state(state, step)


def test_a_pair_outside_the_table_is_refused_and_no_other() -> None:
    for state in RecordingState:
        for step in Step:
            if (state, step) in TABLE:
                assert next_state(state, step) is TABLE[state, step]
            else:
                with pytest.raises(IllegalStepError):
                    next_state(state, step)


def test_a_pause_is_left_by_going_on_or_by_the_cut_mark() -> None:
    paused = next_state(RecordingState.RECORDING, Step.PAUSED)
    assert next_state(paused, Step.RESUMED) is RecordingState.RECORDING
    assert next_state(paused, Step.CUT) is RecordingState.STOPPING


def test_the_cut_mark_ends_capturing_for_good() -> None:
    assert {state for (state, step) in TABLE if step is Step.CUT} == CAPTURING
    assert not {to for (state, _), to in TABLE.items() if state not in CAPTURING} & CAPTURING
