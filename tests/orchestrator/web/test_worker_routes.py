"""Workers over HTTP: register as the reference does, look, heartbeat, leave; and their socket."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import ClientSession, WSMsgType

from orchestrator.settings import NetworkSettings, Settings
from tests.fakes.workers import NO
from tests.orchestrator.web.world import World, error_of, until

REGISTER = "/api/v1/microservices/register"
ASR = {"service_id": "asr", "endpoint": "http://127.0.0.1:8001"}


async def register(client: ClientSession, **fields: Any) -> None:
    answer = await client.post(REGISTER, json=ASR | fields)
    assert answer.status == 200, await answer.text()


async def test_register_answers_as_the_reference_does_and_again_is_an_upsert(client: ClientSession) -> None:
    for metadata in ({"a": "b"}, None):
        answer = await client.post(REGISTER, json={**ASR, "metadata": metadata})
        assert answer.status == 200
        assert await answer.json() == {
            "success": True,
            "service_id": "asr",
            "message": "Microservice registered successfully",
        }
    listed = (await (await client.get("/api/v1/microservices")).json())["microservices"]
    assert [(w["service_id"], w["metadata"], w["status"]) for w in listed] == [("asr", {}, "Registered")]


async def test_many_workers_of_one_service_by_their_ids(client: ClientSession) -> None:
    await register(client, worker_id="asr-1", capacity=2)
    await register(client, worker_id="asr-2", endpoint="http://127.0.0.1:8002/")
    found = await (await client.get("/api/v1/microservices/asr")).json()
    assert [(w["worker_id"], w["capacity"], w["endpoint"]) for w in found["workers"]] == [
        ("asr-1", 2, "http://127.0.0.1:8001"),
        ("asr-2", None, "http://127.0.0.1:8002"),
    ]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"service_id": ""}, "service_id"),
        ({"service_id": "a#2"}, "service_id"),
        ({"service_id": "recorder"}, "service_id"),
        ({"service_id": "agent:echo"}, "service_id"),
        ({"service_id": 7}, "service_id"),
        ({"endpoint": ""}, "endpoint"),
        ({"endpoint": "127.0.0.1:8001"}, "endpoint"),
        ({"endpoint": "ftp://host"}, "endpoint"),
        ({"endpoint": "http://user:pw@host"}, "endpoint"),
        ({"endpoint": "http://host/?a=b"}, "endpoint"),
        ({"endpoint": "http://[::1"}, "endpoint"),
        ({"endpoint": None}, "endpoint"),
        ({"metadata": {"a": 1}}, "metadata.*"),
        ({"metadata": {"a": "b" * 20000}}, "metadata"),
        ({"worker_id": "a#b"}, "worker_id"),
        ({"capacity": 0}, "capacity"),
        ({"capacity": 1.5}, "capacity"),
    ],
)
async def test_a_registration_that_cannot_be_is_a_422(
    client: ClientSession, fields: dict[str, Any], field: str
) -> None:
    answer = await client.post(REGISTER, json=ASR | fields)
    assert answer.status == 422
    assert [problem["field"] for problem in (await error_of(answer))["details"]["fields"]] == [field]


async def test_a_worker_id_belongs_to_one_service(client: ClientSession) -> None:
    await register(client, worker_id="w1")
    answer = await client.post(REGISTER, json={**ASR, "service_id": "tts", "worker_id": "w1"})
    assert answer.status == 422
    assert "'asr'" in (await error_of(answer))["message"]


async def test_a_private_endpoint_is_refused_where_that_is_set() -> None:
    world = World(settings=Settings(network=NetworkSettings(allow_private_endpoints=False)))
    async with world.running() as client:
        answer = await client.post(REGISTER, json=ASR)
        assert answer.status == 422
        assert "allow_private_endpoints" in (await error_of(answer))["message"]


async def test_a_registered_worker_is_asked_for_what_waits(world: World, client: ClientSession) -> None:
    created = await world.create(client, required_services=["asr"])
    await register(client)
    await until(lambda: bool(world.caller.joins))
    endpoint, request = world.caller.joins[0]
    assert endpoint == ASR["endpoint"]
    assert (request.session_id, request.service_identity) == (created["session_id"], "asr")


async def test_only_a_worker_that_matches_gets_the_job_and_the_session_says_why_it_waits(
    world: World, client: ClientSession
) -> None:
    german = {"asr": {"capabilities": {"lang": "de"}, "policy": "strict", "priority": 2}}
    created = await world.create(client, services=german)
    assert created["missing_services"] == ["asr"]

    async def shown() -> dict[str, Any]:
        session = await (await client.get(f"/api/v1/sessions/{created['session_id']}")).json()
        (job,) = session["jobs"]
        assert (job["capabilities"], job["policy"], job["priority"]) == ({"lang": "de"}, "strict", 2)
        return dict(job)

    assert (await shown())["waiting"] == {
        "reason": "no_worker",
        "message": "no worker is registered for 'asr'",
    }
    await register(client, worker_id="asr-en", capabilities={"lang": "en"}, metadata={"lang": "de"})
    assert (await shown())["waiting"]["message"] == "no worker of 'asr' has lang=de"
    assert world.caller.joins == []
    await register(client, worker_id="asr-de", endpoint="http://127.0.0.1:8002", metadata={"lang": "de"})
    await until(lambda: bool(world.caller.joins) and not world.orchestrator.dispatch.busy)
    assert [endpoint for endpoint, _ in world.caller.joins] == ["http://127.0.0.1:8002"]
    assert (await shown())["waiting"] is None


async def test_a_worker_shows_its_breaker(world: World, client: ClientSession) -> None:
    world.caller.answers = [NO] * 3
    await register(client)
    for _ in range(3):
        await world.create(client, required_services=["asr"])
    await until(lambda: not world.orchestrator.dispatch.busy)
    (worker,) = (await (await client.get("/api/v1/microservices")).json())["microservices"]
    assert (worker["breaker"], worker["failures"], worker["draining"]) == ("open", 3, False)


async def test_a_worker_is_drained_and_shows_it_until_it_registers_anew(client: ClientSession) -> None:
    await register(client, worker_id="asr-1")
    answer = await client.post("/api/v1/workers/asr-1/drain", json={"deadline_s": 60})
    view = await answer.json()
    assert (answer.status, view["worker_id"], view["draining"]) == (200, "asr-1", True)
    assert view["drain_by"] == "2026-11-21T12:01:00.000Z"
    again = await client.post("/api/v1/workers/asr-1/drain", json={"deadline_s": 90})
    assert await again.json() == view
    assert (await client.post("/api/v1/workers/asr-1/drain")).status == 200  # 30 s
    await register(client, worker_id="asr-1")
    (worker,) = (await (await client.get("/api/v1/microservices/asr")).json())["workers"]
    assert (worker["draining"], worker["drain_by"]) == (False, None)


@pytest.mark.parametrize("deadline_s", [-1, 86401, "soon"])
async def test_a_drain_that_cannot_be_is_a_422(client: ClientSession, deadline_s: object) -> None:
    await register(client)
    answer = await client.post("/api/v1/workers/asr/drain", json={"deadline_s": deadline_s})
    assert answer.status == 422
    (problem,) = (await error_of(answer))["details"]["fields"]
    assert problem["field"] == "deadline_s"


async def test_nobody_is_drained_by_a_wrong_name(client: ClientSession) -> None:
    assert (await client.post("/api/v1/workers/asr/drain", json={})).status == 404


async def test_heartbeats_are_for_registered_workers(client: ClientSession) -> None:
    await register(client, worker_id="asr-1")
    path = "/api/v1/microservices/asr/heartbeat"
    beat = {"worker_id": "asr-1", "load": 0.5, "draining": True}
    answer = await client.post(path, json=beat)
    assert await answer.json() == {"success": True, "service_id": "asr", "status": "Registered"}
    found = await (await client.get("/api/v1/microservices/asr")).json()
    assert (found["workers"][0]["load"], found["workers"][0]["draining"]) == (0.5, True)
    assert (await client.post(path, json={"worker_id": "asr-2"})).status == 404
    assert (await client.post(path)).status == 404  # the plain service id is nobody's worker id here
    assert (await client.post("/api/v1/microservices/tts/heartbeat", json=beat)).status == 404
    assert (await client.post(path, json={**beat, "load": 1.5})).status == 422


async def test_unregistering_hands_the_jobs_on(world: World, client: ClientSession) -> None:
    created = await world.create(client, required_services=["asr"])
    await register(client, worker_id="asr-1")
    await until(lambda: bool(world.caller.joins))
    await register(client, worker_id="asr-2", endpoint="http://127.0.0.1:8002")
    answer = await client.delete("/api/v1/microservices/asr?worker_id=asr-1")
    assert (await answer.json())["worker_ids"] == ["asr-1"]
    await until(lambda: len(world.caller.joins) == 2)
    assert world.caller.joins[1][0] == "http://127.0.0.1:8002"
    assert world.caller.joins[1][1].attempt == 2
    assert world.caller.joins[1][1].session_id == created["session_id"]
    assert (await client.delete("/api/v1/microservices/asr")).status == 200
    assert (await client.delete("/api/v1/microservices/asr")).status == 404


async def test_a_pull_worker_connects_and_gets_its_offer(world: World, client: ClientSession) -> None:
    created = await world.create(client, required_services=["asr"])
    async with client.ws_connect("/api/v1/workers/connect") as socket:
        await socket.send_json({"t": "hello", "service_id": "asr", "worker_id": "w1"})
        welcome = await socket.receive_json(timeout=5)
        assert (welcome["t"], welcome["worker_id"]) == ("welcome", "w1")
        offer = await socket.receive_json(timeout=5)
        assert (offer["t"], offer["session_id"]) == ("offer", created["session_id"])
        await socket.send_json({"t": "ping", "load": 0.1, "jobs": 0})
        pong = await socket.receive_json(timeout=5)
        assert pong["t"] == "pong"
        assert pong["position"].startswith(f"{world.feed.generation}:")


async def test_a_socket_ends_when_this_instance_stops(world: World) -> None:
    async with world.running() as client:
        socket = await client.ws_connect("/api/v1/workers/connect")
        await socket.send_json({"t": "hello", "service_id": "asr", "worker_id": "w1"})
        await socket.receive_json(timeout=5)
        closing = asyncio.ensure_future(_until_closed(socket))
        await asyncio.sleep(0)
    assert await closing in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED)


async def _until_closed(socket: Any) -> Any:
    while True:
        message = await socket.receive(timeout=5)
        if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
            return message.type
