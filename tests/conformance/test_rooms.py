"""Rooms come by CreateRoom alone, are listed, and end when they are deleted or stay empty."""

from __future__ import annotations

import asyncio
import time
import uuid
from pathlib import Path

import pytest
from livekit import api, rtc

from tests.conformance.differences import livekit_does
from tests.conformance.engines import Engine, running
from tests.conformance.stage import Stage, eventually, open_stage, until

pytestmark = pytest.mark.integration


async def listed(stage: Stage, *names: str) -> list[api.Room]:
    return list((await stage.rooms.list_rooms(api.ListRoomsRequest(names=names))).rooms)


async def gone(stage: Stage, name: str) -> None:
    async def is_gone() -> bool | None:
        return True if not await listed(stage, name) else None

    await eventually(is_gone)


async def test_a_room_has_what_it_was_made_with(stage: Stage) -> None:
    made = await stage.make_room(empty_timeout=33, departure_timeout=44, max_participants=5, metadata="{}")
    assert made.sid.startswith("RM_")
    assert abs(made.creation_time - time.time()) < 30
    assert abs(made.creation_time_ms / 1000 - time.time()) < 30
    assert (made.empty_timeout, made.departure_timeout) == (33, 44)
    assert (made.max_participants, made.metadata) == (5, "{}")
    (found,) = await listed(stage, made.name)
    assert (found.sid, found.metadata, found.max_participants) == (made.sid, "{}", 5)
    assert (found.empty_timeout, found.departure_timeout) == (33, 44)


async def test_a_room_is_listed_by_its_name_and_among_all(stage: Stage) -> None:
    other = await stage.make_room()
    names = {stage.name, other.name}
    assert {room.name for room in await listed(stage, *names, "of-nobody")} == names
    assert names <= {room.name for room in await listed(stage)}
    assert await listed(stage, "of-nobody") == []


async def test_a_room_that_is_there_is_given_and_keeps_its_settings(stage: Stage) -> None:
    made = await stage.make_room(empty_timeout=33, max_participants=5, metadata="first")
    for _ in range(2):
        again = await stage.make_room(made.name, empty_timeout=99, max_participants=9, metadata="second")
        assert again.sid == made.sid
        assert (again.empty_timeout, again.max_participants, again.metadata) == (33, 5, "first")


async def test_many_at_once_make_one_room(stage: Stage) -> None:
    name = f"conformance-{uuid.uuid4()}"
    made = await asyncio.gather(*(stage.make_room(name) for _ in range(10)))
    assert len({room.sid for room in made}) == 1


async def test_who_is_in_a_room_that_is_deleted_is_told_and_nobody_joins_it_again(stage: Stage) -> None:
    room, told = await stage.join("alice"), list[int]()
    room.on("disconnected", told.append)
    await stage.rooms.delete_room(api.DeleteRoomRequest(room=stage.name))
    await until(lambda: told)
    assert told == [rtc.DisconnectReason.ROOM_DELETED]
    assert await listed(stage, stage.name) == []
    with pytest.raises(api.TwirpError) as refused:
        await stage.rooms.delete_room(api.DeleteRoomRequest(room=stage.name))
    assert refused.value.code == "not_found"
    with pytest.raises(rtc.ConnectError, match="404"):
        await stage.join("alice")
    assert await listed(stage, stage.name) == [], "the join did not make it"


async def test_a_room_made_again_is_another_one(stage: Stage) -> None:
    (old,) = await listed(stage, stage.name)
    await stage.rooms.delete_room(api.DeleteRoomRequest(room=stage.name))
    new = await stage.make_room(stage.name, metadata="new")
    assert new.sid != old.sid
    assert new.metadata == "new"
    room = await stage.join("alice")
    assert await room.sid == new.sid


async def test_where_nobody_comes_the_room_ends(stage: Stage) -> None:
    room = await stage.make_room(empty_timeout=1)
    assert await listed(stage, room.name)
    await gone(stage, room.name)


async def test_when_all_have_left_the_room_ends_after_its_time(stage: Stage) -> None:
    made = await stage.make_room(departure_timeout=1, empty_timeout=60)
    alice = await stage.join("alice", room=made.name)
    await stage.here("alice", room=made.name)
    await asyncio.sleep(1.5)
    assert await listed(stage, made.name), "alice is there"
    await alice.disconnect()
    await gone(stage, made.name)


async def test_only_so_many_get_in(stage: Stage) -> None:
    made = await stage.make_room(max_participants=2)
    await stage.join("alice", room=made.name)
    bob = await stage.join("bob", room=made.name)
    status = 500 if livekit_does(stage.engine, "full room") else 503
    with pytest.raises(rtc.ConnectError, match=rf"\b{status}\b"):
        await stage.join("carol", room=made.name)
    assert set(await stage.participants(made.name)) == {"alice", "bob"}
    await bob.disconnect()
    await stage.here("alice", room=made.name)
    await stage.join("carol", room=made.name)


async def test_a_room_s_metadata_is_told_to_all(stage: Stage) -> None:
    alice, told = await stage.join("alice"), list[tuple[str, str]]()
    alice.on("room_metadata_changed", lambda old, new: told.append((old, new)))
    request = api.UpdateRoomMetadataRequest(room=stage.name, metadata="said later")
    assert (await stage.rooms.update_room_metadata(request)).metadata == "said later"
    await until(lambda: told)
    assert alice.metadata == "said later"
    assert (await stage.join("bob")).metadata == "said later"
    assert [room.metadata for room in await listed(stage, stage.name)] == ["said later"]


async def test_where_joins_make_rooms_an_old_token_brings_one_back(engine: Engine, tmp_path: Path) -> None:
    """The control of what is refused above, and what `auto_create` does where it is on."""
    with running(engine.name, tmp_path, pytest.skip, auto_create=True) as permissive:
        async with open_stage(permissive) as stage:
            await stage.rooms.delete_room(api.DeleteRoomRequest(room=stage.name))
            await stage.join("alice")
            assert [room.name for room in await listed(stage, stage.name)] == [stage.name]
