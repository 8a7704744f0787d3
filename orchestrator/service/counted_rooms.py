"""A wrapper around the room server that counts its calls, their outcomes and the time they took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable
from typing import TypeVar

from orchestrator.core.errors import RoomServerError, RoomServerUnavailableError
from orchestrator.core.ids import Identity, JobId, RoomName, SessionId
from orchestrator.core.triggers import Participant
from orchestrator.ports import Clock, Dispatch, Room, RoomServer

T = TypeVar("T")


class CountedRooms:
    """A `RoomServer` that counts.

    Attributes:
        calls: by (call, outcome); the outcome is ok, refused or unavailable.
        seconds: time spent, by call.
    """

    def __init__(self, rooms: RoomServer, clock: Clock) -> None:
        self._rooms = rooms
        self._clock = clock
        self.calls: Counter[tuple[str, str]] = Counter()
        self.seconds: dict[str, float] = {}

    async def open(self) -> None:
        """Open the server behind."""
        await self._rooms.open()

    async def close(self) -> None:
        """Close it."""
        await self._rooms.close()

    async def create_room(self, name: RoomName, session_id: SessionId) -> Room:
        """Count and pass on."""
        return await self._count("create_room", self._rooms.create_room(name, session_id))

    async def list_rooms(self, names: tuple[RoomName, ...] = ()) -> list[Room]:
        """Count and pass on."""
        return await self._count("list_rooms", self._rooms.list_rooms(names))

    async def delete_room(self, name: RoomName) -> None:
        """Count and pass on."""
        await self._count("delete_room", self._rooms.delete_room(name))

    async def list_participants(self, name: RoomName) -> list[Participant]:
        """Count and pass on."""
        return await self._count("list_participants", self._rooms.list_participants(name))

    async def remove_participant(self, name: RoomName, identity: Identity) -> None:
        """Count and pass on."""
        await self._count("remove_participant", self._rooms.remove_participant(name, identity))

    async def create_dispatch(
        self, name: RoomName, agent_name: str, *, job_id: JobId, attempt: int, metadata: str
    ) -> None:
        """Count and pass on."""
        answer = self._rooms.create_dispatch(
            name, agent_name, job_id=job_id, attempt=attempt, metadata=metadata
        )
        await self._count("create_dispatch", answer)

    async def list_dispatches(self, name: RoomName) -> list[Dispatch]:
        """Count and pass on."""
        return await self._count("list_dispatches", self._rooms.list_dispatches(name))

    async def delete_dispatch(self, name: RoomName, dispatch_id: str) -> None:
        """Count and pass on."""
        await self._count("delete_dispatch", self._rooms.delete_dispatch(name, dispatch_id))

    async def _count(self, call: str, answer: Awaitable[T]) -> T:
        started = self._clock.monotonic()
        outcome = "cancelled"
        try:
            value = await answer
        except RoomServerUnavailableError:
            outcome = "unavailable"
            raise
        except RoomServerError:
            outcome = "refused"
            raise
        else:
            outcome = "ok"
            return value
        finally:
            self.calls[call, outcome] += 1
            self.seconds[call] = self.seconds.get(call, 0.0) + self._clock.monotonic() - started
