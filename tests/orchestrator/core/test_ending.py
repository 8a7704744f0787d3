"""The way out as scripts: its order, its deadlines, what outlives it, and a recorder lost at every stage."""

from __future__ import annotations

import pytest

from orchestrator.core.commands import ControlRecording, DeleteRoom, LeaveJob
from orchestrator.core.events import SessionTerminated
from orchestrator.core.ids import JobId, RoomSid
from orchestrator.core.jobs import JobState
from orchestrator.core.recording import RecordingStatus
from orchestrator.core.states import RoomStatus
from orchestrator.core.triggers import (
    JobDone,
    JobLost,
    JobRefused,
    RoomCreated,
    RoomDeleted,
    RoomLost,
    TerminateAsked,
    Trigger,
)
from orchestrator.core.work import is_offerable
from tests.orchestrator.core.playing import (
    CREATED,
    ROOM,
    Due,
    Played,
    accept,
    client,
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

R, S = RecordingStatus, RoomStatus
END = TerminateAsked()
DELETE = DeleteRoom(room_name="room-s1")


def done(number: int = 1, attempt: int = 1) -> JobDone:
    return JobDone(job_id=JobId(f"s1-{number}"), attempt=attempt)


def lost(number: int, attempt: int = 1) -> JobLost:
    return JobLost(job_id=JobId(f"s1-{number}"), attempt=attempt, detail="dead")


SERVED = play(opened("asr", "tts"), CREATED, *serve("asr", 1), *serve("tts", 2, 1, "w2"))
# One service as job 1, the recorder as job 2, capturing with a client present.
RECORDING = play(
    opened("asr", record=True),
    CREATED,
    *serve("asr"),
    *serve("recorder", 2, 1, "r1"),
    report(R.RECORDING, n=1, number=2, size=3),
    seen(client()),
)
STOPPED = report(R.STOPPING, n=2, number=2, size=4, op=1)


def test_without_workers_the_room_is_deleted_at_once_and_then_it_is_over() -> None:
    ending = play(opened(), CREATED, END)
    assert (ending.session.stage, ending.commands) == ("deleting", (DELETE,))
    assert ending.due_in_s("end") == 30.0
    ended = play(ending, RoomDeleted())
    assert ended.session.room_status is S.TERMINATED
    assert ended.events[-1] == SessionTerminated(session_id="s1", end_reason="terminated")
    assert not ended.session.is_name_held
    assert not ended.session.is_open


def test_workers_are_told_to_leave_before_the_room_goes() -> None:
    ending = play(SERVED, END)
    assert ending.session.stage == "leaving"
    leaving = [(c.worker_id, c.is_stale) for c in ending.commands if isinstance(c, LeaveJob)]
    assert leaving == [("w1", False), ("w2", False)]
    assert DELETE not in ending.commands
    assert ending.due_in_s("end:leave") == 2.5
    half = play(ending, done(1))
    assert not half.commands
    assert play(half, done(2)).commands == (DELETE,)


def test_who_does_not_say_that_it_left_is_not_waited_for() -> None:
    ending = play(SERVED, END, done(1), Due("end:leave"))
    assert ending.session.stage == "deleting"
    assert [job.state for job in ending.session.jobs] == [JobState.DONE, JobState.DONE]
    assert not ending.session.is_name_held or ending.session.room_status is S.TERMINATING


def test_a_worker_lost_while_ending_is_not_replaced_and_holds_nothing_up() -> None:
    ending = play(SERVED, END, lost(1), done(2))
    assert ending.session.stage == "deleting"
    assert not any(is_offerable(ending.session, job) for job in ending.session.jobs)


def test_jobs_that_nobody_does_yet_are_given_up() -> None:
    ending = play(opened("asr", "tts", "nlu"), CREATED, offer(1), offer(2, "w2"), accept(2), END)
    assert [job.state for job in ending.session.jobs] == [
        JobState.FAILED,
        JobState.ACCEPTED,
        JobState.FAILED,
    ]
    told = [(c.worker_id, c.is_stale) for c in ending.commands if isinstance(c, LeaveJob)]
    assert told == [("w1", True), ("w2", False)]


def test_a_plain_service_of_the_recorders_name_ends_like_any_other() -> None:
    ending = play(opened("recorder"), CREATED, *serve("recorder"), END)
    assert ending.session.stage == "leaving"
    ended = play(ending, Due("end:leave"), RoomDeleted())
    assert not ended.session.is_open


# --- hard limit, deletion ---


@pytest.mark.parametrize("script", [(), (Due("end:capture"),), (Due("end:capture"), Due("end:leave"))])
def test_the_hard_limit_ends_every_stage_and_the_deletion_outlives_it(script: tuple[Due, ...]) -> None:
    ended = play(RECORDING, END, *script, Due("end"))
    assert ended.session.room_status is S.TERMINATED
    assert ended.commands.count(DELETE) == 1
    assert ended.session.is_name_held
    assert ended.events.count(SessionTerminated(session_id="s1", end_reason="terminated")) == 1
    freed = play(ended, RoomDeleted())
    assert not freed.session.is_name_held
    assert not freed.events
    assert decide(freed, RoomDeleted()).is_empty


@pytest.mark.parametrize("script", [(), (END,), (END, Due("end:capture"))])
def test_a_deletion_that_we_did_not_wait_for_is_no_matter(script: tuple[Trigger | Due, ...]) -> None:
    played = play(RECORDING, *script)
    assert played.session.stage in ("", "capture", "leaving")
    assert decide(played, RoomDeleted()).is_empty


@pytest.mark.parametrize("script", [(END,), (END, RoomDeleted())])
def test_a_room_that_comes_after_the_deletion_was_asked_for_is_deleted_again(
    script: tuple[Trigger, ...],
) -> None:
    ending = play(opened("asr"), *script)
    late = play(ending, CREATED)
    assert late.commands == (DELETE,)
    assert late.session.room_status is ending.session.room_status
    assert late.session.recording is None
    assert not late.events


def test_a_room_that_comes_while_workers_leave_is_deleted_in_its_turn() -> None:
    ending = play(SERVED, RoomLost(sid=ROOM), END)
    late = play(ending, RoomCreated(sid=RoomSid("RM_2")))
    assert not late.commands
    assert play(late, Due("end:leave")).commands == (DELETE,)


def test_everything_repeated_after_the_end_decides_nothing() -> None:
    ended = play(SERVED, seen(client()), END, Due("end:leave"), RoomDeleted())
    for trigger in (END, RoomDeleted(), RoomLost(sid=ROOM), seen(client()), gone(client()), done(1), lost(2)):
        assert decide(ended, trigger).is_empty


# --- capture first ---


def test_capture_stops_before_anybody_is_told_to_leave() -> None:
    ending = play(RECORDING, END)
    assert ending.session.stage == "capture"
    assert ending.commands == (ControlRecording(job_id="s1-2", attempt=1, worker_id="r1", n=1, op="stop"),)
    assert ending.due_in_s("end:capture") == 2.0
    assert ending.recording.wanted is not None


@pytest.mark.parametrize(
    "go_on", [STOPPED, report(R.RECORDING, n=2, number=2, size=4, op=1), Due("end:capture")]
)
def test_workers_leave_when_capture_is_over_or_took_too_long(go_on: Trigger | Due) -> None:
    ending = play(RECORDING, END, go_on)
    assert ending.session.stage == "leaving"
    assert "end:capture" not in ending.session.deadlines
    told = [c.worker_id for c in ending.commands if isinstance(c, LeaveJob)]
    assert told == ["w1", "r1"]


def test_a_report_of_before_the_stop_does_not_end_the_capture() -> None:
    ending = play(RECORDING, END, report(R.RECORDING, n=2, number=2, size=4, op=0))
    assert ending.session.stage == "capture"


def test_the_recorder_seals_on_after_the_end_and_its_session_stays_open() -> None:
    ended = play(RECORDING, END, STOPPED, done(1), RoomDeleted())
    assert ended.session.room_status is S.TERMINATED
    assert ended.session.is_open
    assert ended.due_in_s("recording") == 3600.0
    on = play(ended, 600.0, report(R.PROCESSING, n=3, number=2, size=5))
    assert on.due_in_s("recording") == 3600.0
    final = play(on, report(R.COMPLETED, n=4, number=2, size=5))
    assert final.session.is_open  # its worker still puts things away
    closed = play(final, done(2))
    assert not closed.session.is_open
    assert not closed.session.deadlines


def test_a_recorder_that_never_says_done_is_let_go() -> None:
    ended = play(RECORDING, END, STOPPED, done(1), RoomDeleted(), report(R.COMPLETED, n=3, number=2))
    let_go = play(ended, Due("recording"))
    assert let_go.recording.status is R.COMPLETED
    assert not let_go.session.is_open
    assert let_go.job("recorder").state is JobState.DONE


def test_a_recording_that_nobody_reports_on_is_given_up() -> None:
    ended = play(RECORDING, END, STOPPED, done(1), RoomDeleted(), Due("recording"))
    assert ended.recording.status is R.FAILED
    assert "nobody completed the recording" in ended.recording.detail
    assert not ended.session.is_open
    assert any(isinstance(c, LeaveJob) and c.is_stale and c.worker_id == "r1" for c in ended.commands)


STAGES: dict[str, tuple[Trigger | Due, ...]] = {
    "capture": (END,),
    "leaving": (END, STOPPED),
    "deleting": (END, STOPPED, done(1)),
    "terminated": (END, STOPPED, done(1), RoomDeleted()),
    "hard limit": (END, Due("end")),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_recorder_lost_at_any_stage_is_replaced_by_one_that_completes(stage: str) -> None:
    away = play(RECORDING, *STAGES[stage], lost(2))
    assert away.job("recorder").state is JobState.PENDING
    assert is_offerable(away.session, away.job("recorder"))
    assert away.session.stage != "capture"  # nobody is left to stop
    completer = play(away, offer(2, "r2"), accept(2, 2))
    assert "joining:2" not in completer.session.deadlines
    finished = play(
        completer,
        report(R.COMPLETED, n=1, number=2, attempt=2),
        done(2, 2),
        *((Due("end"),) if not completer.session.is_over else ()),
        RoomDeleted(),
    )
    assert finished.recording.status is R.COMPLETED
    assert finished.session.room_status is S.TERMINATED
    assert not finished.session.is_open


@pytest.mark.parametrize("word", ["refuse", "silence", "lost"])
def test_who_should_complete_and_does_not_is_replaced_as_well(word: str) -> None:
    ended = play(RECORDING, *STAGES["terminated"], lost(2), offer(2, "r2"))
    no = JobRefused(job_id=JobId("s1-2"), attempt=2, detail="full")
    script: dict[str, Trigger | Due] = {"refuse": no, "silence": Due("offer:2"), "lost": lost(2, 2)}
    again = play(ended, script[word], Due("retry:2"))
    assert again.job("recorder").refused_by == ()
    assert is_offerable(again.session, again.job("recorder"))
    assert "recording" in again.session.deadlines


@pytest.mark.parametrize("script", [(), (offer(2, "r2"),)])
def test_what_an_earlier_attempt_left_is_completed_even_if_its_successor_was_only_asked(
    script: tuple[Trigger, ...],
) -> None:
    ending = play(RECORDING, lost(2), *script, END)
    assert ending.recording.status is R.STARTING
    assert ending.session.stage == "leaving"  # who was only asked captures nothing that must be stopped
    told = [c.worker_id for c in ending.commands if isinstance(c, LeaveJob) and not c.is_stale]
    assert told == ["w1"]
    ended = play(ending, done(1), RoomDeleted())
    assert ended.session.is_open
    assert ended.job("recorder").state in (JobState.PENDING, JobState.OFFERED)
    assert "recording" in ended.session.deadlines


@pytest.mark.parametrize("script", [(), (offer(1, "r1"),)])
def test_a_recording_that_nobody_began_fails_with_the_end(script: tuple[Trigger, ...]) -> None:
    ended = play(opened(record=True), CREATED, *script, END, RoomDeleted())
    assert ended.recording.status is R.FAILED
    assert ended.recording.detail == "the session ended before a recorder joined"
    assert not ended.session.is_open


def test_a_recorder_that_took_the_job_is_stopped_though_it_never_joined() -> None:
    ending = play(opened(record=True), CREATED, offer(1, "r1"), accept(1), END)
    assert ending.session.stage == "capture"
    ended = play(ending, Due("end:capture"), RoomDeleted(), Due("recording"))
    assert ended.recording.status is R.FAILED


@pytest.mark.parametrize("status", [R.STOPPING, R.COMPLETED, R.FAILED])
def test_a_recording_that_captures_no_more_is_not_stopped_again(status: RecordingStatus) -> None:
    ending = play(RECORDING, report(status, n=2, number=2), END)
    assert ending.session.stage == "leaving"
    assert not any(isinstance(command, ControlRecording) for command in ending.commands)


def test_a_late_recorder_is_not_let_into_an_ending_room() -> None:
    start = play(opened(record=True), CREATED, offer(1, "r1"), accept(1), END)
    late: Played = play(start, seen(worker("recorder")))
    assert "participant_removed" in late.names
    assert late.job("recorder").state is JobState.ACCEPTED
