"""Who is in a room: what is told of them to others and by the room service, and how each way out is told.

LiveKit tells others of somebody who publishes nothing up to 3 s late; who publishes is told at once.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from livekit import api, rtc

from tests.conformance.cameras import publishing
from tests.conformance.stage import WITHIN_S, Stage, tell, until

pytestmark = pytest.mark.integration

STANDARD = rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD
AGENT = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT


class Others:
    """What somebody is told of the others in the room."""

    def __init__(self, room: rtc.Room) -> None:
        self.came: list[str] = []
        self.went: list[tuple[str, int]] = []
        room.on("participant_connected", lambda who: self.came.append(who.identity))
        room.on(
            "participant_disconnected", lambda who: self.went.append((who.identity, who.disconnect_reason))
        )


async def test_the_room_service_tells_what_the_token_said(stage: Stage) -> None:
    alice = await stage.join(
        "alice", name="Alice", metadata="meta", attributes={"greenroom.role": "client"}, can_publish=False
    )
    info = (await stage.here("alice"))["alice"]
    assert info.sid == alice.local_participant.sid
    assert info.sid.startswith("PA_")
    assert (info.name, info.metadata, dict(info.attributes)) == (
        "Alice",
        "meta",
        {"greenroom.role": "client"},
    )
    assert info.joined_at > 0
    permission = info.permission
    assert (permission.can_publish, permission.can_subscribe, permission.can_publish_data) == (
        False,
        True,
        True,
    )
    assert (permission.hidden, info.kind) == (False, api.ParticipantInfo.Kind.STANDARD)
    found = await stage.rooms.get_participant(api.RoomParticipantIdentity(room=stage.name, identity="alice"))
    assert (found.sid, found.name, found.permission.can_publish) == (info.sid, "Alice", False)


async def test_each_is_told_of_the_others_as_they_come_and_go(stage: Stage) -> None:
    alice = rtc.Room()
    seen = Others(alice)
    await stage.join("alice", into=alice)
    bob = await stage.join("bob", name="Bob", attributes={"a": "1"}, metadata="m")
    assert set(bob.remote_participants) == {"alice"}
    async with publishing(bob) as publisher:
        await publisher.hum()
        await until(lambda: seen.came == ["bob"])
    who = alice.remote_participants["bob"]
    assert (who.sid, who.name, who.attributes, who.metadata) == (
        bob.local_participant.sid,
        "Bob",
        {"a": "1"},
        "m",
    )
    await bob.disconnect()
    await until(lambda: seen.went)
    assert seen.went == [("bob", rtc.DisconnectReason.CLIENT_INITIATED)]
    await stage.here("alice")


async def test_a_kind_is_told(stage: Stage) -> None:
    alice = await stage.join("alice")
    await stage.join("guest")
    await stage.join("agent", kind="agent")
    await until(lambda: set(alice.remote_participants) == {"guest", "agent"})
    told = {identity: who.kind for identity, who in alice.remote_participants.items()}
    assert told == {"guest": STANDARD, "agent": AGENT}
    infos = await stage.here("alice", "guest", "agent")
    assert {identity: info.kind for identity, info in infos.items()} == told | {"alice": STANDARD}


async def test_who_is_hidden_sees_and_is_not_seen(stage: Stage) -> None:
    alice = rtc.Room()
    seen = Others(alice)
    await stage.join("alice", into=alice)
    recorder = await stage.join("recorder", hidden=True, recorder=True, can_publish=False)
    await stage.join("bob")
    await until(lambda: set(recorder.remote_participants) == {"alice", "bob"})
    await until(lambda: seen.came)
    infos = await stage.here("alice", "recorder", "bob")
    assert infos["recorder"].permission.hidden
    await recorder.disconnect()
    await stage.here("alice", "bob")
    assert (seen.came, seen.went) == (["bob"], [])


async def test_the_same_identity_replaces_the_older(stage: Stage) -> None:
    watcher = await stage.join("watcher")
    older, told = await stage.join("alice"), list[int]()
    older.on("disconnected", told.append)
    await stage.here("alice", "watcher")
    newer = await stage.join("alice")
    await until(lambda: told)
    assert told == [rtc.DisconnectReason.DUPLICATE_IDENTITY]
    infos = await stage.here("alice", "watcher")
    assert infos["alice"].sid == newer.local_participant.sid != older.local_participant.sid
    await until(
        lambda: [one.sid for one in watcher.remote_participants.values()] == [newer.local_participant.sid]
    )
    assert newer.isconnected()


async def test_who_is_removed_is_told_so_and_only_they(stage: Stage) -> None:
    watcher = rtc.Room()
    seen = Others(watcher)
    await stage.join("watcher", into=watcher)
    alice, told = await stage.join("alice"), list[int]()
    alice.on("disconnected", told.append)
    async with publishing(alice) as publisher:
        await publisher.hum()
        await until(lambda: seen.came)
    await stage.rooms.remove_participant(api.RoomParticipantIdentity(room=stage.name, identity="alice"))
    await until(lambda: told and seen.went)
    assert told == [rtc.DisconnectReason.PARTICIPANT_REMOVED]
    assert seen.went == [("alice", rtc.DisconnectReason.PARTICIPANT_REMOVED)]
    await stage.here("watcher")
    assert watcher.isconnected()
    with pytest.raises(api.TwirpError) as refused:
        await stage.rooms.remove_participant(api.RoomParticipantIdentity(room=stage.name, identity="alice"))
    assert refused.value.code == "not_found"


async def test_who_is_removed_comes_back_with_the_same_token(stage: Stage) -> None:
    """Why the orchestrator bars people itself: a removal revokes nothing."""
    token = stage.token("alice")
    alice = await stage.join("alice", jwt=token)
    await stage.here("alice")
    await stage.rooms.remove_participant(api.RoomParticipantIdentity(room=stage.name, identity="alice"))
    await until(lambda: not alice.isconnected())
    again = await stage.join("alice", jwt=token)
    assert again.local_participant.sid != alice.local_participant.sid


async def test_the_room_service_changes_name_metadata_and_attributes(stage: Stage) -> None:
    alice, bob = await stage.join("alice", attributes={"a": "1", "b": "2"}), await stage.join("bob")
    await stage.here("alice", "bob")
    told: list[tuple[str, Any]] = []
    bob.on("participant_attributes_changed", lambda changed, who: told.append((who.identity, changed)))
    bob.on("participant_metadata_changed", lambda who, old, new: told.append((who.identity, new)))
    bob.on("participant_name_changed", lambda who, old, new: told.append((who.identity, new)))
    answer = await stage.rooms.update_participant(
        api.UpdateParticipantRequest(
            room=stage.name, identity="alice", name="Alice", metadata="m", attributes={"a": "9", "b": ""}
        )
    )
    assert (answer.name, answer.metadata, dict(answer.attributes)) == ("Alice", "m", {"a": "9"})
    await until(lambda: len(told) >= 3, lambda: told)
    assert ("alice", "Alice") in told
    assert ("alice", "m") in told
    who = bob.remote_participants["alice"]
    assert (who.name, who.metadata, who.attributes) == ("Alice", "m", {"a": "9"})
    await until(lambda: alice.local_participant.attributes == {"a": "9"})
    assert (await stage.here("alice", "bob"))["alice"].metadata == "m"


async def test_who_may_changes_their_own_and_the_others_are_told(stage: Stage) -> None:
    alice, bob = await stage.join("alice", can_update_own_metadata=True), await stage.join("bob")
    await stage.here("alice", "bob")
    async with asyncio.timeout(WITHIN_S):
        await alice.local_participant.set_attributes({"mood": "good"})
        await alice.local_participant.set_metadata("mine")
        await alice.local_participant.set_name("Alice")
    who = bob.remote_participants["alice"]
    await until(lambda: (who.name, who.metadata, who.attributes) == ("Alice", "mine", {"mood": "good"}))


async def test_who_may_not_changes_nothing(stage: Stage) -> None:
    alice, bob, got = await stage.join("alice", attributes={"a": "1"}), await stage.join("bob"), list[bytes]()
    bob.on("data_received", lambda packet: got.append(packet.data))
    await stage.here("alice", "bob")
    async with asyncio.timeout(WITHIN_S):  # the SDK tells nobody that the server refused
        await alice.local_participant.set_attributes({"greenroom.role": "operator"})
        await alice.local_participant.set_metadata("mine")
        await alice.local_participant.set_name("Alice")
    await tell(alice, b"after it", lambda: got)
    info = (await stage.here("alice", "bob"))["alice"]
    assert (info.name, info.metadata, dict(info.attributes)) == ("", "", {"a": "1"})
    who = bob.remote_participants["alice"]
    assert (who.name, who.metadata, who.attributes) == ("", "", {"a": "1"})


async def test_a_hidden_guest_keeps_a_room_and_neither_agent_nor_recorder_does(stage: Stage) -> None:
    """Why recorders are agents, and why our timeouts lie above our own deadlines."""
    who: dict[str, dict[str, Any]] = {
        "hidden": {"hidden": True},
        "agent": {"kind": "agent"},
        "recorder": {"kind": "agent", "hidden": True, "recorder": True},
    }
    told: list[tuple[str, int]] = []

    async def leave_alone(identity: str) -> str:
        room = await stage.make_room(departure_timeout=1)
        kept = await stage.join(identity, room=room.name, **who[identity])
        kept.on("disconnected", lambda reason: told.append((identity, reason)))
        alice = await stage.join("alice", room=room.name)
        await stage.here("alice", identity, room=room.name)
        await alice.disconnect()
        return room.name

    names = await asyncio.gather(*map(leave_alone, who))
    await until(lambda: len(told) == 2, lambda: told)
    closed = rtc.DisconnectReason.ROOM_CLOSED
    assert sorted(told) == [("agent", closed), ("recorder", closed)]
    left = (await stage.rooms.list_rooms(api.ListRoomsRequest(names=names))).rooms
    assert [room.name for room in left] == names[:1]
