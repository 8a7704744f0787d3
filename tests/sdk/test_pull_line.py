"""A pull job's line: wishes for tokens are shared, repeated and ended; reports stop when the job is over."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from sdk.connection import Connection
from sdk.errors import JobEndedError, JobStaleError, UnavailableError
from sdk.ports import Grant
from sdk.pull_line import PullLine, unix_time
from sdk.settings import WorkerSettings
from sdk.wire import HeldJob, Report, TokenRenewed, TokenWanted, WorkerFrame

JOB = HeldJob(job_id="a", attempt=1)


def a_line(**settings: float) -> tuple[PullLine, list[WorkerFrame]]:
    given = WorkerSettings("http://127.0.0.1:1", "x", **settings)  # type: ignore[arg-type]
    sent: list[WorkerFrame] = []
    connection = Connection(given, on_frame=lambda *_: None, jobs_loop_lag_s=lambda: 0.0)
    line = PullLine(JOB, settings=given, connection=connection, send=sent.append)
    line.grant = Grant(livekit_url="ws://x", access_token="old")
    return line, sent


def renewed(token: str) -> TokenRenewed:
    return TokenRenewed(job_id="a", attempt=1, access_token=token, expires_at="2026-11-21T12:00:00Z")


async def test_several_wishes_get_one_answer() -> None:
    line, sent = a_line()
    wishes = [asyncio.create_task(line.fresh_grant()) for _ in range(2)]
    await asyncio.sleep(0)
    line.renewed(renewed("new"))
    first, second = await asyncio.gather(*wishes)
    assert first is second
    assert (first.livekit_url, first.access_token) == ("ws://x", "new")
    assert first.expires_at == unix_time("2026-11-21T12:00:00Z")
    assert all(isinstance(frame, TokenWanted) for frame in sent)
    line.renewed(renewed("unasked"))
    assert line.grant is first


async def test_the_token_of_a_second_connection_comes_along_and_shows_nowhere() -> None:
    line, _ = a_line()
    wish = asyncio.create_task(line.fresh_grant())
    await asyncio.sleep(0)
    frame = replace(renewed("new"), second_token="other")
    line.renewed(frame)
    grant = await wish
    assert grant.second_token == "other"
    assert "other" not in repr(grant) + repr(frame)


async def test_a_new_connection_is_asked_again() -> None:
    line, sent = a_line()
    line.reconnected()
    assert sent == []
    wish = asyncio.create_task(line.fresh_grant())
    await asyncio.sleep(0)
    line.reconnected()
    assert len(sent) == 2
    line.renewed(renewed("new"))
    await wish


async def test_no_answer_in_time() -> None:
    line, _ = a_line(request_timeout=0.05)
    with pytest.raises(UnavailableError, match="no new token"):
        await line.fresh_grant()


async def test_a_line_that_is_over() -> None:
    line, sent = a_line()
    wish = asyncio.create_task(line.fresh_grant())
    await asyncio.sleep(0)
    sent.clear()
    line.close(JobStaleError("held by another"))
    line.close(JobEndedError("later"))
    with pytest.raises(JobStaleError):
        await wish
    with pytest.raises(JobStaleError):
        await line.fresh_grant()
    line.report("done")
    assert sent == []


async def test_reports_are_frames() -> None:
    line, sent = a_line()
    await line.say_ready()
    line.report("failed", "because")
    assert sent == [
        Report(job_id="a", attempt=1, state="ready"),
        Report(job_id="a", attempt=1, state="failed", detail="because"),
    ]
    assert not line.is_in_touch
    assert line.last_pong_age_s == float("inf")


def test_times_that_cannot_be_read_are_unknown() -> None:
    assert unix_time("tomorrow") is None
    assert unix_time("1970-01-01T00:00:10Z") == 10.0
