"""The LiveKit client on its own: addresses, kept tokens, deadlines, and errors that pass no text through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import jwt
import pytest
from aiohttp import web
from livekit.protocol import models
from livekit.protocol import room as rooms_proto

from orchestrator.adapters.livekit_rooms import (
    LivekitRooms,
    api_url,
    connect_url,
    read_owner,
    read_participant,
    room_metadata,
)
from orchestrator.core.errors import RoomServerError, RoomServerUnavailableError
from orchestrator.core.ids import Identity, RoomName, SessionId

KEY, SECRET = "key", "s" * 40
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Answers every call as the test says, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answer: Answer = self._nothing
        self.requests: list[tuple[str, bytes, str]] = []
        self.connections: set[object] = set()
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append((request.path, body, request.headers["Authorization"]))
        self.connections.add(request.transport)
        return await self.answer(request)

    def always(self, status: int, body: bytes = b"", **headers: str) -> None:
        async def answer(_: web.Request) -> web.StreamResponse:
            return web.Response(status=status, body=body, headers=headers)

        self.answer = answer

    async def _nothing(self, _: web.Request) -> web.StreamResponse:
        return web.Response()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.url = f"ws://{host}:{port}"
    yield server
    await runner.cleanup()


@asynccontextmanager
async def client(url: str, *, timeout_s: float = 5.0) -> AsyncIterator[LivekitRooms]:
    rooms = LivekitRooms(
        url,
        api_key=KEY,
        api_secret=SECRET,
        deployment_id="d1",
        empty_timeout_s=420,
        departure_timeout_s=421,
        max_participants=7,
        timeout_s=timeout_s,
    )
    await rooms.open()
    try:
        yield rooms
    finally:
        await rooms.close()


@pytest.mark.parametrize(
    ("given", "api", "connect"),
    [
        ("ws://127.0.0.1:7880", "http://127.0.0.1:7880", "ws://127.0.0.1:7880"),
        ("wss://a.example/", "https://a.example", "wss://a.example"),
        ("http://a.example:80/base/", "http://a.example:80/base", "ws://a.example:80/base"),
        ("https://a.example", "https://a.example", "wss://a.example"),
    ],
)
def test_addresses(given: str, api: str, connect: str) -> None:
    assert api_url(given) == api
    assert connect_url(given) == connect


async def test_a_room_is_made_with_our_timeouts_and_metadata(server: Server) -> None:
    async with client(server.url) as rooms:
        await rooms.create_room(RoomName("r"), SessionId("s1"))
    path, body, _ = server.requests[0]
    assert path == "/twirp/livekit.RoomService/CreateRoom"
    request = rooms_proto.CreateRoomRequest.FromString(body)
    assert (request.name, request.empty_timeout, request.departure_timeout) == ("r", 420, 421)
    assert request.max_participants == 7
    assert request.metadata == '{"greenroom":{"deployment":"d1","session":"s1"}}'


async def test_one_connection_and_one_token_serve_many_calls(server: Server) -> None:
    async with client(server.url) as rooms:
        for n in range(5):
            await rooms.create_room(RoomName(f"r{n}"), SessionId("s1"))
        await rooms.list_rooms()
        await rooms.delete_room(RoomName("r1"))
    assert len(server.connections) == 1
    assert len({token for _, _, token in server.requests}) == 1


async def test_a_rooms_participants_need_a_token_of_that_room(server: Server) -> None:
    async with client(server.url) as rooms:
        for name in ("a", "b", "a"):
            await rooms.list_participants(RoomName(name))
            await rooms.remove_participant(RoomName(name), Identity("x"))
    tokens = [token for _, _, token in server.requests]
    grants = [
        jwt.decode(token.removeprefix("Bearer "), SECRET, algorithms=["HS256"])["video"] for token in tokens
    ]
    assert [grant["room"] for grant in grants] == ["a", "a", "b", "b", "a", "a"]
    assert all(grant["roomAdmin"] for grant in grants)
    assert len(set(tokens)) == 2


async def test_a_token_is_signed_anew_after_two_thirds_of_its_life(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("orchestrator.adapters.livekit_rooms.time.monotonic", lambda: now)
    async with client(server.url) as rooms:
        await rooms.list_rooms()
        kept = dict(rooms._headers)
        now += 399
        await rooms.list_rooms()
        assert rooms._headers == kept
        now += 2
        await rooms.list_rooms()
        assert rooms._headers[""][1] == now + 400


async def test_a_server_that_is_away(unused_tcp_port: int) -> None:
    async with client(f"ws://127.0.0.1:{unused_tcp_port}") as rooms:
        with pytest.raises(RoomServerUnavailableError, match="cannot be reached for CreateRoom"):
            await rooms.create_room(RoomName("r"), SessionId("s1"))


async def test_a_server_that_is_silent(server: Server) -> None:
    release = asyncio.Event()

    async def wait(_: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response()

    server.answer = wait
    async with client(server.url, timeout_s=0.05) as rooms:
        with pytest.raises(RoomServerUnavailableError, match=r"did not answer ListRooms within 0\.05 s"):
            await rooms.list_rooms()
    release.set()


async def test_a_server_that_hangs_up(server: Server) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    server.answer = cut
    async with client(server.url) as rooms:
        with pytest.raises(RoomServerUnavailableError):
            await rooms.list_rooms()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, RoomServerError),
        (401, RoomServerError),
        (403, RoomServerError),
        (404, RoomServerError),
        (302, RoomServerError),
        (408, RoomServerError),
        (429, RoomServerUnavailableError),
        (500, RoomServerUnavailableError),
        (503, RoomServerUnavailableError),
    ],
)
async def test_refusals_are_ours_and_hold_none_of_theirs(
    server: Server, status: int, error: type[RoomServerError]
) -> None:
    secret = "eyJhbGciOi.the.token"
    body = f'{{"code":"whatever","msg":"invalid token: {secret}"}}'.encode()
    server.always(status, body, Location="http://169.254.169.254/")
    async with client(server.url) as rooms:
        with pytest.raises(RoomServerError) as caught:
            await rooms.delete_room(RoomName("r"))
    assert type(caught.value) is error
    assert secret not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert len(server.requests) == 1  # neither repeated nor redirected


async def test_not_found_is_done(server: Server) -> None:
    server.always(404, b'{"code":"not_found","msg":"requested room does not exist"}')
    async with client(server.url) as rooms:
        await rooms.delete_room(RoomName("r"))
        await rooms.remove_participant(RoomName("r"), Identity("x"))
        assert await rooms.list_participants(RoomName("r")) == []
        with pytest.raises(RoomServerError):
            await rooms.list_rooms()


@pytest.mark.parametrize("body", [b"<html>welcome</html>", b"\xff" * 9])
async def test_something_else_answers_on_that_port(server: Server, body: bytes) -> None:
    server.always(200, body)
    async with client(server.url) as rooms:
        with pytest.raises(RoomServerError, match=r"is not LiveKit; check livekit\.server_url"):
            await rooms.list_rooms()


async def test_who_is_disconnected_is_not_there(server: Server) -> None:
    states = models.ParticipantInfo.State
    answer = rooms_proto.ListParticipantsResponse(
        participants=[
            models.ParticipantInfo(identity=str(state), sid=f"PA_{state}", state=state)
            for state in (states.JOINING, states.JOINED, states.ACTIVE, states.DISCONNECTED)
        ]
    )
    server.always(200, answer.SerializeToString())
    async with client(server.url) as rooms:
        found = await rooms.list_participants(RoomName("r"))
    assert [p.identity for p in found] == ["0", "1", "2"]


async def test_before_open_it_says_so() -> None:
    rooms = LivekitRooms(
        "ws://127.0.0.1:1",
        api_key=KEY,
        api_secret=SECRET,
        deployment_id="d1",
        empty_timeout_s=1,
        departure_timeout_s=1,
        max_participants=1,
    )
    with pytest.raises(RoomServerUnavailableError, match="not open"):
        await rooms.list_rooms()
    await rooms.close()


@pytest.mark.parametrize(
    "metadata",
    [
        "",
        "hello",
        "null",
        "[]",
        "{}",
        '{"greenroom":7}',
        '{"greenroom":{"deployment":7}}',
        "[" * 100_000,
        '{"x":' * 100_000,
    ],
)
def test_rooms_of_others_have_no_owner(metadata: str) -> None:
    assert read_owner(metadata) == ("", "")


async def test_an_unreadable_refusal_is_a_refusal(server: Server) -> None:
    async with client(server.url) as rooms:
        for body in (b'{"code":"\xff"}', b"[" * 100_000, b'{"x":' * 100_000):
            server.always(404, body)
            with pytest.raises(RoomServerError, match="refused DeleteRoom with status 404"):
                await rooms.delete_room(RoomName("r"))


def test_our_rooms_have_one() -> None:
    assert read_owner(room_metadata("d1", "s1")) == ("d1", "s1")


@pytest.mark.parametrize(
    ("attributes", "role", "attempt"),
    [
        ({}, "client", 0),
        ({"greenroom.role": "client", "greenroom.service": "asr", "greenroom.attempt": "1"}, "client", 0),
        ({"greenroom.role": "operator"}, "operator", 0),
        ({"greenroom.role": "worker", "greenroom.service": "asr", "greenroom.attempt": "12"}, "worker", 12),
        ({"greenroom.role": "worker", "greenroom.service": "asr", "greenroom.attempt": "²"}, "client", 0),
        (
            {"greenroom.role": "worker", "greenroom.service": "asr", "greenroom.attempt": "9" * 9999},
            "client",
            0,
        ),
        ({"greenroom.role": "worker", "greenroom.service": "asr", "greenroom.attempt": "-1"}, "client", 0),
        ({"greenroom.role": "worker", "greenroom.attempt": "1"}, "client", 0),
        ({"greenroom.role": "admin", "greenroom.service": "asr", "greenroom.attempt": "1"}, "client", 0),
    ],
)
def test_who_has_no_role_of_ours_is_a_client(attributes: dict[str, str], role: str, attempt: int) -> None:
    info = models.ParticipantInfo(identity="i", sid="PA_1", attributes=attributes)
    found = read_participant(info)
    assert (found.identity, found.sid, found.role, found.attempt) == ("i", "PA_1", role, attempt)
    assert found.service_id == ("asr" if role == "worker" else None)


@pytest.mark.parametrize(
    ("attributes", "grant", "session_id"),
    [
        ({}, 0, ""),
        ({"greenroom.role": "client", "greenroom.grant": "7", "greenroom.session": "s1"}, 7, "s1"),
        ({"greenroom.grant": "-7"}, 0, ""),
        ({"greenroom.grant": "9" * 10}, 0, ""),
    ],
)
def test_a_participant_says_which_grant_of_which_session_it_has(
    attributes: dict[str, str], grant: int, session_id: str
) -> None:
    found = read_participant(models.ParticipantInfo(identity="i", sid="PA_1", attributes=attributes))
    assert (found.grant, found.session_id) == (grant, session_id)
