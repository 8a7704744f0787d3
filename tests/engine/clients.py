"""Clients for tests of the engine's rooms: connections that only write down what they are asked."""

from __future__ import annotations

import time
from typing import Any

from livekit.protocol import models, rtc
from livekit.protocol.room import CreateRoomRequest
from livekit.protocol.webhook import WebhookEvent

from engine.participants import Participant, Track
from engine.room import Room
from engine.rooms import Rooms
from engine.tokens import Claims, Grants, Key

KEY = Key(api_key="tests", api_secret="a secret of at least thirty-two characters")


class FakeConnection:
    """Keeps what a room sent, and how it was closed."""

    def __init__(self) -> None:
        self.sent: list[rtc.SignalResponse] = []
        self.closed: models.DisconnectReason | None = None
        self.subscribed: set[str] = set()
        self.ended: list[str] = []
        self.muted: list[tuple[str, bool]] = []
        self.packets: list[models.DataPacket] = []

    def send(self, response: rtc.SignalResponse) -> None:
        self.sent.append(response)

    def close(
        self, reason: models.DisconnectReason, action: rtc.LeaveRequest.Action = rtc.LeaveRequest.DISCONNECT
    ) -> None:
        self.closed = reason

    def subscribe(self, track: Track, wanted: bool) -> None:
        (self.subscribed.add if wanted else self.subscribed.discard)(track.sid)

    def track_ended(self, track: Track) -> None:
        self.subscribed.discard(track.sid)
        self.ended.append(track.sid)

    def mute_changed(self, track: Track) -> None:
        self.muted.append((track.sid, track.info.muted))

    def deliver(self, packet: models.DataPacket, kind: models.DataPacket.Kind) -> None:
        self.packets.append(packet)

    def updates(self) -> list[models.ParticipantInfo]:
        """Give what it was told of participants, in order."""
        return [one for message in self.sent for one in message.update.participants]


class World:
    """Rooms over a clock that tests move, with the events that webhooks would carry."""

    def __init__(self) -> None:
        self.time = time.time()
        self.events: list[WebhookEvent] = []
        self.rooms = Rooms(KEY, self.events.append, now=lambda: self.time)

    def room(self, name: str = "tea", **settings: Any) -> Room:
        """Make a room."""
        return self.rooms.create(CreateRoomRequest(name=name, **settings))

    def join(self, room: Room, identity: str, *, kind: str = "", **grants: Any) -> Participant:
        """Let a client in, with its media connected."""
        participant = room.join(
            claims_for(identity, kind=kind, **grants), connect, client=models.ClientInfo()
        )
        room.activate(participant)
        return participant

    def names(self) -> list[str]:
        """Give the names of the events so far."""
        return [event.event for event in self.events]


def claims_for(identity: str, *, room: str = "tea", kind: str = "", **grants: Any) -> Claims:
    """Make what a token would say."""
    video = Grants(room=room, room_join=True, **grants)
    return Claims(iss=KEY.api_key, exp=time.time() + 60, sub=identity, kind=kind, video=video)


def connect(participant: Participant) -> FakeConnection:
    """Make the connection of somebody who joins."""
    return FakeConnection()


def seen(participant: Participant) -> FakeConnection:
    """Give a participant's connection as what it is here."""
    connection = participant.connection
    assert isinstance(connection, FakeConnection)
    return connection


def published(room: Room, participant: Participant, cid: str = "mic", **said: Any) -> Track:
    """Publish a microphone, media and all."""
    said = {"type": models.AUDIO, "source": models.MICROPHONE, **said}
    track = room.publish(participant, rtc.AddTrackRequest(cid=cid, **said))
    track.info.mime_type, track.info.mid = "audio/opus", "0"
    room.media_ready(track)
    return track
