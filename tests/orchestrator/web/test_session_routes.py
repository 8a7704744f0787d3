"""Create, look, token, ready, participants, end: answers as the contract has them, and what is refused."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from aiohttp import ClientSession

from orchestrator.core.ids import SessionId
from orchestrator.web import session_routes
from tests.orchestrator.web.world import World, error_of, until

CREATE = "/api/v1/create-session"


async def get(client: ClientSession, session_id: str) -> dict[str, Any]:
    value: dict[str, Any] = await (await client.get(f"/api/v1/sessions/{session_id}")).json()
    return value


async def test_create_answers_as_the_reference_does(client: ClientSession) -> None:
    answer = await client.post(CREATE, json={"user_identity": "alice", "unknown_field": [1]})
    assert answer.status == 200
    body = await answer.json()
    UUID(body["session_id"], version=4)
    assert body == {
        "session_id": body["session_id"],
        "room_name": f"room-{body['session_id']}",
        "access_token": "jwt-client-alice",
        "livekit_url": "ws://127.0.0.1:7880",
        "status": "Ready",
        "missing_services": [],
    }


async def test_an_unknown_service_is_waited_for_and_named(client: ClientSession) -> None:
    body = {"user_identity": "alice", "required_services": ["asr", "tts"]}
    created = await (await client.post(CREATE, json=body)).json()
    assert (created["status"], created["missing_services"]) == ("WaitingForServices", ["asr", "tts"])


@pytest.mark.parametrize("services", [None, "absent"])
async def test_absent_or_null_means_the_default_services(
    world: World, client: ClientSession, services: str | None
) -> None:
    for name, in_default in (("asr", True), ("batch", False)):
        registration = {"service_id": name, "endpoint": "http://127.0.0.1:9", "in_default": in_default}
        assert (await client.post("/api/v1/microservices/register", json=registration)).status == 200
    body = {"user_identity": "alice"} | ({} if services == "absent" else {"required_services": None})
    created = await (await client.post(CREATE, json=body)).json()
    assert created["missing_services"] == ["asr"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"user_identity": ""}, "user_identity"),
        ({"user_identity": "a#2"}, "user_identity"),
        ({"user_identity": "recorder"}, "user_identity"),
        ({"user_identity": "asr", "required_services": ["asr"]}, "user_identity"),
        ({"user_identity": "asr", "services": {"asr": {}}}, "user_identity"),
        ({"user_identity": "x" * 129}, "user_identity"),
        ({"user_identity": "a\nb"}, "user_identity"),
        ({"user_name": "x" * 257}, "user_name"),
        ({"room_name": ""}, "room_name"),
        ({"room_name": "a#b"}, "room_name"),
        ({"metadata": {"k": "v" * 20000}}, "metadata"),
        ({"required_services": ["a#b"]}, "required_services"),
        ({"required_services": ["recorder"]}, "required_services"),
        ({"required_services": [f"s{n}" for n in range(33)]}, "required_services"),
        ({"wait_s": -1}, "wait_s"),
        ({"wait_s": 301}, "wait_s"),
        ({"expires_in": 0}, "expires_in"),
        ({"expires_in": -5}, "expires_in"),
        ({"max_duration": 0}, "max_duration"),
        ({"max_duration": 1e300}, "max_duration"),
        ({"policy": "harsh"}, "policy"),
        ({"metadata": {"k": 1}}, "metadata.*"),
        ({"required_services": "asr"}, "required_services"),
        ({"required_services": [1]}, "required_services[0]"),
        ({"user_identity": 5}, "user_identity"),
        ({"user_identity": None}, "user_identity"),
    ],
)
async def test_what_cannot_be_is_a_422_that_names_the_field(
    client: ClientSession, fields: dict[str, Any], field: str
) -> None:
    answer = await client.post(CREATE, json={"user_identity": "alice", **fields})
    assert answer.status == 422
    body = await error_of(answer)
    assert body["error"] == "InvalidRequest"
    assert body["message"].startswith("Invalid request: ")
    assert [problem["field"] for problem in body["details"]["fields"]] == [field]


async def test_the_name_of_a_registered_service_is_no_client(client: ClientSession) -> None:
    registration = {"service_id": "asr", "endpoint": "http://127.0.0.1:9"}
    await client.post("/api/v1/microservices/register", json=registration)
    answer = await client.post(CREATE, json={"user_identity": "asr", "required_services": []})
    assert answer.status == 422


async def test_get_gives_one_name_per_thing(world: World, client: ClientSession) -> None:
    created = await world.create(
        client, user_name="Alice", metadata={"a": "b"}, required_services=["asr"], record=True
    )
    session = await get(client, created["session_id"])
    assert session["status"] == "active"
    assert session["room_status"] == "WaitingForServices"
    assert session["recording_status"] == session["recording"]["status"]
    assert session["pending_services"] == session["missing_services"] == ["asr"]
    assert session["ready_services"] == []
    assert session["metadata"] == {"a": "b"}
    assert session["recording"]["tree_size"] == 0
    assert {job["service_id"]: job["state"] for job in session["jobs"]} == {
        "asr": "pending",
        "recorder": "pending",
    }
    for name in ("created_at", "updated_at", "last_activity_at", "expires_at"):
        assert session[name].endswith("Z")
        assert datetime.fromisoformat(session[name]).tzinfo is not None
    assert "jwt" not in str(session)


async def test_terminate_again_is_the_same_answer_and_ends_tokens(
    world: World, client: ClientSession
) -> None:
    session_id = (await world.create(client))["session_id"]
    path = f"/api/v1/sessions/{session_id}"
    for _ in range(2):
        answer = await client.post(f"{path}/terminate")
        assert answer.status == 200
        assert (await answer.json())["end_reason"] == "terminated"
    refused = await client.post(f"{path}/token", json={"user_identity": "alice"})
    assert refused.status == 409
    assert (await error_of(refused))["error"] == "IllegalTransition"
    await until(lambda: world.sessions.live.get(SessionId(session_id)) is None)
    assert (await get(client, session_id))["room_status"] == "Terminated"


async def test_a_token_is_renewed_by_role(world: World, client: ClientSession) -> None:
    created = await world.create(client)
    path = f"/api/v1/sessions/{created['session_id']}/token"
    answer = await client.post(path, json={"user_identity": "op", "role": "operator"})
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert await answer.json() == {
        "access_token": "jwt-operator-op",
        "expires_at": "2026-11-21T12:05:00.000Z",
        "livekit_url": created["livekit_url"],
        "room_name": created["room_name"],
    }
    assert world.mint.grants[-1].can_publish is False


@pytest.mark.parametrize("identity", ["asr", "recorder", "a#1", ""])
async def test_no_token_under_a_workers_name(world: World, client: ClientSession, identity: str) -> None:
    session_id = (await world.create(client, required_services=["asr"]))["session_id"]
    answer = await client.post(f"/api/v1/sessions/{session_id}/token", json={"user_identity": identity})
    assert answer.status == 422


async def test_participants_are_asked_of_livekit_now(world: World, client: ClientSession) -> None:
    created = await world.create(client)
    world.rooms.add_participant(created["room_name"], "bob")
    answer = await client.get(f"/api/v1/sessions/{created['session_id']}/participants")
    found = (await answer.json())["participants"]
    assert [(p["identity"], p["role"]) for p in found] == [("bob", "client")]
    world.rooms.down = True
    answer = await client.get(f"/api/v1/sessions/{created['session_id']}/participants")
    assert (await error_of(answer))["error"] == "LiveKitUnavailable"


async def test_ready_of_a_service_that_nobody_holds_is_a_409(world: World, client: ClientSession) -> None:
    session_id = (await world.create(client, required_services=["asr"]))["session_id"]
    answer = await client.post(f"/api/v1/sessions/{session_id}/ready", json={"service_id": "asr"})
    assert answer.status == 409
    missing = await client.post(f"/api/v1/sessions/{session_id}/ready", json={})
    assert missing.status == 422


async def test_a_wait_that_runs_out_answers_with_the_status_as_it_is(
    world: World, client: ClientSession
) -> None:
    body = {"user_identity": "alice", "required_services": ["asr"], "wait_s": 0.05}
    posting = asyncio.ensure_future(client.post(CREATE, json=body))
    await until(lambda: any("join" in s.deadlines for s in world.sessions.live.all()))
    world.clock.advance(1)
    answer = await posting
    assert answer.status == 200
    assert (await answer.json())["status"] == "WaitingForServices"


async def test_strict_that_ends_the_session_while_the_caller_waits_is_a_408(
    world: World, client: ClientSession
) -> None:
    body = {"user_identity": "alice", "required_services": ["asr"], "wait_s": 10, "policy": "strict"}
    posting = asyncio.ensure_future(client.post(CREATE, json=body))
    await until(lambda: any("join" in s.deadlines for s in world.sessions.live.all()))
    await asyncio.sleep(0.02)  # the caller has seen that commit, and waits for the next one
    world.clock.advance(61)
    await world.orchestrator.deadlines.sweep()
    answer = await posting
    assert answer.status == 408
    problem = await error_of(answer)
    assert problem["error"] == "Timeout"
    assert problem["details"]["missing_services"] == ["asr"]
    assert (await get(client, problem["details"]["session_id"]))["end_reason"] == "services_timeout"


async def stream_of(client: ClientSession, **fields: Any) -> list[str]:
    headers = {"Accept": "text/event-stream"}
    answer = await client.post(
        "/api/v1/sessions",
        json={"user_identity": "alice", "required_services": [], **fields},
        headers=headers,
    )
    assert answer.status == 200
    assert answer.content_type == "text/event-stream"
    async with asyncio.timeout(5):
        return (await answer.text()).strip().split("\n\n")


async def test_the_streaming_create_tells_the_token_and_then_ready(client: ClientSession) -> None:
    frames = await stream_of(client)
    assert frames[0].startswith('event: session_created\ndata: {"type":"SessionCreated","session_id":')
    assert '"access_token":"jwt-client-alice"' in frames[0]
    assert frames[-1].startswith("event: session_ready\n")
    assert '"all_participants_joined":true' in frames[-1]


async def test_the_streaming_create_says_that_it_waits_and_who_was_missing(
    world: World, client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_routes, "WAITING_S", 0.02)
    streaming = asyncio.ensure_future(stream_of(client, required_services=["asr"]))
    await until(lambda: any("join" in s.deadlines for s in world.sessions.live.all()))
    await asyncio.sleep(0.1)
    world.clock.advance(61)
    await world.orchestrator.deadlines.sweep()
    frames = await streaming
    assert frames[1] == 'event: waiting\ndata: {"status":"waiting_for_participants"}'
    assert len(frames) > 4
    assert '"all_participants_joined":false,"missing_services":["asr"]' in frames[-1]


async def test_the_streaming_create_of_a_session_that_ends_says_error(
    world: World, client: ClientSession
) -> None:
    streaming = asyncio.ensure_future(stream_of(client, required_services=["asr"]))
    await until(lambda: any("join" in s.deadlines for s in world.sessions.live.all()))
    await world.sessions.terminate(world.sessions.live.all()[0].id)
    frames = await streaming
    assert frames[-1].startswith('event: error\ndata: {"type":"Error","session_id":')
    assert "the session ended: terminated" in frames[-1]


async def test_the_streaming_create_refuses_before_it_streams(world: World, client: ClientSession) -> None:
    headers = {"Accept": "text/event-stream"}
    answer = await client.post("/api/v1/sessions", json={"user_identity": ""}, headers=headers)
    assert answer.status == 422
    world.rooms.down = True
    answer = await client.post("/api/v1/sessions", json={"user_identity": "a"}, headers=headers)
    assert answer.status == 502
