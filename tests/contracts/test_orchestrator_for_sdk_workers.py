"""A worker of the SDK does its job for the real orchestrator as it does for the fake, in both modes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from sdk.testing import FakeRooms
from sdk.worker import Worker, WorkerSettings
from tests.contracts.orchestrators import Stand, fake_stand, real_stand, until
from tests.fakes.worker_author import Author

ROOM = "room-the-one"


@pytest.fixture(params=["real", "fake"])
async def stand(request: pytest.FixtureRequest) -> AsyncIterator[Stand]:
    async with real_stand() if request.param == "real" else fake_stand() as made:
        yield made


@pytest.mark.parametrize("endpoint", [None, "http://127.0.0.1:0"], ids=["pull", "push"])
async def test_a_job_from_its_offer_to_its_end(stand: Stand, endpoint: str | None) -> None:
    author, rooms = Author(), FakeRooms()
    rooms.create(ROOM)
    settings = WorkerSettings(stand.url, "asr", endpoint)
    async with Worker(settings, author, rooms=rooms.link) as worker:
        await worker.wait_connected()
        await stand.run_job(ROOM)
        await until(lambda: rooms.participants(ROOM) == ["asr"])
        await until(lambda: bool(author.jobs))
        assert author.job.attempt == 1
        assert author.job.service_id == "asr"
        await stand.finish_job(ROOM)
        assert rooms.participants(ROOM) == []
        assert [is_joined for _, is_joined in author.left] == [True]
        assert worker.is_connected
