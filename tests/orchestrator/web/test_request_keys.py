"""`Idempotency-Key` over HTTP: one session, the same answer, and one sentence for what is no key."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession
from multidict import CIMultiDict

from orchestrator.core.ids import SessionId
from orchestrator.web.request_keys import HEADER, MAX_KEY, fingerprint_of, key_problem
from tests.orchestrator.web.world import World, error_of, until

CREATE = "/api/v1/create-session"
REGISTER = "/api/v1/microservices/register"
BODY = {"user_identity": "alice", "required_services": []}
ASR = {"service_id": "asr", "endpoint": "http://127.0.0.1:8001"}
KEY = {HEADER: "8e03978e-40d5-43dd-bc93-6894a57f9324"}


async def create(
    client: ClientSession, body: dict[str, Any] = BODY, key: str | None = None
) -> dict[str, Any]:
    answer = await client.post(CREATE, json=body, headers=KEY if key is None else {HEADER: key})
    value: dict[str, Any] = await answer.json()
    assert answer.status == 200, value
    return value


async def session_ids(world: World) -> list[str]:
    return [session.id for session in await world.store.open_sessions()]


async def refused(answer: ClientResponse, status: int) -> dict[str, Any]:
    assert answer.status == status
    return await error_of(answer)


async def test_a_repeat_is_the_same_answer_with_a_token_minted_for_it(
    world: World, client: ClientSession
) -> None:
    first = await create(client)
    assert await create(client) == first
    assert await session_ids(world) == [first["session_id"]]
    assert len(world.mint.grants) == 2
    assert world.mint.grants[0] == world.mint.grants[1]


async def test_twenty_at_once_get_one_session(world: World, client: ClientSession) -> None:
    answers = await asyncio.gather(*(create(client) for _ in range(20)))
    assert all(answer == answers[0] for answer in answers)
    assert len(await world.rooms.list_rooms()) == 1


async def test_without_the_header_there_are_two_sessions(world: World, client: ClientSession) -> None:
    for _ in range(2):
        assert (await client.post(CREATE, json=BODY)).status == 200
    assert len(await session_ids(world)) == 2


async def test_the_same_json_in_other_bytes_is_the_same_request(world: World, client: ClientSession) -> None:
    first = await create(client)
    headers = KEY | {"Content-Type": "application/json"}
    text = b'{ "required_services" : [],\n "user_identity" : "al\\u0069ce" }'
    again = await client.post(CREATE, data=text, headers=headers)
    assert (await again.json())["session_id"] == first["session_id"]


async def test_another_body_under_the_key_is_a_422(world: World, client: ClientSession) -> None:
    first = await create(client)
    answer = await client.post(CREATE, json=BODY | {"user_identity": "mallory"}, headers=KEY)
    body = await refused(answer, 422)
    assert body["error"] == "InvalidRequest"
    (problem,) = body["details"]["fields"]
    assert problem["field"] == HEADER
    assert "send a new key" in problem["message"]
    assert await session_ids(world) == [first["session_id"]]


async def test_a_route_has_keys_of_its_own_under_both_of_its_paths(
    world: World, client: ClientSession
) -> None:
    created = await create(client)
    headers = KEY | {"Accept": "text/event-stream"}
    streams = [
        await (await client.post(path, json=BODY, headers=headers)).text()
        for path in ("/api/v1/sessions", "/sessions")
    ]
    assert len(await session_ids(world)) == 2
    (streamed,) = set(await session_ids(world)) - {created["session_id"]}
    for text in streams:
        assert text.startswith("event: session_created\n")
        assert streamed in text
        assert '"access_token":"jwt-client-alice"' in text
        assert "event: session_ready\n" in text


async def test_after_the_end_a_repeat_is_a_409_without_a_token(world: World, client: ClientSession) -> None:
    created = await create(client)
    await client.post(f"/api/v1/sessions/{created['session_id']}/terminate")
    await until(lambda: world.sessions.live.get(SessionId(created["session_id"])) is None)
    minted = len(world.mint.grants)
    answer = await client.post(CREATE, json=BODY, headers=KEY)
    body = await refused(answer, 409)
    assert body["error"] == "KeyOutlived"
    assert body["details"] == {"session_id": created["session_id"]}
    assert "jwt" not in str(body)
    assert len(world.mint.grants) == minted


async def test_a_502_frees_the_key(world: World, client: ClientSession) -> None:
    world.rooms.down = True
    answer = await client.post(CREATE, json=BODY, headers=KEY)
    failed = (await refused(answer, 502))["details"]["session_id"]
    world.rooms.down = False
    assert (await create(client))["session_id"] != failed


async def test_a_422_binds_no_key(client: ClientSession) -> None:
    answer = await client.post(CREATE, json=BODY | {"user_identity": ""}, headers=KEY)
    await refused(answer, 422)
    await create(client)


async def test_terminate_takes_a_key_for_one_session(world: World, client: ClientSession) -> None:
    one, two = await world.create(client), await world.create(client)
    path = "/api/v1/sessions/{}/terminate"
    for where in (path, path, path.removeprefix("/api/v1")):
        answer = await client.post(where.format(one["session_id"]), headers=KEY)
        assert answer.status == 200
        assert (await answer.json())["end_reason"] == "terminated"
    await refused(await client.post(path.format(two["session_id"]), headers=KEY), 422)
    session = await world.sessions.get(SessionId(two["session_id"]))
    assert session.is_live


async def test_register_takes_a_key(world: World, client: ClientSession) -> None:
    for _ in range(2):
        answer = await client.post(REGISTER, json=ASR, headers=KEY)
        assert answer.status == 200
        assert (await answer.json())["message"] == "Microservice registered successfully"
    await refused(await client.post(REGISTER, json=ASR | {"capacity": 2}, headers=KEY), 422)
    assert world.registry.all()[0].registration.capacity is None
    await client.delete("/api/v1/microservices/asr")
    body = await refused(await client.post(REGISTER, json=ASR, headers=KEY), 409)
    assert body["details"] == {"worker_id": "asr"}


async def test_a_route_that_takes_no_key_does_not_look_at_it(world: World, client: ClientSession) -> None:
    path = f"/api/v1/sessions/{(await world.create(client))['session_id']}/token"
    for identity, key in (("a", KEY), ("b", KEY), ("c", {HEADER: ""})):
        answer = await client.post(path, json={"user_identity": identity}, headers=key)
        assert answer.status == 200
        assert (await answer.json())["access_token"] == f"jwt-client-{identity}"


@pytest.mark.parametrize("key", ["a", "~" * MAX_KEY, '"quoted"', "!"])
async def test_what_is_a_key(client: ClientSession, key: str) -> None:
    first = await create(client, key=key)
    assert (await create(client, key=key))["session_id"] == first["session_id"]


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("", "'' is no key"),
        ("two words", "'two words' is no key"),
        ("schlüssel", "is no key"),
        ("x" * (MAX_KEY + 1), "has 256 characters"),
    ],
)
async def test_what_is_no_key_is_one_sentence(
    world: World, client: ClientSession, key: str, words: str
) -> None:
    body = await refused(await client.post(CREATE, json=BODY, headers={HEADER: key}), 422)
    (problem,) = body["details"]["fields"]
    assert problem["field"] == HEADER
    assert words in problem["message"]
    assert problem["message"].endswith("send one of 1 to 255 visible ASCII characters, for instance a UUID")
    assert await session_ids(world) == []


async def test_two_keys_are_none(client: ClientSession) -> None:
    headers = CIMultiDict([(HEADER, "a"), (HEADER, "b")])
    body = await refused(await client.post(CREATE, json=BODY, headers=headers), 422)
    assert "came 2 times" in body["message"]


def test_no_key_is_repeated_at_length() -> None:
    assert key_problem(["ok"]) is None
    assert len(key_problem(["ä" * 200]) or "") < 300


def test_fingerprints_tell_requests_apart() -> None:
    same = [b'{"a":1,"b":[1,2]}', b' {"b" : [1,2], "a":1}\n', b'{"b":[1,2],"\\u0061":1}']
    assert len({fingerprint_of({"id": "1"}, body) for body in same}) == 1
    others = [
        b'{"a":1,"b":[2,1]}',
        b'{"a":"1","b":[1,2]}',
        b'{"a":1}',
        b"{}",
        b"",
        b"null ",
        b"not json",
        b"\xff",
    ]
    prints = [fingerprint_of({}, body) for body in (same[0], *others)]
    assert len(set(prints)) == len(prints) - 1  # no body and null are the same
    assert fingerprint_of({"id": "1"}, b"{}") != fingerprint_of({"id": "2"}, b"{}")
    assert fingerprint_of({}, b"[" * 100_000) != fingerprint_of({}, b"[" * 100_001)
