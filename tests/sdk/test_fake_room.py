"""What the fake rooms can do beyond the suite of tests/contracts/test_worker_room.py: break on call."""

from __future__ import annotations

import asyncio

import pytest

from sdk.errors import RoomJoinError
from sdk.fake_room import FAKE_URL, FakeRooms, fake_token
from sdk.lifecycle import LeftBecause
from sdk.ports import Grant


def grant(number: int = 1) -> Grant:
    return Grant(livekit_url=FAKE_URL, access_token=fake_token("r", "worker", number))


async def test_a_dropped_connection_is_lost_and_can_be_made_again() -> None:
    rooms = FakeRooms()
    rooms.create("r")
    link, heard = rooms.link(), list[LeftBecause]()
    link.on_left = heard.append
    await link.connect(grant(), timeout_s=1)
    rooms.drop("r", "worker")
    await asyncio.sleep(0)
    assert (heard, link.is_connected, rooms.participants("r")) == ([LeftBecause.LOST], False, [])
    await link.connect(grant(2), timeout_s=1)
    assert rooms.participants("r") == ["worker"]
    assert rooms.joins == [grant(1).access_token, grant(2).access_token]


async def test_refusals_are_counted_down() -> None:
    rooms = FakeRooms()
    rooms.create("r")
    rooms.refuse(2)
    for _ in range(2):
        with pytest.raises(RoomJoinError) as caught:
            await rooms.link().connect(grant(), timeout_s=1)
        assert caught.value.refused
    await rooms.link().connect(grant(), timeout_s=1)


async def test_callbacks_come_and_go() -> None:
    rooms = FakeRooms()
    alice, bob = await rooms.join("r", "alice"), await rooms.join("r", "bob")
    got: list[bytes] = []

    @bob.on("data_received")
    def hear(packet: object) -> None:
        got.append(packet.data)  # type: ignore[attr-defined]

    await alice.local_participant.publish_data("one")
    await asyncio.sleep(0)
    bob.off("data_received", hear)
    await alice.local_participant.publish_data("two")
    await asyncio.sleep(0)
    assert got == [b"one"]
    assert set(alice.remote_participants) == {"bob"}
    await bob.disconnect()
    assert not bob.isconnected()
    with pytest.raises(RuntimeError, match="not joined"):
        await bob.local_participant.publish_data("three")
