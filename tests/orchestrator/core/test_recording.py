"""The recording facet's table, cell by cell."""

from __future__ import annotations

import pytest

from orchestrator.core.errors import IllegalTransitionError
from orchestrator.core.ids import RecordingId
from orchestrator.core.recording import CAPTURING, RUNNING, TABLE, Recording, RecordingStatus, check_move

S = RecordingStatus

EXPECTED: dict[RecordingStatus, set[RecordingStatus]] = {
    S.IDLE: {S.STARTING},
    S.STARTING: {S.RECORDING, S.STOPPING, S.STOPPED, S.PROCESSING, S.COMPLETED, S.FAILED},
    S.RECORDING: {S.STARTING, S.STOPPING, S.STOPPED, S.PROCESSING, S.COMPLETED, S.FAILED},
    S.STOPPING: {S.STOPPED, S.PROCESSING, S.COMPLETED, S.FAILED},
    S.STOPPED: {S.PROCESSING, S.COMPLETED, S.FAILED},
    S.PROCESSING: {S.COMPLETED, S.FAILED},
    S.COMPLETED: set(),
    S.FAILED: set(),
}


@pytest.mark.parametrize("new", RecordingStatus)
@pytest.mark.parametrize("old", RecordingStatus)
def test_every_cell(old: RecordingStatus, new: RecordingStatus) -> None:
    if new in EXPECTED[old]:
        check_move(old, new)
        assert (old, new) in TABLE
        return
    with pytest.raises(IllegalTransitionError, match=f"is {old.value} cannot become {new.value}"):
        check_move(old, new)


@pytest.mark.parametrize("status", sorted(RUNNING, key=str))
def test_whatever_runs_can_fail_and_can_be_completed(status: RecordingStatus) -> None:
    check_move(status, S.FAILED)
    check_move(status, S.COMPLETED)


@pytest.mark.parametrize("status", RecordingStatus)
def test_a_recording_runs_until_it_is_completed_or_failed(status: RecordingStatus) -> None:
    recording = Recording(recording_id=RecordingId("rec1"), status=status)
    assert recording.is_running is (status not in (S.IDLE, S.COMPLETED, S.FAILED))


def test_capture_is_the_part_that_needs_a_room() -> None:
    assert {S.STARTING, S.RECORDING} == CAPTURING
    assert CAPTURING < RUNNING
