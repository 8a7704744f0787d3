"""What the recorder of a session reports, loses and hands over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.core.commands import RemoveParticipant
from orchestrator.core.errors import IllegalTransitionError, StaleAttemptError
from orchestrator.core.ids import Identity, JobId
from orchestrator.core.jobs import JobState
from orchestrator.core.recording import Checkpoint, RecordingStatus
from orchestrator.core.states import RoomStatus
from orchestrator.core.triggers import (
    JobDone,
    JobLost,
    RoomDeleted,
    RoomLost,
    TerminateAsked,
)
from orchestrator.core.work import is_offerable, needs_room
from tests.orchestrator.core.playing import (
    CREATED,
    ROOM,
    Due,
    Played,
    accept,
    closing,
    decide,
    gone,
    offer,
    opened,
    play,
    report,
    seen,
    serve,
    worker,
)

R = RecordingStatus


def lost(number: int = 1, attempt: int = 1) -> JobLost:
    return JobLost(job_id=JobId(f"s1-{number}"), attempt=attempt, detail="the worker is dead")


def done(number: int = 1, attempt: int = 1) -> JobDone:
    return JobDone(job_id=JobId(f"s1-{number}"), attempt=attempt)


WAITING = play(opened("asr"), CREATED)

# --- the recorder ---

RECORDED = play(opened(record=True), CREATED)
CAPTURING = play(RECORDED, *serve("recorder"), report(R.RECORDING, n=1, size=3))


def test_a_report_is_the_facet() -> None:
    assert CAPTURING.recording.status is R.RECORDING
    assert CAPTURING.names[-1] == "recording_started"
    assert CAPTURING.recording.checkpoints == (Checkpoint(attempt=1, size=3, root="1-3", note="note 1 3"),)
    assert CAPTURING.recording.store == "dir:rec1"
    assert CAPTURING.recording.stats == {"chunks": 3.0}
    assert "recorder" not in CAPTURING.session.deadlines


def test_a_repeated_report_changes_nothing_and_a_next_one_of_the_same_status_is_no_event() -> None:
    assert decide(CAPTURING, report(R.STOPPING, n=1, size=9)).is_empty
    assert not play(CAPTURING, report(R.RECORDING, n=2, size=5)).events


@pytest.mark.parametrize("size", [0, 2])
def test_a_report_without_a_tree_or_with_a_smaller_one_forgets_nothing(size: int) -> None:
    played = play(CAPTURING, report(R.STOPPING, n=2, size=size))
    assert played.recording.checkpoints == CAPTURING.recording.checkpoints


@pytest.mark.parametrize("status", [R.STOPPING, R.STOPPED, R.PROCESSING, R.COMPLETED, R.FAILED])
def test_a_report_may_skip_states_but_never_goes_back(status: RecordingStatus) -> None:
    played = play(CAPTURING, report(status, n=2))
    for late in (R.STARTING, R.RECORDING):
        assert play(played, report(late, n=3)).recording.status is status


def test_what_is_final_stays_so() -> None:
    played = play(CAPTURING, report(R.FAILED, n=2), report(R.COMPLETED, n=3))
    assert played.recording.status is R.FAILED


def test_no_recorder_in_time_fails_the_recording_and_not_the_session() -> None:
    for before in ((), (offer(),), (offer(), accept())):
        played = play(RECORDED, *before, Due("recorder") if not before else 0.0)
        if before:
            deadline = played.session.deadlines["recorder"]
            assert deadline == RECORDED.session.deadlines["recorder"]
            played = play(played, Due("recorder"))
        assert played.recording.status is R.FAILED
        assert played.recording.detail == "no recorder joined within 60 s"
        assert played.session.room_status is RoomStatus.READY
        assert not played.session.degraded
        assert played.job("recorder").state is JobState.FAILED
        assert bool(played.commands) is bool(before)


def test_a_recorder_is_there_as_long_as_one_of_its_connections_is() -> None:
    second = replace(worker("recorder", sid="PA_second"), identity=Identity("recorder#1.second"))
    for first_gone, last_gone in ((second, worker("recorder")), (worker("recorder"), second)):
        played = play(CAPTURING, seen(second), gone(first_gone))
        assert played.job("recorder").state is JobState.JOINED
        assert not played.commands
        played = play(played, gone(last_gone))
        assert played.job("recorder").state is JobState.ACCEPTED


def test_a_newer_attempt_puts_both_connections_of_the_older_out() -> None:
    second = replace(worker("recorder", sid="PA_second"), identity=Identity("recorder#1.second"))
    played = play(CAPTURING, seen(second), lost(), *serve("recorder", 1, 2, "w2"))
    removed = {command.identity for command in played.commands if isinstance(command, RemoveParticipant)}
    assert removed == {"recorder", "recorder#1.second"}


def test_a_recorder_that_is_lost_while_capturing_is_replaced() -> None:
    away = play(CAPTURING, lost())
    assert away.recording.status is R.STARTING
    assert away.due_in_s("recorder") == 60.0
    assert is_offerable(away.session, away.job("recorder"))
    again = play(away, *serve("recorder", 1, 2, "w2"), report(R.RECORDING, n=1, attempt=2, size=1))
    assert again.recording.status is R.RECORDING
    assert [(c.attempt, c.size) for c in again.recording.checkpoints] == [(1, 3), (2, 1)]
    with pytest.raises(StaleAttemptError):
        decide(again, report(R.RECORDING, n=2, attempt=1, size=4))


def test_a_recorder_that_crashes_again_and_again_does_not_move_its_deadline_on() -> None:
    played = RECORDED
    for attempt in range(1, 4):
        played = play(played, 10.0, offer(), accept(1, attempt), lost(1, attempt))
    assert played.due_in_s("recorder") == 30.0


def test_a_recorder_that_was_silent_after_its_first_report_is_replaced_too() -> None:
    played = play(RECORDED, offer(), report(R.RECORDING, n=1, size=1), Due("offer:1"))
    assert played.recording.status is R.STARTING
    assert "recorder" in played.session.deadlines


def test_a_recorder_that_seals_may_leave_the_room_and_takes_its_time() -> None:
    for script in (
        (report(R.STOPPING, n=2), gone(worker("recorder"))),
        (gone(worker("recorder")), report(R.STOPPING, n=2)),
    ):
        played = play(CAPTURING, *script)
        assert played.job("recorder").state is JobState.ACCEPTED
        assert "joining:1" not in played.session.deadlines
        assert not needs_room(played.session, played.job("recorder"))


def test_who_completes_a_recording_needs_no_room() -> None:
    sealing = play(CAPTURING, report(R.STOPPING, n=2, size=5), lost(), RoomLost(sid=ROOM))
    assert is_offerable(sealing.session, sealing.job("recorder"))
    completer = play(sealing, offer(1, "w2"), accept(1, 2))
    assert "joining:1" not in completer.session.deadlines
    closed = closing(report(R.PROCESSING, n=1, attempt=2), 1, 5, "1-5")
    played = play(completer, closed, report(R.COMPLETED, n=2, attempt=2), done(1, 2))
    assert played.recording.status is R.COMPLETED
    assert played.job("recorder").state is JobState.DONE


@pytest.mark.parametrize("status", [R.STARTING, R.RECORDING])
def test_the_first_word_of_a_completer_never_takes_the_facet_back(status: RecordingStatus) -> None:
    sealing = play(CAPTURING, report(R.STOPPING, n=2), lost(), offer(1, "w2"), accept(1, 2))
    assert play(sealing, report(status, n=1, attempt=2)).recording.status is R.STOPPING


@pytest.mark.parametrize("status", [R.COMPLETED, R.FAILED])
def test_a_recorder_whose_recording_is_over_is_not_replaced(status: RecordingStatus) -> None:
    played = play(CAPTURING, report(status, n=2), lost())
    assert played.job("recorder").state is JobState.DONE
    assert not is_offerable(played.session, played.job("recorder"))


def test_a_recorder_that_leaves_an_unfinished_recording_has_failed_it() -> None:
    played = play(CAPTURING, done())
    assert played.recording.status is R.FAILED
    assert played.recording.detail == "the recorder left before the recording was complete"


def test_a_recorder_given_up_has_nothing_new_to_say() -> None:
    ended = play(CAPTURING, TerminateAsked(), Due("end"), RoomDeleted(), Due("recording"))
    assert decide(ended, report(R.RECORDING, n=1, size=3)).is_empty  # said and committed before
    with pytest.raises(StaleAttemptError):
        decide(ended, report(R.COMPLETED, n=2, size=9))


def test_who_is_not_the_recorder_has_nothing_to_report() -> None:
    plain = play(WAITING, *serve("asr"))
    with pytest.raises(IllegalTransitionError, match="not the recorder"):
        decide(plain, report(R.RECORDING, n=1))


def test_an_operation_that_was_never_asked_for_is_not_done() -> None:
    played = play(CAPTURING, report(R.RECORDING, n=2, op=7))
    assert played.recording.done_op == 0
    assert play(played, TerminateAsked()).session.stage == "capture"


# --- closing an earlier attempt's tree ---

TAKEN_OVER = play(CAPTURING, lost(), *serve("recorder", 1, 2, "w2"))
FRAME = report(R.RECORDING, n=1, attempt=2)


def test_a_close_at_the_reported_size_keeps_the_signed_note() -> None:
    played = play(TAKEN_OVER, closing(FRAME, 1, 3, "1-3"))
    assert played.recording.checkpoints == (
        Checkpoint(attempt=1, size=3, root="1-3", note="note 1 3", is_closed=True),
    )


def test_a_close_beyond_what_was_reported_has_no_note() -> None:
    played = play(TAKEN_OVER, closing(FRAME, 1, 6, "1-6"))
    assert played.recording.checkpoints == (Checkpoint(attempt=1, size=6, root="1-6", is_closed=True),)


def test_a_close_below_what_was_acknowledged_is_not_believed() -> None:
    played = play(TAKEN_OVER, closing(FRAME, 1, 2, "1-2"))
    assert played.recording.checkpoints == CAPTURING.recording.checkpoints


def test_the_first_close_holds() -> None:
    first = play(TAKEN_OVER, closing(FRAME, 1, 4, "1-4"))
    again = play(first, closing(replace(FRAME, n=2), 1, 9, "1-9"))
    assert again.recording.checkpoints == first.recording.checkpoints


def test_an_attempt_that_never_reported_a_tree_is_known_by_its_close() -> None:
    silent = play(RECORDED, *serve("recorder"), report(R.RECORDING, n=1), lost(), *serve("recorder", 1, 2))
    played = play(silent, closing(FRAME, 1, 2, "1-2"))
    assert played.recording.checkpoints == (Checkpoint(attempt=1, size=2, root="1-2", is_closed=True),)


@pytest.mark.parametrize("attempt", [0, 2, 3])
def test_only_an_earlier_attempt_can_be_closed(attempt: int) -> None:
    played = play(TAKEN_OVER, closing(FRAME, attempt, 9, "x"))
    assert played.recording.checkpoints == CAPTURING.recording.checkpoints


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"attempt": 1, "tree_size": 3},
        {"attempt": None, "tree_size": 3, "root": "x"},
        {"attempt": 1, "tree_size": "many", "root": "x"},
    ],
)
def test_a_close_that_cannot_be_read_is_refused_whole(entry: dict[str, Any]) -> None:
    with pytest.raises(IllegalTransitionError, match="closes"):
        decide(TAKEN_OVER, replace(FRAME, closes=(entry,)))


def test_an_attempts_words_need_their_own_numbers() -> None:
    played: Played = play(TAKEN_OVER, report(R.RECORDING, n=1, attempt=2, size=1))
    assert (played.recording.attempt, played.recording.n) == (2, 1)
