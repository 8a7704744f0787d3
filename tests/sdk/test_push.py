"""A push worker against the fake orchestrator: routes, registration, heartbeats, attempts."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

from sdk.testing import FakeJob, WorkerHarness
from tests.fakes.worker_author import Author, harness, until

JOIN = {
    "room_name": "r",
    "session_id": "s",
    "service_identity": "tested",
    "access_token": "top-secret-token",
    "livekit_url": "ws://fake.invalid",
}


def push(author: Author, **settings: object) -> WorkerHarness:
    return harness(author, endpoint="http://127.0.0.1:0", **settings)


def a_job(h: WorkerHarness, *, session_id: str = "s1", attempt: int = 1) -> FakeJob:
    h.rooms.create(f"room-{session_id}")
    return FakeJob(
        job_id=f"job-{session_id}",
        attempt=attempt,
        session_id=session_id,
        room_name=f"room-{session_id}",
        identity="tested" if attempt == 1 else f"tested#{attempt}",
    )


async def test_a_job_joins_and_leaves() -> None:
    author = Author()
    async with push(author) as h:
        job = a_job(h)
        status, text = await h.orchestrator.join_room(job)
        assert (status, json.loads(text)) == (
            200,
            {
                "success": True,
                "message": "Successfully joined room",
                "session_id": "s1",
                "service_id": "tested",
            },
        )
        assert h.rooms.participants("room-s1") == ["tested"]
        assert (await h.orchestrator.leave_room(job))[0] == 200
        assert h.rooms.participants("room-s1") == []
        assert author.left == [("leave", True)]
        status, text = await h.orchestrator.leave_room(job)
        assert (status, json.loads(text)["error"]) == (404, "SessionNotFound")


async def test_a_worker_of_the_plain_contract_gets_no_attempt() -> None:
    author = Author()
    async with push(author) as h:
        job = a_job(h)
        assert (await h.orchestrator.join_room(job, with_attempt=False))[0] == 200
        assert (await h.orchestrator.join_room(job, with_attempt=False))[0] == 200
        assert len(author.jobs) == 1
        assert author.job.job_id == "s1"


async def test_a_repeated_join_joins_once() -> None:
    author = Author()
    async with push(author) as h:
        job = a_job(h)
        answers = await asyncio.gather(*(h.orchestrator.join_room(job) for _ in range(3)))
        assert [status for status, _ in answers] == [200, 200, 200]
        assert len(author.jobs) == 1
        assert len(h.rooms.joins) == 1


async def test_a_newer_attempt_replaces_the_older_and_not_the_other_way_round() -> None:
    author = Author()
    async with push(author) as h:
        older = a_job(h)
        newer = replace(older, attempt=2, identity="tested#2")
        assert (await h.orchestrator.join_room(older))[0] == 200
        assert (await h.orchestrator.join_room(newer))[0] == 200
        await until(lambda: h.rooms.participants("room-s1") == ["tested#2"])
        assert author.jobs[0].is_stale
        assert (await h.orchestrator.join_room(older))[0] == 409
        assert [job.attempt for job in author.jobs] == [1, 2]


async def test_a_join_that_fails_says_so_without_the_token() -> None:
    async with push(Author(), join_timeout_s=0.3) as h:
        h.rooms.is_down = True
        status, text = await h.orchestrator.join_room(a_job(h))
        assert status == 500
        assert text == "Failed to join room: the room could not be joined within 0.3 s"


async def test_no_more_than_the_capacity_and_nothing_while_draining() -> None:
    author = Author()
    async with push(author, capacity=1) as h:
        job = a_job(h)
        assert (await h.orchestrator.join_room(job))[0] == 200
        status, text = await h.orchestrator.join_room(a_job(h, session_id="s2"))
        assert (status, text) == (500, "Failed to join room: the worker has no capacity left")
        draining = asyncio.create_task(h.worker.drain(5))
        await asyncio.sleep(0.05)
        status, text = await h.orchestrator.join_room(a_job(h, session_id="s3"))
        assert (status, text) == (500, "Failed to join room: the worker is draining")
        await h.orchestrator.leave_room(job)
        await draining


async def test_ready_goes_to_the_sessions_ready_route() -> None:
    author = Author()
    async with push(author) as h:
        await h.orchestrator.join_room(a_job(h))
        await until(lambda: bool(author.jobs))
        await author.job.ready()
        assert h.orchestrator.ready_sessions == ["s1"]


async def test_a_lost_room_is_joined_again_with_the_token_that_the_server_refreshed() -> None:
    author = Author()
    async with push(author) as h:
        await h.orchestrator.join_room(a_job(h))
        h.rooms.drop("room-s1", "tested")
        await until(lambda: author.rejoins == 1)
        assert h.rooms.participants("room-s1") == ["tested"]


async def test_a_session_that_is_being_left_can_be_joined_again() -> None:
    author = Author()
    author.leave_takes_s = 0.5
    async with push(author, capacity=2) as h:
        job = a_job(h)
        assert (await h.orchestrator.join_room(job, with_attempt=False))[0] == 200
        leaving = asyncio.create_task(h.orchestrator.leave_room(job))
        await until(lambda: bool(author.left))
        assert (await h.orchestrator.join_room(job, with_attempt=False))[0] == 200
        await leaving
        assert len(author.jobs) == 2
        assert [reason for reason, _ in author.left] == ["leave"]
        await until(lambda: h.rooms.participants("room-s1") == ["tested"])
