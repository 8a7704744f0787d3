"""The rooms of this server: made, found, ended by their timeouts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

import msgspec
from livekit.protocol import models, rtc
from livekit.protocol.room import CreateRoomRequest
from livekit.protocol.webhook import WebhookEvent

from engine import tokens
from engine.limits import LONGEST_NAME, JoinRefusedError, check_lengths
from engine.participants import Participant, new_sid
from engine.room import Room
from engine.tokens import Claims, Key

REFRESH_EVERY_S: Final = 300.0
LIVEKIT_DEFAULTS: Final = CreateRoomRequest(empty_timeout=300, departure_timeout=20)


class Rooms:
    """All rooms. With ``auto_create``, or by a token with roomCreate, a join makes the room it names."""

    def __init__(
        self,
        key: Key,
        report: Callable[[WebhookEvent], None],
        *,
        defaults: CreateRoomRequest = LIVEKIT_DEFAULTS,
        auto_create: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._defaults, self._auto_create = defaults, auto_create
        self._key = key
        self._report = report
        self.now = now  # seconds since 1970
        self._rooms: dict[str, Room] = {}  # by name

    def __iter__(self) -> Iterator[Room]:
        return iter(list(self._rooms.values()))

    def create(self, request: CreateRoomRequest) -> Room:
        """Give the room of this name, made if need be; one that exists keeps its settings, as LiveKit's do.

        Raises:
            TooLongError: its name or metadata are too long.
        """
        known = self._rooms.get(request.name)
        if known is not None:
            return known
        check_lengths(name=request.name, metadata=request.metadata)
        whole = CreateRoomRequest()
        whole.CopyFrom(self._defaults)
        whole.MergeFrom(request)
        made = self._rooms[request.name] = Room(whole, now=self.now, emit=self._emit)
        made.emit("room_started")
        return made

    def get(self, name: str) -> Room | None:
        """Give a room by its name."""
        return self._rooms.get(name)

    def check_join(self, claims: Claims) -> None:
        """Find out whether a token lets its holder join a room; makes none.

        Raises:
            JoinRefusedError: 401 without the grant, 400 without a name of either, 404 without the room,
                501 for what is not done here.
        """
        video = claims.video
        if not video.room_join:
            raise JoinRefusedError(401, "permissions denied")
        if not all(0 < len(name) <= LONGEST_NAME for name in (video.room, claims.identity)):
            raise JoinRefusedError(
                400, f"a room and an identity of 1 to {LONGEST_NAME} characters are needed"
            )
        if video.room not in self._rooms and not (self._auto_create or video.room_create):
            raise JoinRefusedError(404, "requested room does not exist")
        if video.can_subscribe_metrics or video.can_manage_agent_session:
            raise JoinRefusedError(501, "no canSubscribeMetrics and no canManageAgentSession is done here")
        if video.room not in self._rooms and (claims.room_config or claims.room_preset):
            raise JoinRefusedError(501, "roomConfig and roomPreset of a token make no room here")

    def room_to_join(self, claims: Claims) -> Room:
        """Give the room that a token lets its holder join; raises as `check_join` does."""
        self.check_join(claims)
        return self.create(CreateRoomRequest(name=claims.video.room))

    def delete(self, found: Room, reason: models.DisconnectReason = models.ROOM_DELETED) -> None:
        """End a room; everybody in it is put out."""
        if self._rooms.pop(found.name, None) is not None:
            found.end(reason)

    def sweep(self) -> None:
        """End what is over by its timeouts, and renew tokens; called once a second."""
        now = self.now()
        for one in self:
            if one.is_over(now):
                self.delete(one, models.ROOM_CLOSED)
                continue
            for participant in list(one.participants.values()):
                if now >= participant.refresh_at:
                    participant.refresh_at = now + REFRESH_EVERY_S
                    participant.connection.send(
                        rtc.SignalResponse(refresh_token=self._renewed(participant, now))
                    )

    def end(self) -> None:
        """The server ends: everybody is put out."""
        for one in self:
            self.delete(one, models.SERVER_SHUTDOWN)

    def _emit(self, event: WebhookEvent) -> None:
        event.id, event.created_at = new_sid("EV_"), int(self.now())
        self._report(event)

    def _renewed(self, participant: Participant, now: float) -> str:
        claims = msgspec.structs.replace(
            participant.claims,
            name=participant.name,
            metadata=participant.metadata,
            attributes=participant.attributes,
            video=tokens.granted(participant.claims.video, participant.permission),
        )
        return tokens.mint(claims, self._key, now=now)
