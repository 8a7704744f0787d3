"""All rooms: made, found, ended by their timeouts, and tokens renewed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from livekit.protocol import models
from livekit.protocol.room import CreateRoomRequest

from engine import tokens
from engine.limits import JoinRefusedError, TooLongError
from engine.rooms import Rooms
from engine.tokens import Claims, Grants
from tests.engine.clients import KEY, World, claims_for, published, seen


@pytest.fixture
def world() -> World:
    return World()


def test_a_room_that_exists_keeps_its_settings(world: World) -> None:
    first = world.room(max_participants=3)
    assert world.room(max_participants=9) is first
    assert first.info().max_participants == 3
    assert world.names() == ["room_started"]


def test_an_empty_room_ends_after_its_empty_timeout(world: World) -> None:
    room = world.room(empty_timeout=10)
    world.time += 9
    world.rooms.sweep()
    assert world.rooms.get("tea") is room
    world.time += 1
    world.rooms.sweep()
    assert world.rooms.get("tea") is None
    assert world.names() == ["room_started", "room_finished"]


def test_a_left_room_ends_after_its_departure_timeout(world: World) -> None:
    room = world.room(empty_timeout=1, departure_timeout=20)
    ada = world.join(room, "ada")
    world.time += 100
    world.rooms.sweep()
    room.leave(ada, models.CLIENT_INITIATED)
    world.time += 19
    world.rooms.sweep()
    assert world.rooms.get("tea") is room
    world.time += 1
    world.rooms.sweep()
    assert world.rooms.get("tea") is None


def test_an_agent_alone_keeps_no_room_open(world: World) -> None:
    room = world.room(departure_timeout=5)
    ada, agent = world.join(room, "ada"), world.join(room, "agent", kind="agent")
    room.leave(ada, models.CLIENT_INITIATED)
    world.time += 5
    world.rooms.sweep()
    assert seen(agent).closed == models.ROOM_CLOSED
    assert world.names()[-2:] == ["participant_left", "room_finished"]


def test_deleting_puts_everybody_out_in_order(world: World) -> None:
    room = world.room()
    ada = world.join(room, "ada")
    published(room, ada)
    world.rooms.delete(room)
    world.rooms.delete(room)
    assert seen(ada).closed == models.ROOM_DELETED
    assert world.names()[-3:] == ["track_unpublished", "participant_left", "room_finished"]
    assert world.room().sid != room.sid


def test_events_have_ids_of_their_own_and_the_rooms_sid(world: World) -> None:
    room = world.room()
    world.join(room, "ada")
    assert len({event.id for event in world.events}) == 2
    assert {event.room.sid for event in world.events} == {room.sid}
    assert world.events[-1].participant.identity == "ada"


def test_a_token_opens_its_room_only(world: World) -> None:
    room = world.room()
    assert world.rooms.room_to_join(claims_for("ada")) is room
    no_join = Claims(iss="tests", exp=0, sub="ada", video=Grants(room="tea"))
    refused = [(claims_for("ada", room="none"), 404), (claims_for(""), 400), (no_join, 401)]
    refused.append((claims_for("ada", room=""), 400))
    for claims, status in refused:
        with pytest.raises(JoinRefusedError) as answer:
            world.rooms.room_to_join(claims)
        assert answer.value.status == status


def test_a_join_makes_its_room_only_where_that_is_wanted(world: World) -> None:
    rooms = Rooms(KEY, world.events.append, auto_create=True)
    rooms.check_join(claims_for("ada"))
    assert list(rooms) == []  # to ask makes none
    made = rooms.room_to_join(claims_for("ada"))
    assert rooms.room_to_join(claims_for("bob")) is made
    assert world.names() == ["room_started"]


@pytest.mark.parametrize("said", [{"roomConfig": {"agents": [{}]}}, {"roomPreset": "x"}], ids=str)
def test_what_a_token_would_make_a_room_of_is_refused_unless_there_is_one(
    world: World, said: dict[str, Any]
) -> None:
    rooms = Rooms(KEY, world.events.append, auto_create=True)
    claims = msgspec.convert({**msgspec.to_builtins(claims_for("ada")), **said}, Claims)
    with pytest.raises(JoinRefusedError, match="roomConfig and roomPreset") as answer:
        rooms.room_to_join(claims)
    assert answer.value.status == 501
    assert list(rooms) == []
    assert rooms.create(CreateRoomRequest(name="tea")) is rooms.room_to_join(claims)  # as LiveKit does


@pytest.mark.parametrize("grant", ["can_subscribe_metrics", "can_manage_agent_session"])
def test_a_grant_that_means_nothing_here_is_refused(world: World, grant: str) -> None:
    world.room()
    claims = claims_for("ada")
    claims = msgspec.structs.replace(claims, video=msgspec.structs.replace(claims.video, **{grant: True}))
    with pytest.raises(JoinRefusedError) as answer:
        world.rooms.room_to_join(claims)
    assert answer.value.status == 501


def test_a_name_that_is_too_long_makes_no_room(world: World) -> None:
    with pytest.raises(TooLongError):
        world.room("n" * 257)
    assert list(world.rooms) == []


def test_tokens_are_renewed_at_once_every_five_minutes_and_after_changes(world: World) -> None:
    room = world.room()
    ada = world.join(room, "ada")

    def renewed() -> list[str]:
        return [one.refresh_token for one in seen(ada).sent if one.refresh_token]

    world.rooms.sweep()
    world.rooms.sweep()
    assert len(renewed()) == 1
    world.time += 300
    world.rooms.sweep()
    assert len(renewed()) == 2
    room.update(ada, permission=models.ParticipantPermission(can_subscribe=True), name="Ada")
    world.rooms.sweep()
    world.time -= 300  # what was minted in the future is read now
    claims = tokens.verify(renewed()[0], KEY)
    assert (claims.identity, claims.video.room) == ("ada", "tea")
    assert len(renewed()) == 3


def test_the_end_of_the_server_puts_everybody_out(world: World) -> None:
    ada = world.join(world.room(), "ada")
    world.rooms.end()
    assert seen(ada).closed == models.SERVER_SHUTDOWN
    assert list(world.rooms) == []
