"""A media server in memory: rooms, participants, data, no media; it breaks when a test wants it to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from sdk.errors import RoomJoinError
from sdk.lifecycle import LeftBecause
from sdk.ports import Grant

if TYPE_CHECKING:
    from livekit.rtc import Room

FAKE_URL: Final = "ws://fake.invalid"
_PREFIX: Final = "fake-token"


def fake_token(room_name: str, identity: str, number: int = 1) -> str:
    """Make a token that `FakeRooms` accepts."""
    return "\n".join((_PREFIX, room_name, identity, str(number)))


@dataclass(frozen=True, slots=True)
class FakeParticipant:
    """Somebody in a fake room."""

    identity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeDataPacket:
    """What the callback of `data_received` gets; the fields are those of LiveKit's `DataPacket`."""

    data: bytes
    participant: FakeParticipant | None
    topic: str | None
    kind: int = 1


class FakeRooms:
    """Rooms by name. Use it in one loop only. A room that was not created cannot be joined."""

    def __init__(self) -> None:
        self._rooms: dict[str, dict[str, FakeRoomLink]] = {}
        self._refusals = 0
        self.is_down = False
        """While true, joins fail as if the server could not be reached."""
        self.is_hanging = False
        """While true, joins get no answer."""
        self.joins: list[str] = []
        """The token of each join that was tried, refused ones included."""

    def create(self, room_name: str) -> None:
        """Create a room; does nothing when it exists."""
        self._rooms.setdefault(room_name, {})

    def delete(self, room_name: str) -> None:
        """Delete a room: everybody is out, and nobody comes back."""
        for link in list(self._rooms.pop(room_name, {}).values()):
            link.end(LeftBecause.CLOSED)

    def remove(self, room_name: str, identity: str) -> None:
        """Throw one participant out."""
        self._end(room_name, identity, LeftBecause.REMOVED)

    def drop(self, room_name: str, identity: str) -> None:
        """Cut one participant's connection beyond its SDK's repair."""
        self._end(room_name, identity, LeftBecause.LOST)

    def refuse(self, times: int = 1) -> None:
        """Refuse the tokens of the next joins."""
        self._refusals += times

    def participants(self, room_name: str) -> list[str]:
        """Give the identities in a room, in the order in which they joined."""
        return list(self._rooms.get(room_name, {}))

    def link(self) -> FakeRoomLink:
        """Make a connection, as `rooms` of a `Worker` asks for."""
        return FakeRoomLink(self)

    async def join(self, room_name: str, identity: str) -> FakeRoom:
        """Put a participant into a room, created when it does not exist, and give its side of it."""
        self.create(room_name)
        link = self.link()
        grant = Grant(livekit_url=FAKE_URL, access_token=fake_token(room_name, identity))
        await link.connect(grant, timeout_s=1.0)
        return link.fake

    def enter(self, token: str, link: FakeRoomLink) -> tuple[str, str]:
        """Let a connection in; gives room name and identity. Used by `FakeRoomLink`."""
        self.joins.append(token)
        prefix, room_name, identity, *_ = [*token.split("\n"), "", "", ""]
        if self.is_down:
            raise RoomJoinError("the media server cannot be reached or did not let us in")
        if self._refusals or prefix != _PREFIX or not identity:
            self._refusals = max(0, self._refusals - 1)
            raise RoomJoinError("the media server refused the token", refused=True)
        if room_name not in self._rooms:
            raise RoomJoinError("the media server does not know the room")
        self.remove(room_name, identity)  # the newer participant of an identity replaces the older
        present = self._rooms[room_name]
        for other in present.values():
            other.fake.meet(identity)
            link.fake.meet(other.fake.local_participant.identity, quietly=True)
        present[identity] = link
        return room_name, identity

    def leave(self, room_name: str, identity: str) -> None:
        """Take a participant out and tell the others. Used by `FakeRoomLink`."""
        present = self._rooms.get(room_name, {})
        if present.pop(identity, None) is not None:
            for other in present.values():
                other.fake.part(identity)

    def send(self, room_name: str, sender: str, packet: FakeDataPacket, to: Sequence[str]) -> None:
        """Deliver data to everybody else in the room, or to those named."""
        for identity, link in list(self._rooms.get(room_name, {}).items()):
            if identity != sender and (not to or identity in to):
                link.fake.emit("data_received", packet)

    def _end(self, room_name: str, identity: str, because: LeftBecause) -> None:
        link = self._rooms.get(room_name, {}).get(identity)
        if link is not None:
            self.leave(room_name, identity)
            link.end(because)


class FakeRoom:
    """What handlers use of `livekit.rtc.Room`: participants, callbacks and data."""

    def __init__(self, link: FakeRoomLink) -> None:
        self._link = link
        self._callbacks: dict[str, list[Callable[..., Any]]] = {}
        self.name = ""
        self.remote_participants: dict[str, FakeParticipant] = {}
        self.local_participant = FakeLocalParticipant(link)

    def on(self, event: str, callback: Callable[..., Any] | None = None) -> Callable[..., Any]:
        """Register a callback, also as a decorator."""
        if callback is None:
            return lambda function: self.on(event, function)
        self._callbacks.setdefault(event, []).append(callback)
        return callback

    def off(self, event: str, callback: Callable[..., Any]) -> None:
        """Forget a callback."""
        self._callbacks[event].remove(callback)

    def isconnected(self) -> bool:
        """Say whether the room is joined."""
        return self._link.is_connected

    async def disconnect(self) -> None:
        """Leave, as a handler might do by itself."""
        self._link.leave_by_author()

    def emit(self, event: str, *values: object) -> None:
        """Call the callbacks of an event, each in a turn of the loop of its own."""
        for callback in list(self._callbacks.get(event, [])):
            asyncio.get_running_loop().call_soon(callback, *values)

    def meet(self, identity: str, *, quietly: bool = False) -> None:
        """See somebody in the room; ``quietly`` for those who were there before us."""
        self.remote_participants[identity] = FakeParticipant(identity)
        if not quietly:
            self.emit("participant_connected", self.remote_participants[identity])

    def part(self, identity: str) -> None:
        """See somebody leave."""
        participant = self.remote_participants.pop(identity, None)
        if participant is not None:
            self.emit("participant_disconnected", participant)


class FakeLocalParticipant:
    """The side of a fake room that sends."""

    def __init__(self, link: FakeRoomLink) -> None:
        self._link = link
        self.identity = ""

    async def publish_data(
        self,
        payload: bytes | str,
        *,
        reliable: bool = True,
        destination_identities: Sequence[str] = (),
        topic: str = "",
    ) -> None:
        """Send data to the others in the room."""
        data = payload.encode() if isinstance(payload, str) else payload
        packet = FakeDataPacket(
            data=data, participant=FakeParticipant(self.identity), topic=topic, kind=1 if reliable else 0
        )
        self._link.send(packet, destination_identities)


class FakeRoomLink:
    """A `RoomLink` to `FakeRooms`."""

    def __init__(self, rooms: FakeRooms) -> None:
        self.on_left: Callable[[LeftBecause], None] | None = None
        self._rooms = rooms
        self._left_because: LeftBecause | None = None
        self._is_connected = False
        self._token: str | None = None
        self.fake = FakeRoom(self)

    @property
    def room(self) -> Room:
        """The fake in the place of LiveKit's room object."""
        return cast("Room", self.fake)

    @property
    def is_connected(self) -> bool:
        """Whether the room is joined."""
        return self._is_connected

    @property
    def left_because(self) -> LeftBecause | None:
        """Why the last connection ended by itself."""
        return self._left_because

    @property
    def refreshed_token(self) -> str | None:
        """The token that the last join was tried with."""
        return self._token

    async def connect(self, grant: Grant, *, timeout_s: float) -> None:
        """Join.

        Raises:
            RoomJoinError: as the script of `FakeRooms` wants it.
        """
        self._left_because = None
        self._token = grant.access_token
        if self._rooms.is_hanging:
            await asyncio.sleep(timeout_s)
            raise RoomJoinError(f"the media server did not let us in within {timeout_s:g} s")
        await asyncio.sleep(0)
        self.fake.name, self.fake.local_participant.identity = self._rooms.enter(grant.access_token, self)
        self._is_connected = True

    async def disconnect(self, *, timeout_s: float) -> None:
        """Leave."""
        async with asyncio.timeout(timeout_s):
            await asyncio.sleep(0)
        if self._is_connected:
            self._is_connected = False
            self._forget()

    def leave_by_author(self) -> None:
        """End the connection as a handler does that calls `room.disconnect()`."""
        if self._is_connected:
            self._forget()
            self.end(LeftBecause.CLOSED)

    def end(self, because: LeftBecause) -> None:
        """End the connection from the server's side."""
        self._is_connected = False
        self._left_because = because
        self.fake.remote_participants.clear()
        self.fake.emit("disconnected", because)
        if self.on_left is not None:
            asyncio.get_running_loop().call_soon(self.on_left, because)

    def send(self, packet: FakeDataPacket, to: Sequence[str]) -> None:
        """Deliver data, as `publish_data` does."""
        if not self._is_connected:
            raise RuntimeError("the room is not joined")
        self._rooms.send(self.fake.name, self.fake.local_participant.identity, packet, to)

    def _forget(self) -> None:
        self._rooms.leave(self.fake.name, self.fake.local_participant.identity)
        self.fake.remote_participants.clear()
