"""Data between participants: packets to all or to some, remote calls, streams of text and of bytes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from livekit import api, rtc

from tests.conformance.stage import Stage, tell, until

pytestmark = pytest.mark.integration

WITHIN_S = 40
HELLO = "hello"


@dataclass
class Ear:
    """What one participant got."""

    room: rtc.Room = field(default_factory=rtc.Room)
    got: list[tuple[str | None, bytes]] = field(default_factory=list)
    heard: set[bytes] = field(default_factory=set)  # who is known to reach this one
    kinds: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.room.on("data_received", self._received)

    def _received(self, packet: rtc.DataPacket) -> None:
        if packet.topic == HELLO:
            self.heard.add(packet.data)
            return
        self.got.append((packet.topic, packet.data))
        self.kinds.append(packet.kind)


async def ears(stage: Stage, *identities: str) -> list[Ear]:
    made = [Ear() for _ in identities]
    for ear, identity in zip(made, identities, strict=True):
        await stage.join(identity, into=ear.room)
    await stage.here(*identities)
    names = {identity.encode() for identity in identities}
    for _ in range(50):  # what comes before somebody's channel is open is lost, also at LiveKit
        if all(len(ear.heard) == len(names) - 1 for ear in made):
            return made
        for ear, name in zip(made, identities, strict=True):
            await ear.room.local_participant.publish_data(name.encode(), topic=HELLO)
        await asyncio.sleep(0.1)
    raise AssertionError(f"{names} do not all hear each other: {[ear.heard for ear in made]}")


@pytest.mark.parametrize("reliable", [True, False], ids=["reliable", "lossy"])
async def test_a_packet_reaches_all_others_once(stage: Stage, *, reliable: bool) -> None:
    alice, bob, carol = await ears(stage, "alice", "bob", "carol")
    for _ in range(1 if reliable else 20):  # a lossy one may be lost
        await alice.room.local_participant.publish_data(b"hello", topic="t", reliable=reliable)
        await asyncio.sleep(0.1)
        if bob.got and carol.got:
            break
    await until(lambda: bob.got and carol.got)
    await asyncio.sleep(0.2)
    assert set(bob.got) == set(carol.got) == {("t", b"hello")}
    assert alice.got == []
    if reliable:
        assert (len(bob.got), len(carol.got)) == (1, 1)
    kind = rtc.DataPacketKind.KIND_RELIABLE if reliable else rtc.DataPacketKind.KIND_LOSSY
    assert set(bob.kinds) == {kind}


async def test_a_packet_to_some_reaches_those(stage: Stage) -> None:
    alice, bob, carol = await ears(stage, "alice", "bob", "carol")
    await alice.room.local_participant.publish_data(b"one", topic="t", destination_identities=["bob"])
    await alice.room.local_participant.publish_data(b"all", topic="t")
    await until(lambda: len(bob.got) == 2 and carol.got)
    assert bob.got == [("t", b"one"), ("t", b"all")]
    assert carol.got == [("t", b"all")]


async def test_reliable_packets_come_all_and_in_order(stage: Stage) -> None:
    alice, bob = await ears(stage, "alice", "bob")
    sent = [number.to_bytes(4, "big") * 250 for number in range(300)]
    for data in sent:
        await alice.room.local_participant.publish_data(data)
    await until(lambda: len(bob.got) >= len(sent), lambda: len(bob.got))
    assert [data for _, data in bob.got] == sent


async def test_the_largest_packet_that_is_advised_passes(stage: Stage) -> None:
    alice, bob = await ears(stage, "alice", "bob")
    data = bytes(range(250)) * 60
    await alice.room.local_participant.publish_data(data)
    await until(lambda: bob.got)
    assert bob.got[0][1] == data


async def test_who_comes_later_hears_and_is_heard(stage: Stage) -> None:
    (alice,) = await ears(stage, "alice")
    bob = Ear()
    await stage.join("bob", into=bob.room)
    await tell(bob.room, b"from bob", lambda: alice.got)
    await tell(alice.room, b"from alice", lambda: bob.got)
    assert (alice.got[0][1], bob.got[0][1]) == (b"from bob", b"from alice")


async def test_data_stays_in_its_room(stage: Stage) -> None:
    other = await stage.make_room()
    alice, bob = await ears(stage, "alice", "bob")
    stranger = Ear()
    await stage.join("stranger", into=stranger.room, room=other.name)
    await alice.room.local_participant.publish_data(b"hello", destination_identities=["bob", "stranger"])
    await alice.room.local_participant.publish_data(b"all")
    await until(lambda: len(bob.got) == 2)
    assert stranger.got == []


async def test_the_room_service_sends_to_all_or_some(stage: Stage) -> None:
    alice, bob = await ears(stage, "alice", "bob")
    reliable = api.DataPacket.Kind.RELIABLE
    await stage.rooms.send_data(
        api.SendDataRequest(room=stage.name, data=b"all", kind=reliable, topic="t", nonce=b"1" * 16)
    )
    await stage.rooms.send_data(
        api.SendDataRequest(
            room=stage.name,
            data=b"bob",
            kind=reliable,
            topic="t",
            destination_identities=["bob"],
            nonce=b"2" * 16,
        )
    )
    await until(lambda: alice.got and len(bob.got) == 2)
    assert alice.got == [("t", b"all")]
    assert bob.got == [("t", b"all"), ("t", b"bob")]


async def test_a_call_is_answered_refused_or_has_nobody_to_answer(stage: Stage) -> None:
    alice, bob = await ears(stage, "alice", "bob")

    async def answer(call: rtc.RpcInvocationData) -> str:
        return f"{call.caller_identity} said {call.payload}"

    async def refuse(call: rtc.RpcInvocationData) -> str:
        raise rtc.RpcError(1_234, "not today")

    bob.room.local_participant.register_rpc_method("answer", answer)
    bob.room.local_participant.register_rpc_method("refuse", refuse)

    async def call(method: str, to: str = "bob") -> str:
        return await alice.room.local_participant.perform_rpc(
            destination_identity=to, method=method, payload="hello", response_timeout=30.0
        )

    async with asyncio.timeout(WITHIN_S):
        assert await call("answer") == "alice said hello"
        with pytest.raises(rtc.RpcError) as refused:
            await call("refuse")
        assert (refused.value.code, refused.value.message) == (1_234, "not today")
        with pytest.raises(rtc.RpcError) as unknown:
            await call("nonsense")
        assert unknown.value.code == rtc.RpcError.ErrorCode.UNSUPPORTED_METHOD


async def test_streams_of_text_and_bytes_arrive_whole(stage: Stage) -> None:
    alice, bob = await ears(stage, "alice", "bob")
    reading: list[asyncio.Task[None]] = []
    texts: list[tuple[str, str, dict[str, str]]] = []
    files: list[tuple[str, str, bytes]] = []

    async def read_text(reader: rtc.TextStreamReader, who: str) -> None:
        texts.append((who, await reader.read_all(), dict(reader.info.attributes or {})))

    async def read_bytes(reader: rtc.ByteStreamReader, who: str) -> None:
        data = b"".join([chunk async for chunk in reader])
        files.append((who, reader.info.name, data))

    bob.room.register_text_stream_handler(
        "chat", lambda reader, who: reading.append(asyncio.create_task(read_text(reader, who)))
    )
    bob.room.register_byte_stream_handler(
        "files", lambda reader, who: reading.append(asyncio.create_task(read_bytes(reader, who)))
    )
    text = "größer als ein Paket · " * 3_000
    data = bytes(range(256)) * 400
    send = alice.room.local_participant
    async with asyncio.timeout(WITHIN_S):
        await send.send_text("short", topic="chat")
        await send.send_text(text, topic="chat", attributes={"a": "1"}, destination_identities=["bob"])
        await send.send_bytes(data, topic="files", name="noise")
        writer = await send.stream_text(topic="chat")
        for word in ("word ", "by ", "word"):
            await writer.write(word)
        await writer.aclose()
        await until(lambda: len(texts) == 3 and files, lambda: (len(texts), len(files)))
        await asyncio.gather(*reading)
    assert {(who, said) for who, said, _ in texts} == {
        ("alice", "short"),
        ("alice", text),
        ("alice", "word by word"),
    }
    assert [attributes for _, said, attributes in texts if said == text] == [{"a": "1"}]
    assert files == [("alice", "noise", data)]
