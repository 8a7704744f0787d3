"""A pull worker against the fake orchestrator: offers, assignments, leaving, and what may go wrong."""

from __future__ import annotations

import asyncio
import time

import pytest

from sdk.wire import RecordingTask, TokenWanted
from tests.fakes.worker_author import Author, harness, until


async def test_hello_says_what_the_settings_say() -> None:
    async with harness(Author(), capacity=3, metadata={"zone": "a"}, in_default=False) as h:
        hello = await h.orchestrator.hello()
    assert (hello.service_id, hello.capacity, hello.in_default) == ("tested", 3, False)
    assert (hello.metadata, hello.resuming) == ({"zone": "a"}, [])
    assert hello.worker_id == h.worker.settings.worker_id
    assert hello.sdk_version


async def test_a_job_from_offer_to_done() -> None:
    author = Author()
    async with harness(author) as h:
        job = await h.start_job(metadata={"language": "eo"})
        assert h.rooms.participants(job.room_name) == ["tested"]
        assert author.job.room.name == job.room_name
        assert author.job.metadata == {"language": "eo"}
        assert (author.job.session_id, author.job.attempt) == (job.session_id, 1)
        await h.end_job(job)
        assert h.rooms.participants(job.room_name) == []
        assert author.left == [("leave", True)]
        assert author.cancelled == 1
        assert h.orchestrator.states(job) == ["joined", "done"]
        await until(lambda: h.worker.job_count == 0)


async def test_no_more_jobs_than_the_capacity() -> None:
    async with harness(Author(), capacity=1) as h:
        first = await h.start_job()
        second = await h.orchestrator.offer()
        assert (await h.orchestrator.refused(second)).reason == "no capacity"
        await h.end_job(first)
        await until(lambda: h.worker.job_count == 0)
        third = await h.orchestrator.offer()
        assert (await h.orchestrator.accepted(third)).manual_ready is False


async def test_an_unhealthy_worker_refuses() -> None:
    author = Author()
    author.is_healthy = False
    async with harness(author) as h:
        job = await h.orchestrator.offer()
        assert (await h.orchestrator.refused(job)).reason == "not healthy"


async def test_an_offer_answered_too_late_is_not_answered() -> None:
    async with harness(Author()) as h:
        await h.orchestrator.hello()
        offering = asyncio.create_task(h.orchestrator.offer(deadline=0.2))
        await asyncio.sleep(0)  # the offer is on its way
        time.sleep(0.6)  # the jobs' loop is busy when it comes
        late = await offering
        await asyncio.sleep(0.2)
        assert not [frame for frame in h.orchestrator.frames if getattr(frame, "job_id", "") == late.job_id]
        assert h.worker.job_count == 0


async def test_stale_stops_at_once_and_reports_nothing() -> None:
    author = Author()
    async with harness(author) as h:
        job = await h.start_job()
        await h.orchestrator.stale(job)
        await until(lambda: h.worker.job_count == 0)
        assert h.rooms.participants(job.room_name) == []
        assert author.left == [("stale", False)]
        assert author.job.is_stale
        assert not author.job.is_in_touch
        assert h.orchestrator.states(job) == ["joined"]


async def test_manual_ready_is_said_by_the_job() -> None:
    author = Author()
    async with harness(author, manual_ready=True) as h:
        job = await h.orchestrator.offer()
        h.rooms.create(job.room_name)
        assert (await h.orchestrator.accepted(job)).manual_ready
        await h.orchestrator.assign(job)
        await h.orchestrator.reported(job, "joined")
        assert h.orchestrator.states(job) == ["joined"]
        await author.job.ready()
        await h.orchestrator.reported(job, "ready")


async def test_a_refused_token_is_renewed() -> None:
    async with harness(Author()) as h:
        h.rooms.refuse()
        job = await h.start_job()
        assert len(set(h.rooms.joins)) == 2
        assert any(isinstance(frame, TokenWanted) for frame in h.orchestrator.frames)
        assert h.rooms.participants(job.room_name) == ["tested"]


async def test_controls_come_in_order_and_once() -> None:
    author = Author()
    task = RecordingTask(recording_id="rec-1")
    async with harness(author) as h:
        job = await h.start_job(recording=task)
        assert author.job.recording == task
        for n, op in ((1, "pause"), (1, "pause"), (2, "resume"), (1, "pause"), (3, "stop"), (3, "stop")):
            await h.orchestrator.control(job, op, n=n)  # type: ignore[arg-type]
        await until(lambda: len(author.controls) >= 3)
        await h.end_job(job)
        assert author.controls == [(1, "pause"), (2, "resume"), (3, "stop")]


async def test_a_recording_that_is_only_completed_has_no_room() -> None:
    author = Author()
    async with harness(author) as h:
        job = await h.start_job(recording=RecordingTask(recording_id="rec-1", task="complete"))
        assert h.rooms.joins == []
        with pytest.raises(RuntimeError, match="no room"):
            _ = author.job.room
        await author.job.report_recording("completed", tree_size=3)
        assert (await h.orchestrator.recorded(job, n=1)).tree_size == 3
        await h.end_job(job)


async def test_frames_of_later_versions_are_ignored() -> None:
    author = Author()
    async with harness(author) as h:
        job = await h.start_job()
        await h.orchestrator.send_text('{"t":"confetti","job_id":"x","attempt":1}')
        await h.end_job(job)
        assert h.orchestrator.connections == 1
