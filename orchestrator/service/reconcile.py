"""Makes our view of LiveKit right from its own lists, even when every webhook is lost.

LiveKit is read before our records, an absence is believed after two lists, and only rooms whose metadata
carries our deployment id are ours to delete. Source: architecture §4 (Truth about the room).
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from orchestrator.core.errors import OrchestratorError, RoomServerError, RoomServerUnavailableError
from orchestrator.core.ids import RoomName, RoomSid, SessionId
from orchestrator.core.session import Session
from orchestrator.core.triggers import Participant, ParticipantsSeen, RoomCreated, RoomLost
from orchestrator.ports import Clock, Room, RoomServer
from orchestrator.service.agents import with_attempts
from orchestrator.service.sessions import Sessions

log = structlog.get_logger(__name__)

_SECOND_LOOK_S: Final = 0.5  # LiveKit's lists lag a little just after a join
_GHOST_AGE_S: Final = 1.0  # two passes at least this far apart before a ghost is believed
_SIDE_BY_SIDE: Final = 8
_AWAY_INTERVAL_S: Final = 0.25  # while LiveKit is away: its clients wait for their rooms, and give up
_COMMITS_AT_ONCE: Final = 64  # of lost rooms: a restart of LiveKit loses all of them at one moment


class Reconciler:
    """Compares rooms and participants with LiveKit's lists until cancelled."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        rooms: RoomServer,
        clock: Clock,
        rooms_interval_s: float,
        participants_interval_s: float,
    ) -> None:
        self._sessions = sessions
        self._rooms = rooms
        self._clock = clock
        self._rooms_interval_s = rooms_interval_s
        self._participants_interval_s = participants_interval_s
        self._ghosts: dict[RoomName, float] = {}  # since when a room of ours without a session is seen
        self._sids: dict[RoomName, RoomSid] = {}  # of the last list of rooms
        self._slots = asyncio.Semaphore(_SIDE_BY_SIDE)
        self._commits = asyncio.Semaphore(_COMMITS_AT_ONCE)
        self.is_reachable = True  # whether the last list was answered
        self.last_pass_s = 0.0

    async def run_rooms(self) -> None:
        """Compare rooms for ever."""
        while True:
            started = self._clock.monotonic()
            try:
                await self.compare_rooms()
                self._say_reachable(True)
            except RoomServerUnavailableError:
                self._say_reachable(False)
            except OrchestratorError as error:
                log.warning("reconcile_rooms_failed", error=str(error))
            self.last_pass_s = self._clock.monotonic() - started
            pause_s = self._rooms_interval_s
            await asyncio.sleep(pause_s if self.is_reachable else min(pause_s, _AWAY_INTERVAL_S))

    async def run_participants(self) -> None:
        """Compare the participants of all rooms for ever."""
        took_s = 0.0
        while True:
            await asyncio.sleep(max(0.0, self._participants_interval_s - took_s))
            started = self._clock.monotonic()
            if self.is_reachable:
                await asyncio.gather(
                    *(
                        self._look_quietly(session.id)
                        for session in self._sessions.live.all()
                        if session.room_sid is not None and not session.is_over
                    )
                )
            took_s = self._clock.monotonic() - started

    async def compare_rooms(self) -> None:
        """Find rooms that LiveKit lost and rooms that nobody needs any more."""
        listed = await self._list_rooms()
        lost = [s for s in self._sessions.live.all() if self._is_lost(s, listed)]
        if lost:
            await asyncio.sleep(_SECOND_LOOK_S)
            listed = await self._list_rooms()
            await asyncio.gather(*(self._confirm_lost(session, listed) for session in lost))
        await self._sweep_ghosts(listed)

    async def look(self, session_id: SessionId) -> None:
        """Bring the view of one room in line with LiveKit's list, absences confirmed by a second list.

        Raises:
            RoomServerError: LiveKit did not answer, or has another room under this name; nothing was
                concluded.
        """
        session = await self._sessions.get(session_id)
        if session.room_sid is None:
            return
        listed = await self._list(session)
        present = await with_attempts(session, listed, self._rooms)
        session = await self._sessions.get(session_id)
        sids = {participant.sid for participant in present}
        gone = session.participants.keys() - sids
        if present != listed or sids - session.participants.keys():
            session = await self._sessions.apply(session_id, ParticipantsSeen(present=tuple(present)))
        if not gone:
            return
        await asyncio.sleep(_SECOND_LOOK_S)
        present = await self._list(session)
        still_gone = frozenset(gone - {participant.sid for participant in present})
        if still_gone:
            await self._sessions.apply(session_id, ParticipantsSeen(present=tuple(present), gone=still_gone))

    async def find_room(self, session_id: SessionId) -> None:
        """Commit that a session's room was created, if LiveKit has it and our record does not say so.

        Raises:
            RoomServerError: LiveKit did not answer; nothing was concluded.
        """
        session = await self._sessions.get(session_id)
        if not session.is_live or session.room_sid is not None:
            return
        async with self._slots:
            rooms = await self._rooms.list_rooms((session.room_name,))
        for room in rooms:
            if self._is_of(room, session):
                await self._sessions.apply(session_id, RoomCreated(sid=room.sid))

    async def _list(self, session: Session) -> list[Participant]:
        if self._sids.get(session.room_name, session.room_sid) != session.room_sid:
            raise RoomServerError("a room of another life or owner has the name now; it is being looked into")
        async with self._slots:
            return await self._rooms.list_participants(session.room_name)

    async def _list_rooms(self) -> dict[RoomName, Room]:
        listed = {room.name: room for room in await self._rooms.list_rooms()}
        self._sids = {name: room.sid for name, room in listed.items()}
        return listed

    async def _look_quietly(self, session_id: SessionId) -> None:
        try:
            await self.look(session_id)
        except OrchestratorError as error:
            log.debug("look_failed", session_id=session_id, error=str(error))

    def _is_lost(self, session: Session, listed: dict[RoomName, Room]) -> bool:
        room = listed.get(session.room_name)
        return (
            session.is_live
            and session.room_sid is not None
            and (room is None or room.sid != session.room_sid)
        )

    async def _confirm_lost(self, before: Session, listed: dict[RoomName, Room]) -> None:
        """Commit a loss, unless the session moved on between the lists; one failing holds up no other."""
        async with self._commits:
            session = self._sessions.live.get(before.id)
            if session is None or session.room_sid != before.room_sid or not self._is_lost(session, listed):
                return
            room = listed.get(session.room_name)
            try:
                if room is not None and self._is_of(room, session):
                    # Made again by a CreateRoom whose answer we never saw.
                    await self._sessions.apply(session.id, RoomCreated(sid=room.sid))
                else:
                    # Missing, or a stranger has its name: then making it again says so, and ends the session.
                    log.info("room_lost", session_id=session.id, room_name=session.room_name)
                    await self._sessions.apply(session.id, RoomLost(sid=session.room_sid))
            except OrchestratorError as error:  # the next pass finds it lost again
                log.warning("loss_not_committed", session_id=session.id, error=str(error))

    async def _sweep_ghosts(self, listed: dict[RoomName, Room]) -> None:
        now = self._clock.monotonic()
        ghosts = [room for room in listed.values() if self._is_ghost(room)]
        self._ghosts = {room.name: self._ghosts.get(room.name, now) for room in ghosts}
        for room in ghosts:
            if now - self._ghosts[room.name] >= _GHOST_AGE_S:
                log.warning("ghost_room_deleted", room_name=room.name)
                try:
                    await self._rooms.delete_room(room.name)
                except RoomServerError:
                    continue  # the next pass tries again

    def _is_ghost(self, room: Room) -> bool:
        if room.deployment_id != self._sessions.deployment_id or room.name in self._sessions.creating:
            return False
        session = self._sessions.live.of_room(room.name)
        # A session that is ending deletes its room itself, in its order.
        return session is None or session.is_over or session.id != room.session_id

    def _is_of(self, room: Room, session: Session) -> bool:
        return (room.deployment_id, room.session_id) == (self._sessions.deployment_id, session.id)

    def _say_reachable(self, is_reachable: bool) -> None:
        if is_reachable is not self.is_reachable:
            log.warning("livekit_back" if is_reachable else "livekit_unreachable")
        self.is_reachable = is_reachable
