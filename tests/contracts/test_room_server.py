"""What every room server promises: the fake always, both media servers under `-m integration`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest
from livekit import rtc

from orchestrator.adapters.livekit_rooms import LivekitRooms
from orchestrator.adapters.livekit_tokens import LivekitTokens
from orchestrator.core.errors import RoomServerUnavailableError
from orchestrator.core.grants import Grant, client_grant, operator_grant, recorder_grant, worker_grant
from orchestrator.core.ids import Identity, JobId, RoomName, ServiceId, SessionId
from orchestrator.core.triggers import Participant
from orchestrator.ports import RoomServer
from tests.fakes.rooms import FakeRooms
from tests.integration.servers import SharedLiveKit

DEPLOYMENT = "deployment-of-the-suite"
LAG_S = 10.0  # LiveKit's lists may be a little behind a join or a leave
# Fixtures of servers. What our fake promises has to be true of LiveKit; agent dispatch only LiveKit has.
REAL = pytest.param("real_livekit_server", marks=pytest.mark.integration)
SERVERS = ["fake", pytest.param("livekit_server", marks=pytest.mark.integration), REAL]
dispatching = pytest.mark.parametrize("rooms", ["fake", REAL], indirect=True)


class Rooms:
    """A room server and a way into its rooms."""

    def __init__(self, server: RoomServer, join: Callable[[Grant], Awaitable[None]]) -> None:
        self.server = server
        self.join = join

    async def seen(self, name: RoomName, count: int) -> list[Participant]:
        """Give the participants once there are so many."""
        until = time.monotonic() + LAG_S
        while True:
            found = await self.server.list_participants(name)
            if len(found) == count:
                return sorted(found, key=lambda participant: participant.identity)
            assert time.monotonic() < until, f"{len(found)} participants, not {count}"
            await asyncio.sleep(0.05)


@pytest.fixture(params=SERVERS)
async def rooms(request: pytest.FixtureRequest) -> AsyncIterator[Rooms]:
    if request.param == "fake":
        fake = FakeRooms(deployment_id=DEPLOYMENT)

        async def join_fake(grant: Grant) -> None:
            fake.add_participant(
                grant.room_name,
                grant.identity,
                service_id=grant.service_id,
                attempt=grant.attempt,
                role=grant.role,
                grant=grant.number,
                session_id=grant.session_id or "",
            )

        await fake.open()
        yield Rooms(fake, join_fake)
        await fake.close()
        return
    async with AsyncExitStack() as stack:
        livekit: SharedLiveKit = request.getfixturevalue(request.param)
        tokens = LivekitTokens(api_key=livekit.api_key, api_secret=livekit.api_secret, ttl_s=60)

        async def join(grant: Grant) -> None:
            room = rtc.Room()
            await asyncio.wait_for(room.connect(livekit.url, tokens.mint(grant).jwt), timeout=20)
            stack.push_async_callback(room.disconnect)

        server = make_livekit_rooms(livekit)
        await server.open()
        stack.push_async_callback(server.close)
        yield Rooms(server, join)


def make_livekit_rooms(livekit: SharedLiveKit, *, deployment_id: str = DEPLOYMENT) -> LivekitRooms:
    return LivekitRooms(
        livekit.url,
        api_key=livekit.api_key,
        api_secret=livekit.api_secret,
        deployment_id=deployment_id,
        empty_timeout_s=60,
        departure_timeout_s=60,
        max_participants=9,
    )


@pytest.fixture
async def name(rooms: Rooms) -> AsyncIterator[RoomName]:
    """Give the name of a room that is gone after the test."""
    name = RoomName(f"suite ü/{uuid4()}")
    yield name
    await rooms.server.delete_room(name)


async def test_a_room_says_whose_it_is(rooms: Rooms, name: RoomName) -> None:
    made = await rooms.server.create_room(name, SessionId("s1"))
    assert (made.name, made.deployment_id, made.session_id) == (name, DEPLOYMENT, "s1")
    assert made.sid
    assert await rooms.server.list_rooms((name,)) == [made]
    assert made in await rooms.server.list_rooms()


async def test_creating_again_gives_the_room_that_exists(rooms: Rooms, name: RoomName) -> None:
    made = await rooms.server.create_room(name, SessionId("s1"))
    assert await rooms.server.create_room(name, SessionId("s1")) == made
    assert await rooms.server.create_room(name, SessionId("s2")) == made  # the first owner's


async def test_a_room_made_after_its_deletion_is_another(rooms: Rooms, name: RoomName) -> None:
    first = await rooms.server.create_room(name, SessionId("s1"))
    await rooms.server.delete_room(name)
    assert await rooms.server.list_rooms((name,)) == []
    second = await rooms.server.create_room(name, SessionId("s2"))
    assert second.sid != first.sid
    assert second.session_id == "s2"


async def test_what_is_not_there_is_deleted_empty_and_out(rooms: Rooms, name: RoomName) -> None:
    await rooms.server.delete_room(name)
    assert await rooms.server.list_rooms((name,)) == []
    assert await rooms.server.list_participants(name) == []
    await rooms.server.remove_participant(name, Identity("nobody"))
    await rooms.server.create_room(name, SessionId("s1"))
    assert await rooms.server.list_participants(name) == []
    await rooms.server.remove_participant(name, Identity("nobody"))
    await rooms.server.delete_room(name)
    await rooms.server.delete_room(name)


async def test_participants_are_who_we_minted_them_for(rooms: Rooms, name: RoomName) -> None:
    await rooms.server.create_room(name, SessionId("s1"))
    grants = [
        client_grant(name, Identity("anna@example.org"), "Anna", session_id=SessionId("s1"), number=3),
        operator_grant(name, Identity("operator"), "Olga"),
        recorder_grant(name, ServiceId("recorder"), 1),
        worker_grant(name, ServiceId("transcribe"), 2, session_id=SessionId("s1")),
    ]
    await asyncio.gather(*map(rooms.join, grants))
    found = await rooms.seen(name, 4)
    assert [(p.identity, p.role, p.service_id, p.attempt) for p in found] == [
        ("anna@example.org", "client", None, 0),
        ("operator", "operator", None, 0),
        ("recorder", "recorder", "recorder", 1),
        ("transcribe#2", "worker", "transcribe", 2),
    ]
    assert [(p.grant, p.session_id) for p in found] == [(3, "s1"), (0, ""), (0, ""), (0, "s1")]
    assert len({participant.sid for participant in found} - {""}) == 4


async def test_who_is_removed_is_out_and_only_they(rooms: Rooms, name: RoomName) -> None:
    await rooms.server.create_room(name, SessionId("s1"))
    for identity in ("anna", "bert"):
        await rooms.join(client_grant(name, Identity(identity), ""))
    await rooms.seen(name, 2)
    await rooms.server.remove_participant(name, Identity("anna"))
    assert [p.identity for p in await rooms.seen(name, 1)] == ["bert"]
    await rooms.server.delete_room(name)
    await rooms.seen(name, 0)


@dispatching
async def test_a_dispatch_says_whose_it_is_until_it_is_deleted(rooms: Rooms, name: RoomName) -> None:
    server = rooms.server
    await server.create_room(name, SessionId("s1"))
    before = await server.list_dispatches(name)  # LiveKit has one of its own, for agents without a name
    assert {dispatch.job_id for dispatch in before} <= {""}
    for attempt in (1, 2):
        await server.create_dispatch(name, "nobody", job_id=JobId("s1-1"), attempt=attempt, metadata="{}")
    ours = [d for d in await server.list_dispatches(name) if d.job_id]
    found = sorted((d.attempt, d.agent_name, d.job_id, d.identities) for d in ours)
    assert found == [(1, "nobody", "s1-1", ()), (2, "nobody", "s1-1", ())]
    (old,) = [d for d in ours if d.attempt == 1]
    for _ in range(2):
        await server.delete_dispatch(name, old.id)
    assert [d.attempt for d in await server.list_dispatches(name) if d.job_id] == [2]
    await server.delete_room(name)
    assert await server.list_dispatches(name) == []


@dispatching
async def test_nothing_is_dispatched_into_a_room_that_is_not_there(rooms: Rooms, name: RoomName) -> None:
    assert await rooms.server.list_dispatches(name) == []
    with pytest.raises(RoomServerUnavailableError):
        await rooms.server.create_dispatch(name, "nobody", job_id=JobId("s1-1"), attempt=1, metadata="")
    assert await rooms.server.list_rooms((name,)) == []
