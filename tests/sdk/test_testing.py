"""The harness that authors test with: it starts, drives and ends a worker, and cleans up after a failure."""

from __future__ import annotations

import pytest

from sdk.ports import RoomFactory
from sdk.settings import WorkerSettings
from sdk.testing import WorkerHarness
from sdk.worker import Worker
from tests.fakes.worker_author import Author, harness


async def test_a_job_is_started_and_ended() -> None:
    author = Author()
    async with harness(author, service_id="asr", capacity=2) as h:
        job = await h.start_job(metadata={"a": "b"}, session_id="s7")
        assert (job.session_id, job.room_name, job.identity) == ("s7", "room-s7", "asr")
        assert author.job.metadata == {"a": "b"}
        second = await h.start_job(attempt=2)
        assert h.rooms.participants(second.room_name) == ["asr#2"]
        await h.end_job(job)
        await h.end_job(second)


async def test_people_in_the_room_see_the_worker_come_and_go() -> None:
    async with harness(Author()) as h:
        alice = await h.rooms.join("room-s1", "alice")
        seen: list[str] = []
        alice.on("participant_connected", lambda who: seen.append(f"+{who.identity}"))
        alice.on("participant_disconnected", lambda who: seen.append(f"-{who.identity}"))
        job = await h.start_job(session_id="s1")
        await h.end_job(job)
        assert seen == ["+tested", "-tested"]


async def test_a_worker_that_cannot_be_made_leaves_no_server_behind() -> None:
    def make(_: WorkerSettings, __: RoomFactory) -> Worker:
        raise ValueError("no worker today")

    h = WorkerHarness(make)
    with pytest.raises(ValueError, match="no worker today"):
        await h.__aenter__()
    with pytest.raises(RuntimeError, match="edge thread"):
        await h.orchestrator.come_back()
