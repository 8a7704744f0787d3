"""A LiveKit that lives in virtual time: rooms, participants, webhooks, and the bad habits that were measured.

Source: `docs/LIVEKIT.md`. It notices the dead after 21.6 s, lists lag a little, a restart loses every room,
webhooks are lost, late, repeated and out of order, and a token that was minted stays good.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from orchestrator.core.grants import Grant
from orchestrator.core.ids import Identity, ParticipantSid, RoomName, RoomSid, SessionId
from orchestrator.core.triggers import Participant
from orchestrator.ports import Notice, Room
from tests.invariants.history import Joined, Left, RoomGone, RoomMade
from tests.invariants.simulation.stage import Stage

DEATH_NOTICED_S: Final = 21.6  # after the last sign of life
LIST_LAG_S: Final = 0.4
LEEWAY_S: Final = 60.0  # an expired token is good for so long


class JoinRefusedError(Exception):
    """LiveKit did not let somebody in: no such room, or the token is over."""


@dataclass(eq=False, slots=True, kw_only=True)
class Connection:
    """Somebody's place in a room. ``on_lost(why)`` is called when LiveKit ends it."""

    room: RoomName
    participant: Participant
    on_lost: Callable[[str], None]
    is_silent: bool = False  # frozen, dead or cut off: LiveKit will notice
    silences: int = 0


@dataclass(slots=True, kw_only=True)
class _Room:
    room: Room
    present: dict[Identity, Connection] = field(default_factory=dict)
    before: list[Participant] = field(default_factory=list)  # what a lagging list shows
    changed_at: float = -1.0


class LiveKit:
    """The media server. What it does, it does at once; the way to it is the callers'."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._rooms: dict[RoomName, _Room] = {}
        self._count = 0
        self.on_notice: Callable[[Notice], None] = lambda notice: None
        self.lag_p = 0.0

    # --- the room service ---

    def create_room(self, name: RoomName, deployment_id: str, session_id: str) -> Room:
        """Create it, or give the one that exists."""
        if name not in self._rooms:
            sid = RoomSid(self._sid("RM"))
            room = Room(name=name, sid=sid, deployment_id=deployment_id, session_id=session_id)
            self._rooms[name] = _Room(room=room)
            self._stage.history.add(
                RoomMade(
                    at=self._stage.time(),
                    name=name,
                    sid=sid,
                    deployment_id=deployment_id,
                    session_id=session_id,
                )
            )
            self._notify("room_started", room)
        return self._rooms[name].room

    def list_rooms(self, names: tuple[RoomName, ...]) -> list[Room]:
        """Give rooms, all of them or those of these names."""
        return [held.room for name, held in self._rooms.items() if not names or name in names]

    def delete_room(self, name: RoomName, by: str = "us") -> None:
        """Delete it and put everybody out."""
        held = self._rooms.get(name)
        if held is None:
            return
        for connection in list(held.present.values()):
            self._out(held, connection, "room deleted")
        del self._rooms[name]
        self._stage.history.add(RoomGone(at=self._stage.time(), name=name, sid=held.room.sid, by=by))
        self._notify("room_finished", held.room)

    def list_participants(self, name: RoomName) -> list[Participant]:
        """Give who is there; just after a change sometimes who was there before it."""
        held = self._rooms.get(name)
        if held is None:
            return []
        is_fresh = self._stage.time() - held.changed_at < LIST_LAG_S
        if is_fresh and self._stage.chance(self.lag_p):
            return list(held.before)
        return [connection.participant for connection in held.present.values()]

    def remove_participant(self, name: RoomName, identity: Identity) -> None:
        """Put somebody out; their token stays good."""
        held = self._rooms.get(name)
        if held is not None and identity in held.present:
            self._out(held, held.present[identity], "removed")

    # --- participants ---

    def join(self, grant: Grant, expires_at_s: float, on_lost: Callable[[str], None]) -> Connection:
        """Let somebody in. An earlier connection of the same identity is put out.

        Raises:
            JoinRefusedError: there is no such room, or the token is over.
        """
        held = self._rooms.get(grant.room_name)
        if held is None:
            raise JoinRefusedError("no such room")
        if self._stage.time() > expires_at_s + LEEWAY_S:
            raise JoinRefusedError("token expired")
        if grant.identity in held.present:
            self._out(held, held.present[grant.identity], "duplicate identity")
        participant = Participant(
            identity=grant.identity,
            sid=ParticipantSid(self._sid("PA")),
            role=grant.role,
            service_id=grant.service_id,
            attempt=grant.attempt,
            grant=grant.number,
            session_id=grant.session_id or "",
        )
        connection = Connection(room=grant.room_name, participant=participant, on_lost=on_lost)
        self._remember(held)
        held.present[grant.identity] = connection
        self._stage.history.add(
            Joined(
                at=self._stage.time(),
                room=grant.room_name,
                sid=participant.sid,
                identity=grant.identity,
                role=grant.role,
                service_id=grant.service_id or "",
                attempt=grant.attempt,
                grant=grant.number,
            )
        )
        self._notify("participant_joined", held.room, participant)
        return connection

    def leave(self, connection: Connection) -> None:
        """Let somebody go who says so."""
        held = self._held(connection)
        if held is not None:
            self._out(held, connection, "left", is_told=False)

    def silence(self, connection: Connection) -> None:
        """Hear nothing more of somebody: after 21.6 s they are out."""
        connection.is_silent = True
        connection.silences += 1
        which = connection.silences
        self._stage.later(DEATH_NOTICED_S, lambda: self._notice_death(connection, which))

    def speak_again(self, connection: Connection) -> bool:
        """Hear again of somebody; False when they were put out meanwhile."""
        connection.is_silent = False
        return self.is_in(connection)

    def is_in(self, connection: Connection) -> bool:
        """Tell whether this connection is still listed."""
        return self._held(connection) is not None

    # --- what is done to it ---

    def restart(self) -> None:
        """Lose every room, without a word."""
        for name, held in list(self._rooms.items()):
            for connection in list(held.present.values()):
                self._out(held, connection, "server restarted", is_said=False)
            del self._rooms[name]
            self._stage.history.add(
                RoomGone(at=self._stage.time(), name=name, sid=held.room.sid, by="livekit")
            )

    def rooms_of(self, deployment_id: str) -> list[Room]:
        """Give the rooms that carry a deployment's id."""
        return [held.room for held in self._rooms.values() if held.room.deployment_id == deployment_id]

    def owner_of(self, name: RoomName) -> SessionId | None:
        """Give the session that a room was made for."""
        held = self._rooms.get(name)
        return SessionId(held.room.session_id) if held is not None else None

    def _notice_death(self, connection: Connection, which: int) -> None:
        held = self._held(connection)
        if held is not None and connection.is_silent and connection.silences == which:
            self._out(held, connection, "not heard")

    def _held(self, connection: Connection) -> _Room | None:
        held = self._rooms.get(connection.room)
        if held is None or held.present.get(connection.participant.identity) is not connection:
            return None
        return held

    def _out(
        self, held: _Room, connection: Connection, why: str, *, is_told: bool = True, is_said: bool = True
    ) -> None:
        self._remember(held)
        del held.present[connection.participant.identity]
        self._stage.history.add(
            Left(at=self._stage.time(), room=connection.room, sid=connection.participant.sid, why=why)
        )
        if is_said:
            self._notify("participant_left", held.room, connection.participant)
        if is_told and not connection.is_silent:
            # The client library hears of it a moment later.
            self._stage.later(self._stage.between(0.001, 0.05), lambda: connection.on_lost(why))

    def _remember(self, held: _Room) -> None:
        held.before = [connection.participant for connection in held.present.values()]
        held.changed_at = self._stage.time()

    def _notify(self, event: str, room: Room, participant: Participant | None = None) -> None:
        self._count += 1
        self.on_notice(
            Notice(
                event=event,
                id=f"EV_{self._count}",
                room_name=room.name,
                room_sid=room.sid,
                deployment_id=room.deployment_id,
                session_id=room.session_id,
                participant=participant,
            )
        )

    def _sid(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._count}"
