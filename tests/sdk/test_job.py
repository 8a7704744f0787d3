"""What a job says for its author, and what it refuses to say once it is over."""

from __future__ import annotations

import pytest

from sdk.errors import JobEndedError, JobStaleError
from sdk.job import EndReason, Job, JobFacts
from sdk.ports import Grant
from sdk.wire import RecordingTask
from tests.fakes.job_line import FakeLine

FACTS = JobFacts(
    job_id="j1", attempt=2, session_id="s1", service_id="asr", room_name="r1", metadata={"language": "eo"}
)


def a_job(recording: RecordingTask | None = None) -> tuple[Job, FakeLine, list[tuple[EndReason, str]]]:
    line, ends = FakeLine(), list[tuple[EndReason, str]]()
    job = Job(
        FACTS,
        line=line,
        room=None,
        recording=recording,
        end=lambda reason, detail: ends.append((reason, detail)),
    )
    return job, line, ends


async def test_its_facts() -> None:
    job, _, _ = a_job()
    assert (job.job_id, job.attempt, job.session_id) == ("j1", 2, "s1")
    assert (job.service_id, job.room_name, job.metadata) == ("asr", "r1", {"language": "eo"})
    assert repr(job) == "Job('j1', attempt=2, session_id='s1')"
    assert job.recording is None


async def test_a_fresh_token_never_shows() -> None:
    job, line, _ = a_job()
    line.grants = [Grant(livekit_url="ws://x", access_token="secret")]
    assert "secret" not in repr(line.grants[0])
    assert await job.token() == "secret"


async def test_ends_are_asked_for() -> None:
    job, _, ends = a_job()
    await job.leave()
    await job.fail("x" * 900)
    assert ends == [("author", ""), ("failed", "x" * 500)]


async def test_a_job_that_ends_says_no_more() -> None:
    job, line, _ = a_job()
    job.leaving.set()
    for call in (job.ready, job.token):
        with pytest.raises(JobEndedError):
            await call()
    job.end_reason = "stale"
    with pytest.raises(JobStaleError):
        await job.ready()
    assert line.reports == []


async def test_touch_is_the_lines_unless_the_job_is_stale() -> None:
    job, line, _ = a_job()
    assert job.is_in_touch
    assert job.last_pong_age_s == 0.5
    job.end_reason = "stale"
    assert not job.is_in_touch
    line.is_in_touch = False
    job.end_reason = None
    assert not job.is_in_touch


async def test_recording_reports_carry_the_jobs_names_and_go_on_while_leaving() -> None:
    job, line, _ = a_job(RecordingTask(recording_id="rec-1"))
    job.leaving.set()
    await job.report_recording("stopping", tree_size=7, root="ab", op=2)
    report = line.recordings[0]
    assert (report.job_id, report.attempt, report.recording_id) == ("j1", 2, "rec-1")
    assert (report.state, report.tree_size, report.root, report.op) == ("stopping", 7, "ab", 2)
    job.end_reason = "stale"
    with pytest.raises(JobStaleError):
        await job.report_recording("stopped")


async def test_only_recordings_are_reported_about() -> None:
    job, _, _ = a_job()
    with pytest.raises(ValueError, match="no recording"):
        await job.report_recording("recording")
