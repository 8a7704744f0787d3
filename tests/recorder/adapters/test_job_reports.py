"""Reports over the SDK's job: what the frame says, an orchestrator that is away, another attempt."""

from __future__ import annotations

from typing import Any

import pytest

from recorder.adapters.job_reports import JobReports
from recorder.core.errors import StaleAttemptError
from recorder.core.states import RecordingState
from recorder.ports import Standing
from sdk.errors import JobStaleError, UnavailableError
from sdk.job import Job, JobFacts
from sdk.wire import RecordingReport, RecordingTask


class Line:
    """A line to an orchestrator that takes reports, or raises."""

    last_pong_age_s = 0.0
    is_in_touch = True

    def __init__(self) -> None:
        self.reports: list[RecordingReport] = []
        self.error: Exception | None = None

    async def record(self, report: RecordingReport, *, timeout_s: float) -> None:
        if self.error is not None:
            raise self.error
        self.reports.append(report)

    def report(self, *_: Any) -> None:
        raise AssertionError("a recording reports by frames of its own")

    say_ready = fresh_grant = report


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def reports(line: Line) -> JobReports:
    facts = JobFacts(job_id="j", attempt=2, session_id="s", service_id="recorder", room_name="r")
    task = RecordingTask(recording_id="11111111-2222-4333-8444-555555555555")
    job = Job(facts, line=line, room=None, recording=task, end=lambda *_: None)  # type: ignore[arg-type]
    return JobReports(job, location="file:///data/recordings")


STANDING = Standing(
    state=RecordingState.RECORDING,
    tree_size=4,
    root="ab",
    checkpoint="note",
    stats={"bytes": 9.0},
    closes=[{"attempt": 1, "tree_size": 3, "root": "cd"}],
    op=2,
)


async def test_a_standing_becomes_a_frame_of_the_wire(reports: JobReports, line: Line) -> None:
    await reports.report(STANDING)
    (frame,) = line.reports
    assert (frame.job_id, frame.attempt, frame.state, frame.op) == ("j", 2, "recording", 2)
    assert (frame.tree_size, frame.root, frame.checkpoint) == (4, "ab", "note")
    assert frame.store == "file:///data/recordings"
    assert frame.closes == [{"attempt": 1, "tree_size": 3, "root": "cd"}]


async def test_an_orchestrator_that_is_away_does_not_stop_the_recording(
    reports: JobReports, line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    line.error = UnavailableError("not acknowledged within 5 s")
    await reports.report(STANDING)
    assert "has not confirmed recording yet" in caplog.text


async def test_another_attempt_is_told_as_that(reports: JobReports, line: Line) -> None:
    line.error = JobStaleError("held by another attempt")
    with pytest.raises(StaleAttemptError, match="held by another attempt"):
        await reports.report(STANDING)
