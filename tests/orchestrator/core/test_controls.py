"""Start, pause, resume and stop as scripts: with a recorder, without one, and with one that is lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.core.commands import ControlRecording, LeaveJob
from orchestrator.core.controls import MAX_OPERATIONS, MAX_RECORDINGS
from orchestrator.core.errors import IllegalTransitionError, StaleAttemptError
from orchestrator.core.events import RecordingChanged
from orchestrator.core.ids import JobId, RecordingId
from orchestrator.core.jobs import JobState
from orchestrator.core.recording import Control, Manner, Operation, Pause, RecordingStatus
from orchestrator.core.states import RoomStatus
from orchestrator.core.triggers import (
    JobDone,
    JobLost,
    RecordingControlAsked,
    RecordingStartAsked,
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
    decide,
    offer,
    opened,
    play,
    report,
    serve,
)

R = RecordingStatus
PAUSE, RESUME, STOP = (RecordingControlAsked(op=op) for op in ("pause", "resume", "stop"))


DEFAULT = Manner(mode="passthrough", quality="high", format="mp4")


def start(number: int = 1, mode: str = "") -> RecordingStartAsked:
    recording_id = RecordingId(f"rec{number}")
    return RecordingStartAsked(recording_id=recording_id, manner=Manner(mode=mode), default=DEFAULT)


def lost(attempt: int = 1) -> JobLost:
    return JobLost(job_id=JobId("s1-1"), attempt=attempt, detail="the worker is dead")


def said(played: Played) -> list[tuple[int, int, str]]:
    commands = [command for command in played.commands if isinstance(command, ControlRecording)]
    return [(command.attempt, command.n, command.op) for command in commands]


def statuses(played: Played) -> list[str]:
    return [e.recording_status for e in played.events if isinstance(e, RecordingChanged)]


LIVE = play(opened(), CREATED)
STARTED = play(LIVE, start())
CAPTURING = play(STARTED, *serve("recorder"), report(R.RECORDING, n=1, size=3))
PAUSED = play(CAPTURING, PAUSE, report(R.PAUSED, n=2, size=4, op=1))
COMPLETED = play(
    CAPTURING,
    STOP,
    *(report(status, n=n, op=1) for n, status in enumerate((R.STOPPING, R.STOPPED, R.COMPLETED), start=2)),
    JobDone(job_id=JobId("s1-1"), attempt=1),
)

# --- start ---


def test_a_live_session_gets_a_recorder() -> None:
    assert (STARTED.recording.status, STARTED.recording.mode) == (R.STARTING, "passthrough")
    assert (STARTED.job("recorder").state, STARTED.job("recorder").required) == (JobState.PENDING, False)
    assert is_offerable(STARTED.session, STARTED.job("recorder"))
    assert STARTED.due_in_s("recorder") == 60.0
    assert statuses(STARTED) == ["starting"]
    assert not STARTED.session.missing_services
    assert CAPTURING.recording.status is R.RECORDING


def test_while_the_room_is_created_the_recording_begins_with_it() -> None:
    early = play(opened("asr"), start(mode="tracks"))
    assert (early.recording.status, early.recording.mode) == (R.IDLE, "tracks")
    assert play(early, CREATED).recording.status is R.STARTING
    assert early.job("recorder").job_id == "s1-2"


@pytest.mark.parametrize("played", [STARTED, CAPTURING, PAUSED], ids=["starting", "recording", "paused"])
def test_a_recording_that_runs_is_the_answer(played: Played) -> None:
    assert decide(played, start(2)).is_empty
    assert decide(played, start(2, "passthrough")).is_empty


def test_another_mode_than_the_running_ones_is_refused() -> None:
    with pytest.raises(
        IllegalTransitionError, match="recorded with mode 'passthrough'; stop that first to start 'tracks'"
    ):
        decide(CAPTURING, start(2, "tracks"))


def test_what_is_not_asked_for_is_as_the_settings_say() -> None:
    asked = replace(start(), manner=Manner(quality="low", format="webm"))
    started = play(LIVE, asked).recording
    assert started.manner == Manner(mode="passthrough", quality="low", format="webm")
    assert decide(play(LIVE, asked), replace(asked, manner=Manner(format="webm"))).is_empty
    with pytest.raises(IllegalTransitionError, match="with quality 'low'; stop that first to start 'high'"):
        decide(play(LIVE, asked), replace(asked, manner=Manner(quality="high")))


def test_while_it_is_being_stopped_no_other_one_starts() -> None:
    stopping = play(CAPTURING, STOP)
    for played in (stopping, play(stopping, report(R.STOPPING, n=2, op=1))):
        with pytest.raises(IllegalTransitionError, match="is being stopped"):
            decide(played, start(2))


def test_an_ended_session_is_not_recorded() -> None:
    with pytest.raises(IllegalTransitionError, match="nothing to record"):
        decide(play(LIVE, TerminateAsked(), RoomDeleted()), start())


def test_after_a_completed_one_another_begins_as_a_next_attempt_of_the_job() -> None:
    again = play(COMPLETED, start(2))
    assert (again.recording.recording_id, again.recording.status) == ("rec2", R.STARTING)
    assert again.recording.wanted is None
    assert [(r.recording_id, r.status) for r in again.session.earlier_recordings] == [("rec1", R.COMPLETED)]
    assert "job_reopened" in again.names
    second = play(again, *serve("recorder", 1, 2, "w2"), report(R.RECORDING, n=1, attempt=2, size=1))
    assert (second.recording.status, second.recording.attempt) == (R.RECORDING, 2)
    assert [c.attempt for c in second.recording.checkpoints] == [2]
    with pytest.raises(StaleAttemptError):
        decide(second, report(R.FAILED, n=9, attempt=1))


def test_a_recorder_that_has_not_said_yet_that_it_is_done_is_told_that_its_attempt_is_over() -> None:
    sealed = play(CAPTURING, STOP, report(R.COMPLETED, n=2, op=1))
    again = play(sealed, start(2))
    assert [(c.attempt, c.is_stale) for c in again.commands if isinstance(c, LeaveJob)] == [(1, True)]
    with pytest.raises(StaleAttemptError):
        decide(again, JobDone(job_id=JobId("s1-1"), attempt=1))
    assert again.recording.status is R.STARTING


def test_a_failed_one_can_be_followed_by_another() -> None:
    failed = play(STARTED, Due("recorder"))
    again = play(failed, start(2), *serve("recorder"), report(R.RECORDING, n=1))
    assert again.recording.status is R.RECORDING


def test_a_session_has_so_many_recordings_and_no_more() -> None:
    full = replace(COMPLETED.session, earlier_recordings=(COMPLETED.recording,) * (MAX_RECORDINGS - 1))
    with pytest.raises(IllegalTransitionError, match="64 recordings, which is the limit"):
        decide(replace(COMPLETED, session=full), start(2))


# --- pause and resume ---


def test_a_pause_is_said_and_counts_when_a_report_shows_it() -> None:
    asked = play(CAPTURING, PAUSE)
    assert said(asked) == [(1, 1, "pause")]
    assert (asked.recording.status, asked.recording.pending) == (R.RECORDING, "pause")
    assert (PAUSED.recording.status, PAUSED.recording.pending) == (R.PAUSED, None)
    assert statuses(PAUSED) == ["paused"]


def test_a_resume_goes_on_in_the_same_attempt() -> None:
    resumed = play(PAUSED, RESUME)
    assert said(resumed) == [(1, 2, "resume")]
    going = play(resumed, report(R.RECORDING, n=3, size=5, op=2))
    assert (going.recording.status, going.recording.attempt) == (R.RECORDING, 1)


@pytest.mark.parametrize(
    ("played", "again"),
    [(PAUSED, PAUSE), (play(CAPTURING, PAUSE), PAUSE), (CAPTURING, RESUME), (play(PAUSED, RESUME), RESUME)],
)
def test_what_was_asked_for_last_changes_nothing(played: Played, again: RecordingControlAsked) -> None:
    assert decide(played, again).is_empty


def test_who_changes_their_mind_before_the_recorder_heard_is_heard_too() -> None:
    played = play(CAPTURING, PAUSE, RESUME)
    assert (said(played)[-1], played.recording.pending) == ((1, 2, "resume"), "resume")
    assert play(played, report(R.RECORDING, n=2, op=2)).recording.pending is None


@pytest.mark.parametrize("asked", [PAUSE, RESUME])
def test_only_what_captures_is_paused_and_resumed(asked: RecordingControlAsked) -> None:
    with pytest.raises(IllegalTransitionError, match="is not being recorded"):
        decide(LIVE, asked)
    with pytest.raises(IllegalTransitionError, match="is completed and cannot be"):
        decide(COMPLETED, asked)
    with pytest.raises(IllegalTransitionError, match="is being stopped and cannot be"):
        decide(play(CAPTURING, STOP), asked)
    with pytest.raises(IllegalTransitionError, match="cannot be"):
        decide(play(CAPTURING, TerminateAsked()), asked)


@pytest.mark.parametrize("before", [CAPTURING, PAUSED], ids=["recording", "paused"])
def test_a_takeover_of_a_paused_recording_stays_paused(before: Played) -> None:
    away = play(play(before, lost()), PAUSE)
    assert (away.recording.status, away.recording.is_to_be) == (R.STARTING, "pause")
    assert not said(away)  # nobody is there to hear it; it comes with the job
    taken = play(away, *serve("recorder", 1, 2, "w2"), report(R.PAUSED, n=1, attempt=2, op=1))
    assert (taken.recording.status, taken.recording.pending) == (R.PAUSED, None)


def test_a_lost_room_is_joined_again_by_a_paused_recorder() -> None:
    played = play(PAUSED, RoomLost(sid=ROOM))
    assert needs_room(played.session, played.job("recorder"))


GAPS = ({"start_us": 5, "end_us": 9, "reason": "paused"}, {"start_us": 20, "reason": "paused"})


def test_what_was_paused_stays_known_over_reports_that_do_not_say_it_and_attempts() -> None:
    played = play(CAPTURING, PAUSE, replace(report(R.PAUSED, n=2, op=1), gaps=GAPS))
    assert played.recording.pauses == (Pause(start_us=5, end_us=9), Pause(start_us=20))
    after = play(played, lost(), *serve("recorder", 1, 2, "w2"), report(R.PAUSED, n=1, attempt=2, op=1))
    assert after.recording.pauses == played.recording.pauses


@pytest.mark.parametrize("gap", [{}, {"start_us": "1"}, {"start_us": 1, "end_us": "2"}])
def test_a_pause_that_cannot_be_read_is_refused_whole(gap: dict[str, object]) -> None:
    with pytest.raises(IllegalTransitionError, match="gaps"):
        decide(CAPTURING, replace(report(R.PAUSED, n=2), gaps=(gap,)))


def test_a_recording_is_paused_so_often_and_no_more_but_can_always_be_resumed_and_stopped() -> None:
    wanted = Control(n=MAX_OPERATIONS, op="resume")
    full = replace(CAPTURING.session, recording=replace(CAPTURING.recording, wanted=wanted))
    with pytest.raises(IllegalTransitionError, match="512 times, which is the limit"):
        decide(replace(CAPTURING, session=full), PAUSE)
    assert said(play(replace(CAPTURING, session=full), STOP))
    paused = replace(CAPTURING.recording, wanted=replace(wanted, op="pause"))
    assert said(play(replace(CAPTURING, session=replace(full, recording=paused)), RESUME))


# --- stop ---


def test_a_stop_completes_the_recording_and_the_session_goes_on() -> None:
    asked = play(CAPTURING, STOP)
    assert (said(asked), asked.recording.pending) == ([(1, 1, "stop")], "stop")
    assert COMPLETED.recording.status is R.COMPLETED
    assert COMPLETED.job("recorder").state is JobState.DONE
    assert COMPLETED.session.room_status is RoomStatus.READY
    assert "recording" not in COMPLETED.session.deadlines


@pytest.mark.parametrize("played", [play(CAPTURING, STOP), COMPLETED, play(STARTED, Due("recorder"))])
def test_a_stop_of_what_is_stopped_changes_nothing(played: Played) -> None:
    assert decide(played, STOP).is_empty


def test_a_stop_without_a_recording_is_refused() -> None:
    with pytest.raises(IllegalTransitionError, match="s1 is not being recorded; start a recording first"):
        decide(LIVE, STOP)


@pytest.mark.parametrize("before", [(), (offer(),)], ids=["waiting", "offered"])
def test_a_stop_before_a_recorder_came_gives_it_up(before: tuple[object, ...]) -> None:
    played = play(play(STARTED, *before), STOP)  # type: ignore[arg-type]
    assert (played.recording.status, played.recording.detail) == (
        R.FAILED,
        "stopped before a recorder joined",
    )
    assert played.job("recorder").state is JobState.FAILED
    assert bool(played.commands) is bool(before)
    assert play(played, start(2)).recording.status is R.STARTING


def test_a_stop_before_the_room_is_there_gives_it_up() -> None:
    played = play(opened(), start(), STOP)
    assert played.recording.status is R.FAILED
    assert play(played, CREATED).recording.status is R.FAILED


def test_a_stop_while_nobody_captures_leaves_it_to_a_completer() -> None:
    stopped = play(CAPTURING, lost(), STOP)
    assert stopped.recording.status is R.STOPPING
    assert "recorder" not in stopped.session.deadlines
    assert stopped.due_in_s("recording") == 3600.0
    assert is_offerable(stopped.session, stopped.job("recorder"))
    assert not needs_room(stopped.session, stopped.job("recorder"))
    completed = play(stopped, offer(1, "w2"), accept(1, 2), report(R.COMPLETED, n=1, attempt=2, op=1))
    assert completed.recording.status is R.COMPLETED


def test_a_recorder_lost_before_it_made_the_cut_mark_is_followed_by_a_completer() -> None:
    played = play(CAPTURING, STOP, lost())
    assert played.recording.status is R.STOPPING
    assert not needs_room(played.session, played.job("recorder"))


def test_a_stopped_recording_that_nobody_completes_is_given_up() -> None:
    played = play(CAPTURING, lost(), STOP, Due("recording"))
    assert played.recording.status is R.FAILED
    assert played.recording.detail == "nobody completed the recording within 3600 s of its stop"
    assert played.session.is_live


@pytest.mark.parametrize("played", [CAPTURING, PAUSED, play(CAPTURING, PAUSE)])
def test_the_sessions_end_stops_whatever_captures(played: Played) -> None:
    ending = play(played, TerminateAsked())
    assert ending.session.stage == "capture"
    assert said(ending)[-1][2] == "stop"


def test_the_sessions_end_while_a_stop_is_said_does_not_say_it_twice() -> None:
    ending = play(play(CAPTURING, STOP), TerminateAsked())
    assert (ending.session.stage, said(ending)) == ("capture", [])
    assert play(ending, report(R.STOPPING, n=2, op=1)).session.stage == "deleting"


@pytest.mark.parametrize("op", ["pause", "resume", "stop"])
def test_a_report_shows_no_more_than_was_asked(op: Operation) -> None:
    before = PAUSED if op == "resume" else CAPTURING
    played = play(before, RecordingControlAsked(op=op), report(before.recording.status, n=5, op=99))
    assert played.recording.wanted == Control(n=played.recording.done_op, op=op)
