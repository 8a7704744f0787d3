"""The HTTP side: who may come in, what pages of elsewhere may do, and which paths there are."""

from __future__ import annotations

import asyncio
import base64
import io

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from livekit import api
from livekit.protocol import models, rtc
from pytest_aiohttp.plugin import AiohttpClient

from engine import app as engine_app
from engine.app import make_app
from engine.limits import JoinRefusedError
from engine.participants import Participant
from engine.rooms import Rooms
from engine.tokens import Claims
from tests.engine.clients import KEY, World, connect, seen


@pytest.fixture
def world() -> World:
    return World()


async def greet(request: web.Request, rooms: Rooms, claims: Claims) -> web.StreamResponse:
    """Stand in for signalling: accept, say who it is, and end; refuse eve."""
    if claims.identity == "eve":
        raise JoinRefusedError(503, "room tea is full")
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_str(claims.identity)
    await socket.close()
    return socket


@pytest.fixture
async def client(world: World, aiohttp_client: AiohttpClient) -> TestClient[web.Request, web.Application]:
    return await aiohttp_client(make_app(world.rooms, KEY, greet))


Client = TestClient[web.Request, web.Application]


def token(identity: str = "ada", **grants: object) -> str:
    said = api.AccessToken(KEY.api_key, KEY.api_secret)
    if identity:
        said = said.with_identity(identity)
    return said.with_grants(api.VideoGrants(**grants)).to_jwt()  # type: ignore[arg-type]


def bearer(identity: str = "ada", **grants: object) -> dict[str, str]:
    said = {"room_join": True, "room": "tea", **grants}
    return {"Authorization": f"Bearer {token(identity, **said)}"}


async def test_it_says_ok(client: Client) -> None:
    answer = await client.get("/")
    assert (answer.status, await answer.text()) == (200, "OK")


async def test_validation_tells_why_as_livekit_does(client: Client, world: World) -> None:
    assert (await client.get("/rtc/validate", headers=bearer())).status == 404
    world.room()
    packed = base64.urlsafe_b64encode(
        rtc.WrappedJoinRequest(join_request=b"\x1a\x01m").SerializeToString()
    ).decode()
    cases = [
        ("/rtc/validate", bearer(), 200, "success"),
        (f"/rtc/validate?access_token={token(room_join=True, room='tea')}", {}, 200, "success"),
        (f"/rtc/v1/validate?join_request={packed}", bearer(can_update_own_metadata=True), 200, "success"),
        (f"/rtc/v1/validate?join_request={packed}", bearer(), 401, "no canUpdateOwnMetadata"),
        ("/rtc/v1/validate?join_request=abc", bearer(), 400, "no base64url of a WrappedJoinRequest"),
        ("/rtc/v1/validate", bearer(), 400, "join_request is required"),
        ("/rtc/validate", {}, 401, "no permissions to access the room"),
        ("/rtc/validate", {"Authorization": "Bearer abc"}, 401, "invalid authorization token"),
        ("/rtc/validate", {"Authorization": "Basic abc"}, 401, "Must start with Bearer"),
        ("/rtc/validate", bearer(room_join=False), 401, "permissions denied"),
        ("/rtc/validate", bearer(room="other"), 404, "requested room does not exist"),
        ("/rtc/validate", bearer("a" * 257), 400, "256"),
        ("/rtc/validate", bearer(can_publish_sources=["door"]), 401, "'door'"),
    ]
    for path, headers, status, text in cases:
        answer = await client.get(path, headers=headers)
        said = await answer.text()
        assert (answer.status, text in said) == (status, True), (path, status, said)
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "eyJ" not in said


@pytest.mark.parametrize("path", ["/rtc", "/rtc/v1"])
async def test_sockets_are_for_those_with_a_token_and_a_room(client: Client, world: World, path: str) -> None:
    world.room()
    async with client.ws_connect(path, headers=bearer()) as socket:
        assert await socket.receive_str() == "ada"
    for headers, status in [({}, 401), (bearer(room="other"), 404), (bearer("eve"), 503)]:
        upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", **headers}
        assert (await client.get(path, headers=upgrade)).status == status
    assert (await client.get(path, headers=bearer())).status == 404  # not a WebSocket


async def test_pages_of_any_origin_may_ask(client: Client) -> None:
    wanted = {
        "Origin": "http://page.test",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    answer = await client.options("/twirp/livekit.RoomService/CreateRoom", headers=wanted)
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "http://page.test"
    assert answer.headers["Access-Control-Allow-Methods"] == "POST"
    assert answer.headers["Access-Control-Allow-Headers"] == "authorization,content-type"


async def test_what_does_not_exist_is_404_and_agents_are_refused_with_a_sentence(client: Client) -> None:
    assert (await client.get("/nothing")).status == 404
    agent = await client.get("/agent")
    assert (agent.status, "dispatches no agents" in await agent.text()) == (501, True)


async def test_a_body_beyond_the_limit_is_refused(client: Client) -> None:
    headers = {"Content-Type": "application/json", **bearer(room_list=True)}
    body = io.BytesIO(b" " * (engine_app.MOST_BODY + 1))
    answer = await client.post("/twirp/livekit.RoomService/ListRooms", data=body, headers=headers)
    assert answer.status == 413


async def test_who_gets_in_is_handed_a_renewed_token_at_once_but_after_the_answer(
    world: World, aiohttp_client: AiohttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_app, "SWEEP_EVERY_S", 60.0)
    world.room()
    joined: list[Participant] = []

    async def join(request: web.Request, rooms: Rooms, claims: Claims) -> web.StreamResponse:
        ada = rooms.room_to_join(claims).join(claims, connect, client=models.ClientInfo())
        ada.connection.send(rtc.SignalResponse(join=rtc.JoinResponse()))
        joined.append(ada)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.close()
        return socket

    client = await aiohttp_client(make_app(world.rooms, KEY, join))
    async with client.ws_connect("/rtc", headers=bearer()) as socket:
        await socket.receive()
    sent = seen(joined[0]).sent
    assert [one.WhichOneof("message") for one in sent] == ["join", "refresh_token"]


async def test_rooms_end_while_it_runs(
    world: World, aiohttp_client: AiohttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_app, "SWEEP_EVERY_S", 0.01)
    await aiohttp_client(make_app(world.rooms, KEY, greet))
    world.room(empty_timeout=5)
    world.time += 5
    async with asyncio.timeout(30):
        while list(world.rooms):
            await asyncio.sleep(0.01)
    assert world.names() == ["room_started", "room_finished"]
