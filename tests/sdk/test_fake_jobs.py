"""The fake's jobs: held from the offer to the end, by one worker, with what it has not been told yet."""

from __future__ import annotations

import pytest

from sdk.fake_jobs import FakeJob, FakeJobs
from sdk.wire import (
    Accept,
    Assign,
    Control,
    HeldJob,
    Leave,
    RecordingReport,
    RecordingTask,
    Refuse,
    Report,
    TokenWanted,
)

JOB = FakeJob(job_id="j1", attempt=2, session_id="s1", room_name="room-s1", identity="asr#2")
TOKEN = TokenWanted(job_id="j1", attempt=2)
ASSIGN = Assign(job_id="j1", attempt=2, access_token="t", livekit_url="ws://x", expires_at="e")
RECORDING = Assign(
    job_id="j1",
    attempt=2,
    access_token="t",
    livekit_url="ws://x",
    expires_at="e",
    recording=RecordingTask(recording_id="r1"),
)
STOP = Control(job_id="j1", attempt=2, n=3, op="stop")
LEAVE = Leave(job_id="j1", attempt=2)


def recorded(n: int, *, op: int = 0, recording_id: str = "r1") -> RecordingReport:
    return RecordingReport(job_id="j1", attempt=2, n=n, recording_id=recording_id, state="recording", op=op)


@pytest.fixture
def jobs() -> FakeJobs:
    made = FakeJobs()
    made.offer(JOB, "w1")
    return made


def test_one_worker_holds_one_attempt(jobs: FakeJobs) -> None:
    assert jobs.of("w1", JOB.held) == JOB
    assert jobs.of("w2", JOB.held) is None
    assert jobs.of("w1", HeldJob(job_id="j1", attempt=1)) is None
    assert jobs.hear("w1", Accept(job_id="j1", attempt=2)) == JOB
    assert jobs.hear("w2", TOKEN) is None


@pytest.mark.parametrize(
    "word",
    [
        Refuse(job_id="j1", attempt=2),
        Report(job_id="j1", attempt=2, state="done"),
        Report(job_id="j1", attempt=2, state="failed"),
    ],
)
def test_a_job_ends_with_the_word_for_it(jobs: FakeJobs, word: Refuse | Report) -> None:
    assert jobs.hear("w1", word) == JOB
    assert jobs.hear("w1", TOKEN) is None


def test_what_is_taken_or_left_behind_is_not_held(jobs: FakeJobs) -> None:
    jobs.keep_only("w2", [])
    assert jobs.hear("w1", TOKEN) == JOB
    jobs.keep_only("w1", [JOB.held])
    assert jobs.hear("w1", TOKEN) == JOB
    jobs.keep_only("w1", [])
    assert jobs.hear("w1", TOKEN) is None
    jobs.offer(JOB, "w1")
    jobs.take(JOB.held)
    jobs.take(JOB.held)
    assert jobs.hear("w1", TOKEN) is None


def test_an_assignment_is_said_until_the_worker_has_joined(jobs: FakeJobs) -> None:
    assert jobs.unheard(JOB.held) == []
    jobs.tell(ASSIGN)
    assert jobs.unheard(JOB.held) == [ASSIGN]
    jobs.hear("w1", Report(job_id="j1", attempt=2, state="joined"))
    assert jobs.unheard(JOB.held) == []


def test_a_control_is_said_until_a_report_shows_it_and_leave_to_the_end(jobs: FakeJobs) -> None:
    jobs.tell(RECORDING)
    jobs.hear("w1", Report(job_id="j1", attempt=2, state="joined"))
    jobs.tell(STOP)
    jobs.tell(LEAVE)
    jobs.hear("w1", recorded(1, op=2))
    assert jobs.unheard(JOB.held) == [STOP, LEAVE]
    jobs.hear("w1", recorded(2, op=3))
    assert jobs.unheard(JOB.held) == [LEAVE]


def test_a_recording_that_was_not_assigned_is_not_heard(jobs: FakeJobs) -> None:
    assert jobs.hear("w1", recorded(1)) is None
    jobs.tell(RECORDING)
    assert jobs.hear("w1", recorded(1)) == JOB
    assert jobs.hear("w1", recorded(1, recording_id="r2")) is None


def test_nothing_is_kept_for_a_job_that_nobody_holds() -> None:
    jobs = FakeJobs()
    jobs.tell(LEAVE)
    jobs.offer(JOB, "w1")
    assert jobs.unheard(JOB.held) == []
