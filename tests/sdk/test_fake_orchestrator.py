"""The fake orchestrator waits with a deadline, and goes away and comes back at one address."""

from __future__ import annotations

import aiohttp
import pytest

import sdk.fake_server
from sdk.fake_orchestrator import FakeOrchestrator
from tests.fakes.worker_author import Author, harness


async def test_waiting_has_a_deadline_and_says_for_what(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdk.fake_server, "DEADLINE_S", 0.1)
    async with FakeOrchestrator() as fake:
        with pytest.raises(TimeoutError, match="hello number 1"):
            await fake.hello()


async def test_it_comes_back_at_its_address() -> None:
    async with FakeOrchestrator() as fake, aiohttp.ClientSession() as http:
        url = fake.url
        await fake.go_away()
        with pytest.raises(aiohttp.ClientConnectorError):
            await http.get(url)
        await fake.come_back()
        async with http.get(url) as answer:
            assert answer.status == 404
        assert fake.url == url


async def test_what_it_heard_is_kept_apart_by_job_and_attempt() -> None:
    async with harness(Author(), capacity=2) as h:
        first = await h.start_job(job_id="a", attempt=1)
        second = await h.start_job(job_id="a", attempt=2)
        await h.end_job(second)
        assert h.orchestrator.states(first) == ["joined"]
        assert h.orchestrator.states(second) == ["joined", "done"]
