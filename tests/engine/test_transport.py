"""One peer connection with the official SDK: it stands, and its loss is noticed."""

from __future__ import annotations

import asyncio

import pytest
from livekit import rtc

from engine import transport
from tests.engine.sessions import running_engine

pytestmark = pytest.mark.integration


async def until_joined(room: rtc.Room, identity: str) -> None:
    async with asyncio.timeout(30):
        while identity not in room.remote_participants:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("is_single", [True, False], ids=["v1", "v0"])
async def test_the_sdk_connects_and_data_goes_both_ways(is_single: bool) -> None:
    async with running_engine() as engine:
        ada, bob = rtc.Room(), rtc.Room()
        heard: asyncio.Queue[tuple[str, bytes, str]] = asyncio.Queue()
        for name, room in (("ada", ada), ("bob", bob)):

            def note(packet: rtc.DataPacket, name: str = name) -> None:
                sender = packet.participant.identity if packet.participant else ""
                heard.put_nowait((name, packet.data, sender))

            room.on("data_received", note)
            options = rtc.RoomOptions(single_peer_connection=is_single)
            await room.connect(engine.url, engine.token(name), options)
        await until_joined(ada, "bob")
        for room, other, text in ((ada, "bob", b"ping"), (bob, "ada", b"pong")):
            for is_reliable in (True, False):
                await room.local_participant.publish_data(text, reliable=is_reliable)
                async with asyncio.timeout(30):
                    assert await heard.get() == (other, text, "ada" if other == "bob" else "bob")
        await ada.disconnect()
        await bob.disconnect()
        async with asyncio.timeout(30):
            while (
                engine.world.names()[-1] != "participant_left" or next(iter(engine.world.rooms)).participants
            ):
                await asyncio.sleep(0.02)
        reasons = [
            one.participant.disconnect_reason
            for one in engine.world.events
            if one.event == "participant_left"
        ]
        assert reasons == [1, 1]  # CLIENT_INITIATED, although the media ended before the `leave` came


async def test_a_client_whose_media_falls_silent_is_put_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "SILENCE_S", 0.0)
    async with running_engine() as engine:
        room = rtc.Room()
        gone = asyncio.Event()
        room.on("disconnected", lambda reason: gone.set())
        room.on("reconnecting", gone.set)
        await room.connect(engine.url, engine.token("ada"))
        async with asyncio.timeout(30):
            await gone.wait()
        await room.disconnect()
