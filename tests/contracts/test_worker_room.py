"""One suite for the worker's room connection: LiveKit's SDK in a real room, and the fake that authors use."""

from __future__ import annotations

import asyncio
import logging
import socket
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import pytest
from livekit import api

from sdk.errors import RoomJoinError
from sdk.fake_room import FAKE_URL, FakeRooms, fake_token
from sdk.lifecycle import LeftBecause
from sdk.ports import Grant, RoomLink
from sdk.room import LiveKitRoom

BAD_SECRET = "another-secret-of-more-than-32-letters"


class RoomServer(Protocol):
    """What the suite does to a media server."""

    def link(self) -> RoomLink: ...
    def grant(self, room: str, identity: str) -> Grant: ...
    def bad_grant(self, room: str) -> Grant: ...
    def unreachable(self, room: str) -> Grant: ...
    def silent(self, room: str) -> Grant: ...
    async def create(self, room: str) -> None: ...
    async def delete(self, room: str) -> None: ...
    async def remove(self, room: str, identity: str) -> None: ...
    async def identities(self, room: str) -> set[str]: ...


class FakeServer:
    """`FakeRooms` in the suite's words."""

    def __init__(self) -> None:
        self.rooms = FakeRooms()
        self.rooms.is_down = self.rooms.is_hanging = False

    def link(self) -> RoomLink:
        return self.rooms.link()

    def grant(self, room: str, identity: str) -> Grant:
        return Grant(livekit_url=FAKE_URL, access_token=fake_token(room, identity))

    def bad_grant(self, room: str) -> Grant:
        return Grant(livekit_url=FAKE_URL, access_token="not a token")

    def unreachable(self, room: str) -> Grant:
        self.rooms.is_down = True
        return self.grant(room, "worker")

    def silent(self, room: str) -> Grant:
        self.rooms.is_hanging = True
        return self.grant(room, "worker")

    async def create(self, room: str) -> None:
        self.rooms.create(room)

    async def delete(self, room: str) -> None:
        self.rooms.delete(room)

    async def remove(self, room: str, identity: str) -> None:
        self.rooms.remove(room, identity)

    async def identities(self, room: str) -> set[str]:
        return set(self.rooms.participants(room))


class LiveKitServer:
    """A media server in the suite's words."""

    def __init__(self, server: Any, lkapi: api.LiveKitAPI, silent_port: int) -> None:
        self._server = server
        self._api = lkapi
        self._silent_port = silent_port

    def link(self) -> RoomLink:
        return LiveKitRoom()

    def grant(self, room: str, identity: str) -> Grant:
        return Grant(
            livekit_url=self._server.url, access_token=self._token(room, identity, self._server.api_secret)
        )

    def bad_grant(self, room: str) -> Grant:
        return Grant(livekit_url=self._server.url, access_token=self._token(room, "worker", BAD_SECRET))

    def unreachable(self, room: str) -> Grant:
        return Grant(livekit_url="ws://127.0.0.1:9", access_token=self.grant(room, "worker").access_token)

    def silent(self, room: str) -> Grant:
        url = f"ws://127.0.0.1:{self._silent_port}"
        return Grant(livekit_url=url, access_token=self.grant(room, "worker").access_token)

    async def create(self, room: str) -> None:
        await self._api.room.create_room(
            api.CreateRoomRequest(name=room, empty_timeout=60, departure_timeout=60)
        )

    async def delete(self, room: str) -> None:
        await self._api.room.delete_room(api.DeleteRoomRequest(room=room))

    async def remove(self, room: str, identity: str) -> None:
        await self._api.room.remove_participant(api.RoomParticipantIdentity(room=room, identity=identity))

    async def identities(self, room: str) -> set[str]:
        answer = await self._api.room.list_participants(api.ListParticipantsRequest(room=room))
        return {participant.identity for participant in answer.participants}

    def _token(self, room: str, identity: str, secret: str) -> str:
        grants = api.VideoGrants(room_join=True, room=room)
        token = api.AccessToken(self._server.api_key, secret).with_identity(identity)
        return str(token.with_grants(grants).to_jwt())


@pytest.fixture(params=["fake", pytest.param("livekit", marks=pytest.mark.integration)])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[RoomServer]:
    if request.param == "fake":
        yield FakeServer()
        return
    livekit = request.getfixturevalue("livekit_server")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # takes connections and never answers
        async with api.LiveKitAPI(
            livekit.url.replace("ws", "http", 1), livekit.api_key, livekit.api_secret
        ) as lkapi:
            yield LiveKitServer(livekit, lkapi, silent.getsockname()[1])


@pytest.fixture
async def room(server: RoomServer) -> AsyncIterator[str]:
    name = f"contract-{uuid.uuid4()}"
    await server.create(name)
    yield name
    await server.delete(name)


@pytest.fixture
async def links(server: RoomServer) -> AsyncIterator[Callable[[], RoomLink]]:
    made: list[RoomLink] = []

    def make() -> RoomLink:
        made.append(server.link())
        return made[-1]

    yield make
    for link in made:
        await link.disconnect(timeout_s=5)


async def until(is_true: Callable[[], bool], within_s: float = 10) -> None:
    async with asyncio.timeout(within_s):
        while not is_true():
            await asyncio.sleep(0.02)


async def here(server: RoomServer, room: str, expected: set[str]) -> None:
    async with asyncio.timeout(10):
        while await server.identities(room) != expected:
            await asyncio.sleep(0.05)


Links = Callable[[], RoomLink]


async def test_join_and_leave(server: RoomServer, room: str, links: Links) -> None:
    link = links()
    assert not link.is_connected
    grant = server.grant(room, "worker")
    await link.connect(grant, timeout_s=10)
    assert link.is_connected
    assert link.room.name == room
    assert link.room.local_participant.identity == "worker"
    assert link.refreshed_token
    await here(server, room, {"worker"})
    heard: list[LeftBecause] = []
    link.on_left = heard.append
    await link.disconnect(timeout_s=5)
    assert not link.is_connected
    await here(server, room, set())
    await link.disconnect(timeout_s=5)
    assert (heard, link.left_because) == ([], None)


async def test_a_refused_token_is_said_without_the_token(
    server: RoomServer, room: str, links: Links, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    grant = server.bad_grant(room)
    with pytest.raises(RoomJoinError) as caught:
        await links().connect(grant, timeout_s=10)
    assert caught.value.refused
    error: BaseException | None = caught.value
    while error is not None:
        assert grant.access_token not in str(error) + repr(error)
        error = error.__cause__ or error.__context__
    assert grant.access_token not in caplog.text
    assert grant.access_token not in repr(grant)


async def test_a_room_that_is_not_there(server: RoomServer, links: Links) -> None:
    with pytest.raises(RoomJoinError, match="does not know the room") as caught:
        await links().connect(server.grant(f"none-{uuid.uuid4()}", "worker"), timeout_s=10)
    assert not caught.value.refused


async def test_a_server_that_is_not_there(server: RoomServer, room: str, links: Links) -> None:
    with pytest.raises(RoomJoinError, match="cannot be reached") as caught:
        await links().connect(server.unreachable(room), timeout_s=10)
    assert not caught.value.refused


async def test_a_server_that_does_not_answer(server: RoomServer, room: str, links: Links) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(RoomJoinError, match="within 1 s"):
        await links().connect(server.silent(room), timeout_s=1)
    assert loop.time() - began < 2


async def test_a_join_that_is_given_up_leaves_nobody_behind(
    server: RoomServer, room: str, links: Links
) -> None:
    link = links()
    joining = asyncio.create_task(link.connect(server.grant(room, "worker"), timeout_s=10))
    await asyncio.sleep(0)  # it is under way
    joining.cancel()
    with pytest.raises(asyncio.CancelledError):
        await joining
    await asyncio.sleep(0.5)
    await here(server, room, set())


async def test_who_is_removed_is_told_so(server: RoomServer, room: str, links: Links) -> None:
    link, heard = links(), list[LeftBecause]()
    link.on_left = heard.append
    await link.connect(server.grant(room, "worker"), timeout_s=10)
    await server.remove(room, "worker")
    await until(lambda: heard == [LeftBecause.REMOVED])
    assert not link.is_connected
    assert link.left_because is LeftBecause.REMOVED


async def test_the_same_identity_replaces_the_older(server: RoomServer, room: str, links: Links) -> None:
    older, newer, heard = links(), links(), list[LeftBecause]()
    older.on_left = heard.append
    await older.connect(server.grant(room, "worker"), timeout_s=10)
    await newer.connect(server.grant(room, "worker"), timeout_s=10)
    await until(lambda: heard == [LeftBecause.REMOVED])
    assert newer.is_connected


async def test_a_deleted_room_is_closed(server: RoomServer, links: Links) -> None:
    name = f"contract-{uuid.uuid4()}"
    await server.create(name)
    link, heard = links(), list[LeftBecause]()
    link.on_left = heard.append
    await link.connect(server.grant(name, "worker"), timeout_s=10)
    await server.delete(name)
    await until(lambda: heard == [LeftBecause.CLOSED])


async def test_an_author_who_leaves_by_the_room_object(server: RoomServer, room: str, links: Links) -> None:
    link, heard = links(), list[LeftBecause]()
    link.on_left = heard.append
    await link.connect(server.grant(room, "worker"), timeout_s=10)
    await link.room.disconnect()
    await until(lambda: heard == [LeftBecause.CLOSED])


async def test_the_same_room_object_joins_again_with_its_callbacks(
    server: RoomServer, room: str, links: Links
) -> None:
    link, other, got = links(), links(), list[bytes]()
    link.room.on("data_received", lambda packet: got.append(packet.data))
    before = link.room
    await link.connect(server.grant(room, "worker"), timeout_s=10)
    await server.remove(room, "worker")
    await until(lambda: link.left_because is not None)  # told a moment after it is no longer connected
    await link.connect(server.grant(room, "worker"), timeout_s=10)
    assert link.left_because is None
    assert link.room is before
    await other.connect(server.grant(room, "alice"), timeout_s=10)
    await other.room.local_participant.publish_data(b"hello", topic="t", destination_identities=["worker"])
    await until(lambda: got == [b"hello"])


async def test_data_goes_to_whom_it_is_addressed(server: RoomServer, room: str, links: Links) -> None:
    worker, alice, bob = links(), links(), links()
    got: dict[str, list[tuple[bytes, str | None]]] = {"alice": [], "bob": []}
    for link, name in ((worker, "worker"), (alice, "alice"), (bob, "bob")):
        await link.connect(server.grant(room, name), timeout_s=10)
    alice.room.on("data_received", lambda packet: got["alice"].append((packet.data, packet.topic)))
    bob.room.on("data_received", lambda packet: got["bob"].append((packet.data, packet.topic)))
    send = worker.room.local_participant.publish_data
    await send("only alice", topic="a", destination_identities=["alice"])
    await send(b"everybody", topic="b")
    await until(lambda: len(got["alice"]) == 2 and len(got["bob"]) == 1)
    assert got == {"alice": [(b"only alice", "a"), (b"everybody", "b")], "bob": [(b"everybody", "b")]}
