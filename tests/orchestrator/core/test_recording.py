"""The recording facet's table, cell by cell."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.core.errors import IllegalTransitionError
from orchestrator.core.ids import RecordingId
from orchestrator.core.recording import (
    AGAIN,
    CAPTURING,
    OPEN,
    RUNNING,
    SEALING,
    TABLE,
    Control,
    Recording,
    RecordingStatus,
    add_stats,
    check_move,
)

S = RecordingStatus

EXPECTED: dict[RecordingStatus, set[RecordingStatus]] = {
    S.IDLE: {S.STARTING, S.FAILED},
    S.STARTING: {S.RECORDING, S.PAUSED, S.STOPPING, S.STOPPED, S.PROCESSING, S.COMPLETED, S.FAILED},
    S.RECORDING: {S.STARTING, S.PAUSED, S.STOPPING, S.STOPPED, S.PROCESSING, S.COMPLETED, S.FAILED},
    S.PAUSED: {S.STARTING, S.RECORDING, S.STOPPING, S.STOPPED, S.PROCESSING, S.COMPLETED, S.FAILED},
    S.STOPPING: {S.STOPPED, S.PROCESSING, S.COMPLETED, S.FAILED},
    S.STOPPED: {S.PROCESSING, S.COMPLETED, S.FAILED, S.DELETED},
    S.PROCESSING: {S.COMPLETED, S.FAILED},
    S.COMPLETED: {S.DELETED},
    S.FAILED: {S.DELETED},
    S.DELETED: set(),
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
    assert recording.is_running is (status not in (S.IDLE, S.COMPLETED, S.FAILED, S.DELETED))


def test_capture_is_the_part_that_needs_a_room() -> None:
    assert {S.STARTING, S.RECORDING, S.PAUSED} == CAPTURING
    assert RUNNING == CAPTURING | SEALING
    assert {S.IDLE} | CAPTURING == OPEN
    assert {S.STOPPED, S.COMPLETED, S.FAILED, S.DELETED} == AGAIN
    assert CAPTURING < RUNNING


def test_an_operation_is_pending_until_it_is_shown_or_the_recording_is_over() -> None:
    recording = Recording(recording_id=RecordingId("rec1"), status=S.RECORDING)
    assert (recording.pending, recording.is_to_be) == (None, "resume")
    asked = replace(recording, wanted=Control(n=2, op="pause"), done_op=1)
    assert (asked.pending, asked.is_to_be) == ("pause", "pause")
    assert replace(asked, done_op=2).pending is None
    assert replace(asked, status=S.FAILED).pending is None


def test_what_two_attempts_measured_is_added_up_and_their_tracks_are_the_same() -> None:
    added = add_stats({"tracks": 2.0, "bytes": 10.0}, {"tracks": 1.0, "bytes": 5.0, "chunks": 1.0})
    assert added == {"tracks": 2.0, "bytes": 15.0, "chunks": 1.0}
