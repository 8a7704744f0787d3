"""Data packets: who sends them, who gets them, and what happens to whom is behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from livekit.protocol import models, rtc

from engine.data import MOST_EARLY, MOST_LOSSY_BYTES, MOST_RELIABLE_BYTES, DataChannels
from engine.participants import Participant
from tests.engine.clients import World, seen

RELIABLE, LOSSY = models.DataPacket.RELIABLE, models.DataPacket.LOSSY


class Channel:
    """A data channel as aiortc's."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.readyState = "open"  # as aiortc names it
        self.bufferedAmount = 0
        self.sent: list[bytes] = []
        self.receive: Callable[[Any], None] = lambda message: None
        self.opened: Callable[[], None] = lambda: None

    def on(self, event: str, call: Callable[..., None]) -> None:
        assert event in ("message", "open")
        if event == "message":
            self.receive = call
        else:
            self.opened = call

    def open(self) -> None:
        self.readyState = "open"
        self.opened()

    def send(self, data: bytes) -> None:
        self.sent.append(data)


class Sender:
    """A participant with its channels."""

    def __init__(self, participant: Participant) -> None:
        self.failures: list[str] = []
        self.data = DataChannels(participant, self.failures.append)
        self.channel = Channel("_reliable")
        self.data.listen(self.channel)  # type: ignore[arg-type]


def packet(text: bytes = b"hello", **said: Any) -> models.DataPacket:
    return models.DataPacket(user=models.UserPacket(payload=text, participant_sid="PA_forged"), **said)


def test_a_packet_says_who_sent_it_whatever_the_client_says() -> None:
    world = World()
    room = world.room()
    ada, bob = world.join(room, "ada"), world.join(room, "bob")
    Sender(ada).channel.receive(packet(participant_identity="bob").SerializeToString())
    (got,) = seen(bob).packets
    assert (got.participant_identity, got.user.participant_sid, got.user.payload) == (
        "ada",
        ada.sid,
        b"hello",
    )
    assert seen(ada).packets == []


def test_a_hidden_sender_stays_unknown() -> None:
    world = World()
    room = world.room()
    ada, bob = world.join(room, "ada", hidden=True), world.join(room, "bob")
    Sender(ada).channel.receive(packet().SerializeToString())
    assert [(one.participant_sid, one.participant_identity) for one in seen(bob).packets] == [("", "")]


def test_who_may_not_send_is_told_once_and_nobody_hears_it() -> None:
    world = World()
    room = world.room()
    ada, bob = world.join(room, "ada", can_publish_data=False), world.join(room, "bob")
    sender = Sender(ada)
    for _ in range(3):
        sender.channel.receive(packet().SerializeToString())
    refusals = [one.request_response for one in seen(ada).sent if one.HasField("request_response")]
    assert [one.reason for one in refusals] == [rtc.RequestResponse.NOT_ALLOWED]
    assert seen(bob).packets == []


def test_nonsense_ends_its_sender_alone() -> None:
    world = World()
    room = world.room()
    ada, bob = world.join(room, "ada"), world.join(room, "bob")
    sender = Sender(ada)
    sender.channel.receive(b"\xff\xff")
    assert sender.failures == ["a data packet cannot be read"]
    sender.channel.receive("text")  # an empty packet
    assert seen(bob).packets == []


def test_what_comes_before_the_channel_is_kept_up_to_a_bound() -> None:
    world = World()
    ada = world.join(world.room(), "ada")
    sender = Sender(ada)
    for number in range(MOST_EARLY + 1):
        sender.data.send(packet(str(number).encode()), RELIABLE)
    sender.data.send(packet(b"lossy"), LOSSY)
    sender.data.send_over(sender.channel)  # type: ignore[arg-type]
    texts = [models.DataPacket.FromString(one).user.payload for one in sender.channel.sent]
    assert texts == [str(number).encode() for number in range(1, MOST_EARLY + 1)]


def test_what_comes_before_our_channel_is_open_arrives_first() -> None:
    world = World()
    sender = Sender(world.join(world.room(), "ada"))
    sender.channel.readyState = "connecting"
    sender.data.send_over(sender.channel)  # type: ignore[arg-type]
    sender.data.send(packet(b"early"), RELIABLE)
    assert sender.channel.sent == []
    sender.channel.open()
    sender.data.send(packet(b"late"), RELIABLE)
    texts = [models.DataPacket.FromString(one).user.payload for one in sender.channel.sent]
    assert texts == [b"early", b"late"]


def test_a_slow_receiver_loses_lossy_packets_and_is_put_out_for_reliable_ones() -> None:
    world = World()
    sender = Sender(world.join(world.room(), "ada"))
    lossy = Channel("_lossy")
    for channel in (lossy, sender.channel):
        sender.data.send_over(channel)  # type: ignore[arg-type]
        channel.bufferedAmount = MOST_LOSSY_BYTES + 1
        sender.data.send(packet(), LOSSY if channel is lossy else RELIABLE)
    assert (len(lossy.sent), len(sender.channel.sent), sender.failures) == (0, 1, [])
    sender.channel.bufferedAmount = MOST_RELIABLE_BYTES + 1
    sender.data.send(packet(), RELIABLE)
    assert len(sender.failures) == 1
