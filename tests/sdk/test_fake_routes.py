"""The routes of the fake write down what they hear and refuse by script; the contract suite does the rest."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp import web

from sdk.fake_orchestrator import FakeOrchestrator
from sdk.fake_routes import MAX_NAME, FakeRoutes, name_problem

REGISTER = "/api/v1/microservices/register"
X = {"service_id": "x", "endpoint": "http://127.0.0.1:1"}


@pytest.mark.parametrize("status", [200, 503])
async def test_a_registration_is_answered_as_scripted(status: int) -> None:
    async with FakeOrchestrator() as fake, aiohttp.ClientSession(fake.url) as http:
        fake.script.registers = status
        async with http.post(REGISTER, json=X) as answer:
            assert answer.status == status
        async with http.post("/api/v1/microservices/x/heartbeat", json={}) as answer:
            assert answer.status == (200 if status == 200 else 404)
        assert (len(fake.registrations), len(fake.heartbeats)) == (1, 1)


async def test_ready_is_written_down_for_sessions_of_the_fake() -> None:
    async with FakeOrchestrator() as fake, aiohttp.ClientSession(fake.url) as http:
        fake._routes.services["s1"] = "x"
        for session_id, status in (("s1", 200), ("s2", 404)):
            path = f"/api/v1/sessions/{session_id}/ready"
            async with http.post(path, json={"service_id": "x"}) as answer:
                assert answer.status == status
        assert fake.ready_sessions == ["s1"]


def test_a_worker_id_is_of_one_service_until_it_is_forgotten() -> None:
    routes = FakeRoutes(lambda: 200)
    assert routes.take_worker_id("w1", "asr") == routes.take_worker_id("w1", "asr") == ""
    assert routes.take_worker_id("w1", "tts") == (
        "worker_id 'w1' is registered for service 'asr'; choose another"
    )
    routes.forget_workers()
    assert routes.take_worker_id("w1", "tts") == ""


@pytest.mark.parametrize("name", ["x", "a b", "ü", "n" * MAX_NAME])
def test_what_is_a_name(name: str) -> None:
    assert name_problem(name, "service_id") == ""


@pytest.mark.parametrize("name", ["", " ", "a#1", "a\nb", "\x7f", "n" * (MAX_NAME + 1)])
def test_what_is_none(name: str) -> None:
    problem = name_problem(name, "service_id")
    assert problem.startswith("service_id")
    assert len(problem) < 150


def test_the_routes_stand_in_one_application() -> None:
    app = web.Application()
    FakeRoutes(lambda: 200).add_to(app)
    assert {route.method for route in app.router.routes()} == {"POST"}
    assert len(app.router.routes()) == 3
