"""A LiveKit that lives in the test: rooms and participants in memory, and the ways in which it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from orchestrator.core.errors import RoomServerUnavailableError
from orchestrator.core.ids import Identity, ParticipantSid, RoomName, RoomSid, ServiceId, SessionId
from orchestrator.core.triggers import Participant, Role
from orchestrator.ports import Room

_T = TypeVar("_T")


def client(identity: str, sid: str) -> Participant:
    """Make a client as LiveKit lists it."""
    return Participant(identity=Identity(identity), sid=ParticipantSid(sid))


class FakeRooms:
    """Implements `RoomServer`.

    Attributes:
        down: nothing is answered, nothing is done.
        done_but_timed_out: everything is done, nothing is answered.
        slow: while it is set to an event, every call waits for it before anything is done.
        hide_participants_once: the next list of participants is empty, as a lagging one can be.
        calls: names of the calls that were made.
    """

    def __init__(self, *, deployment_id: str) -> None:
        self.down = False
        self.done_but_timed_out = False
        self.slow: asyncio.Event | None = None
        self.hide_participants_once = False
        self.calls: list[str] = []
        self._deployment_id = deployment_id
        self._rooms: dict[RoomName, Room] = {}
        self._participants: dict[RoomName, dict[Identity, Participant]] = {}
        self._count = 0

    async def open(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    async def create_room(self, name: RoomName, session_id: SessionId) -> Room:
        """Create the room, or give the one that exists."""
        made = Room(name=name, sid=self._sid("RM"), deployment_id=self._deployment_id, session_id=session_id)
        return await self._answer("create_room", lambda: self._rooms.setdefault(name, made))

    async def list_rooms(self, names: tuple[RoomName, ...] = ()) -> list[Room]:
        """Give the rooms of these names, or all."""
        return await self._answer(
            "list_rooms", lambda: [room for room in self._rooms.values() if not names or room.name in names]
        )

    async def delete_room(self, name: RoomName) -> None:
        """Delete the room; a missing one is deleted."""
        await self._answer("delete_room", lambda: self.lose_room(name))

    async def list_participants(self, name: RoomName) -> list[Participant]:
        """Give who is in the room."""
        found = await self._answer(
            "list_participants", lambda: list(self._participants.get(name, {}).values())
        )
        if self.hide_participants_once:
            self.hide_participants_once = False
            return []
        return found

    async def remove_participant(self, name: RoomName, identity: Identity) -> None:
        """Put somebody out; a missing one is out."""
        await self._answer("remove_participant", lambda: self._participants.get(name, {}).pop(identity, None))

    # --- what the test does to it ---

    def lose_room(self, name: str) -> None:
        """Forget a room, as a restart of LiveKit does."""
        self._rooms.pop(RoomName(name), None)
        self._participants.pop(RoomName(name), None)

    def add_foreign_room(self, name: str) -> None:
        """Have a room of somebody else."""
        self._rooms[RoomName(name)] = Room(name=RoomName(name), sid=self._sid("RM"))

    def add_participant(
        self,
        room: str,
        identity: str,
        *,
        service_id: str | None = None,
        attempt: int = 0,
        role: Role | None = None,
        grant: int = 0,
        session_id: str = "",
    ) -> Participant:
        """Have somebody join: by default a worker of the service, or a client when there is none.

        One of the same identity is replaced, as LiveKit does.
        """
        participant = Participant(
            identity=Identity(identity),
            sid=ParticipantSid(self._sid("PA")),
            role=role or ("client" if service_id is None else "worker"),
            service_id=ServiceId(service_id) if service_id is not None else None,
            attempt=attempt,
            grant=grant,
            session_id=session_id,
        )
        self._participants.setdefault(RoomName(room), {})[participant.identity] = participant
        return participant

    def remove_participants(self, room: str) -> None:
        """Have everybody leave."""
        self._participants.pop(RoomName(room), None)

    def _sid(self, kind: str) -> RoomSid:
        self._count += 1
        return RoomSid(f"{kind}_{self._count}")

    async def _answer(self, call: str, act: Callable[[], _T]) -> _T:
        self.calls.append(call)
        if self.slow is not None:
            await self.slow.wait()
        if self.down:
            raise RoomServerUnavailableError(f"LiveKit cannot be reached for {call}")
        value = act()
        if self.done_but_timed_out:
            raise RoomServerUnavailableError(f"LiveKit did not answer {call} in time")
        return value
