"""A LiveKit that lives in the test: rooms and participants in memory, and the ways in which it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from orchestrator.core.errors import RoomServerUnavailableError
from orchestrator.core.ids import (
    AGENT_PREFIX,
    Identity,
    JobId,
    ParticipantSid,
    RoomName,
    RoomSid,
    ServiceId,
    SessionId,
)
from orchestrator.core.triggers import Participant, Role
from orchestrator.ports import Dispatch, Room

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
        agents: names of the agents that are registered now: a dispatch brings one of these, at once or never.
        told: metadata of the dispatches, in order.
        lose_next: the next call of this name is done and not answered.
        says_who_came: whether dispatches are listed with who came by them, which LiveKit does seconds late.
        calls: names of the calls that were made.
    """

    def __init__(self, *, deployment_id: str) -> None:
        self.down = False
        self.done_but_timed_out = False
        self.slow: asyncio.Event | None = None
        self.hide_participants_once = False
        self.agents: set[str] = set()
        self.told: list[str] = []
        self.lose_next = ""
        self.says_who_came = False
        self.calls: list[str] = []
        self._deployment_id = deployment_id
        self._rooms: dict[RoomName, Room] = {}
        self._participants: dict[RoomName, dict[Identity, Participant]] = {}
        self._dispatches: dict[RoomName, dict[str, Dispatch]] = {}
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

    async def create_dispatch(
        self, name: RoomName, agent_name: str, *, job_id: JobId, attempt: int, metadata: str
    ) -> None:
        """Send an agent into the room, if one of this name is registered now."""
        self.told.append(metadata)
        await self._answer("create_dispatch", lambda: self._dispatch(name, agent_name, job_id, attempt))

    async def list_dispatches(self, name: RoomName) -> list[Dispatch]:
        """Give the dispatches in the room."""
        found = await self._answer("list_dispatches", lambda: list(self._dispatches.get(name, {}).values()))
        return found if self.says_who_came else [replace(dispatch, identities=()) for dispatch in found]

    async def delete_dispatch(self, name: RoomName, dispatch_id: str) -> None:
        """Delete a dispatch, and with it its agents; a missing one is deleted."""
        await self._answer("delete_dispatch", lambda: self._undo(name, dispatch_id))

    # --- what the test does to it ---

    def lose_room(self, name: str) -> None:
        """Forget a room, as a restart of LiveKit does."""
        self._rooms.pop(RoomName(name), None)
        self._participants.pop(RoomName(name), None)
        self._dispatches.pop(RoomName(name), None)

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

    def add_agent(self, room: str, agent_name: str) -> Participant:
        """Have a LiveKit agent join, by a job of LiveKit's that we may not know of."""
        return self.add_participant(
            room, f"agent-{self._sid('AJ')}", service_id=AGENT_PREFIX + agent_name, role="worker"
        )

    def dispatched(self, room: str) -> list[Dispatch]:
        """Give the dispatches in a room, with who came by them."""
        return list(self._dispatches.get(RoomName(room), {}).values())

    def remove_participants(self, room: str) -> None:
        """Have everybody leave."""
        self._participants.pop(RoomName(room), None)

    def _dispatch(self, name: RoomName, agent_name: str, job_id: JobId, attempt: int) -> None:
        if name not in self._rooms:
            raise RoomServerUnavailableError("LiveKit failed at create_dispatch with status 503")
        came = (self.add_agent(name, agent_name).identity,) if agent_name in self.agents else ()
        made = Dispatch(
            id=self._sid("AD"), agent_name=agent_name, job_id=job_id, attempt=attempt, identities=came
        )
        self._dispatches.setdefault(name, {})[made.id] = made

    def _undo(self, name: RoomName, dispatch_id: str) -> None:
        dispatch = self._dispatches.get(name, {}).pop(dispatch_id, None)
        for identity in dispatch.identities if dispatch is not None else ():
            self._participants.get(name, {}).pop(identity, None)

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
        if self.done_but_timed_out or call == self.lose_next:
            self.lose_next = ""
            raise RoomServerUnavailableError(f"LiveKit did not answer {call} in time")
        return value
