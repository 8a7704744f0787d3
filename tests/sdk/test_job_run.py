"""One job's life: join, work, lose the room, leave, fail, and every order in which these may come."""

from __future__ import annotations

import asyncio
import time

import pytest

from sdk.errors import JobEndedError
from tests.fakes.worker_author import Author, harness, until


async def test_a_handler_that_returns_at_once_keeps_its_job() -> None:
    author = Author()
    author.stays = False
    async with harness(author) as h:
        job = await h.start_job()
        await h.orchestrator.hello()
        await asyncio.sleep(0.05)
        assert h.rooms.participants(job.room_name) == ["tested"]
        await h.end_job(job)


async def test_a_handler_that_raises_fails_its_job_without_its_words() -> None:
    author = Author()
    author.join_raises = RuntimeError("secret things of a participant")
    async with harness(author) as h:
        job = await h.orchestrator.offer()
        h.rooms.create(job.room_name)
        await h.orchestrator.accepted(job)
        await h.orchestrator.assign(job)
        report = await h.orchestrator.reported(job, "failed")
        assert report.detail == "join_room raised RuntimeError"
        await until(lambda: author.left == [("failed", False)])
        assert h.rooms.participants(job.room_name) == []
        await until(lambda: h.worker.job_count == 0)


async def test_fail_reports_the_authors_reason() -> None:
    author = Author()
    async with harness(author) as h:
        job = await h.start_job()
        await author.job.fail("the model could not be loaded")
        assert (await h.orchestrator.reported(job, "failed")).detail == "the model could not be loaded"
        assert author.job.end_reason == "failed"


async def test_a_job_that_its_author_left_says_no_more() -> None:
    author = Author()
    author.stays = False
    async with harness(author) as h:
        job = await h.start_job()
        await author.job.leave()
        assert author.job.leaving.is_set()
        with pytest.raises(JobEndedError):
            await author.job.ready()
        await h.orchestrator.reported(job, "done")
        assert author.job.end_reason == "author"


async def test_a_handler_that_left_and_returned_is_done_at_once() -> None:
    class Short(Author):
        async def join_room(self, job: object) -> None:
            assert hasattr(job, "leave")
            await job.leave()

    async with harness(Short()) as h:
        job = await h.start_job()
        began = time.monotonic()
        await h.orchestrator.reported(job, "done")
        assert time.monotonic() - began < 2


async def test_the_room_is_left_at_the_deadline_and_done_comes_when_all_is_put_away() -> None:
    author = Author()
    author.leave_takes_s = 2.5
    async with harness(author) as h:
        job = await h.start_job()
        await h.orchestrator.leave(job, deadline=0.2)
        await until(lambda: h.rooms.participants(job.room_name) == [], within_s=2.2)
        assert "done" not in h.orchestrator.states(job)
        assert author.cancelled == 1
        await h.orchestrator.reported(job, "done")


async def test_putting_away_has_its_limit() -> None:
    author = Author()
    author.leave_takes_s = 60
    async with harness(author, finish_timeout_s=0.3) as h:
        job = await h.start_job()
        await h.orchestrator.leave(job, deadline=0.1)
        report = await h.orchestrator.reported(job, "failed")
        assert report.detail == "leave_room took longer than 0.3 s"


async def test_a_leave_hook_that_raises_fails_the_job() -> None:
    author = Author()
    author.leave_raises = OSError(28, "no space left")
    async with harness(author) as h:
        job = await h.start_job()
        await h.orchestrator.leave(job)
        assert (await h.orchestrator.reported(job, "failed")).detail == "leave_room raised OSError"


async def test_stale_cuts_a_long_leave_short() -> None:
    author = Author()
    author.leave_takes_s = 60
    async with harness(author) as h:
        job = await h.start_job()
        await h.orchestrator.leave(job, deadline=30)
        await until(lambda: author.left != [])
        await h.orchestrator.stale(job)
        await until(lambda: h.worker.job_count == 0)
        assert h.orchestrator.states(job) == ["joined"]


async def test_a_room_that_cannot_be_joined_fails_the_job_in_time() -> None:
    async with harness(Author(), join_timeout_s=0.5) as h:
        h.rooms.is_down = True
        job = await h.orchestrator.offer()
        await h.orchestrator.accepted(job)
        await h.orchestrator.assign(job)
        report = await h.orchestrator.reported(job, "failed")
        assert report.detail == "the room could not be joined within 0.5 s"


async def test_a_lost_room_is_joined_again_with_a_fresh_token_and_the_same_room_object() -> None:
    author = Author()
    async with harness(author) as h:
        job = await h.start_job()
        room = author.job.room
        got: list[object] = []
        room.on("data_received", got.append)
        h.rooms.drop(job.room_name, "tested")
        await until(lambda: author.rejoins == 1)
        assert author.job.room is room
        assert len(set(h.rooms.joins)) == 2
        alice = await h.rooms.join(job.room_name, "alice")
        await alice.local_participant.publish_data(b"still there?")
        await until(lambda: len(got) == 1)
        assert h.orchestrator.states(job) == ["joined", "joined"]
        assert author.cancelled == 0


async def test_a_lost_room_that_stays_away_fails_the_job() -> None:
    author = Author()
    async with harness(author, rejoin_timeout_s=0.5) as h:
        job = await h.start_job()
        h.rooms.is_down = True
        h.rooms.drop(job.room_name, "tested")
        await h.orchestrator.reported(job, "failed")


async def test_a_job_leaves_while_it_looks_for_its_lost_room() -> None:
    async with harness(Author()) as h:
        job = await h.start_job()
        h.rooms.is_down = True
        h.rooms.drop(job.room_name, "tested")
        await until(lambda: len(h.rooms.joins) > 1)
        await h.end_job(job)


async def test_who_was_removed_does_not_come_back() -> None:
    author = Author()
    async with harness(author) as h:
        job = await h.start_job()
        h.rooms.remove(job.room_name, "tested")
        report = await h.orchestrator.reported(job, "failed")
        assert report.detail == "the media server removed this worker from the room"
        await until(lambda: h.worker.job_count == 0)
        assert len(h.rooms.joins) == 1
        assert author.left == [("removed", False)]


async def test_a_closed_room_ends_the_job_as_done() -> None:
    author = Author()
    async with harness(author) as h:
        job = await h.start_job()
        h.rooms.delete(job.room_name)
        await h.orchestrator.reported(job, "done")
        assert author.left[0][0] == "room_closed"
        assert len(h.rooms.joins) == 1


async def test_leave_before_the_room_is_joined() -> None:
    author = Author()
    async with harness(author) as h:
        h.rooms.is_hanging = True
        job = await h.orchestrator.offer()
        await h.orchestrator.accepted(job)
        await h.orchestrator.assign(job)
        await until(lambda: h.worker.job_count == 1)
        await h.orchestrator.leave(job)
        await h.orchestrator.reported(job, "done")
        assert author.jobs == []
        assert author.left == []


async def test_leave_before_the_assignment() -> None:
    async with harness(Author()) as h:
        job = await h.orchestrator.offer()
        await h.orchestrator.accepted(job)
        await h.orchestrator.leave(job)
        await h.orchestrator.reported(job, "done")
        assert h.worker.job_count == 0
