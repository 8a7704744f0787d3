"""A room on one engine for one test: tokens, participants by the official SDK, and the room service."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, TypeVar

from livekit import api, rtc
from livekit.api.room_service import RoomService

from tests.conformance.engines import Engine

WITHIN_S: Final = 40.0  # what should happen at once may take so long while both cores are busy
_T = TypeVar("_T")
ROOM: Final = {"empty_timeout": 60, "departure_timeout": 60}


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One webhook as it was sent: what it says, and what proves it."""

    body: bytes
    authorization: str
    says: dict[str, Any]

    @property
    def event(self) -> str:
        """Its name."""
        return str(self.says["event"])

    @property
    def identity(self) -> str:
        """Whom it is about, or nobody."""
        return str(self.says.get("participant", {}).get("identity", ""))


@dataclass
class Stage:
    """One room, and who joins it."""

    engine: Engine
    rooms: RoomService
    name: str
    _leaving: AsyncExitStack = field(repr=False)

    def token(
        self,
        identity: str,
        *,
        room: str | None = None,
        ttl_s: float = 600,
        key: str = "",
        secret: str = "",
        kind: str = "",
        name: str = "",
        metadata: str = "",
        attributes: dict[str, str] | None = None,
        **grants: Any,
    ) -> str:
        """Sign a join token for this room; ``grants`` are those of `api.VideoGrants`."""
        all_grants: dict[str, Any] = {"room_join": True, "room": self.name if room is None else room} | grants
        video = api.VideoGrants(**all_grants)
        token = api.AccessToken(key or self.engine.api_key, secret or self.engine.api_secret)
        token = token.with_grants(video).with_ttl(timedelta(seconds=ttl_s)).with_identity(identity)
        token = token.with_name(name).with_metadata(metadata).with_attributes(attributes or {})
        if kind:
            token.claims.kind = kind
        return token.to_jwt()

    async def join(
        self,
        identity: str,
        *,
        into: rtc.Room | None = None,
        options: rtc.RoomOptions | None = None,
        jwt: str = "",
        url: str = "",
        **given: Any,
    ) -> rtc.Room:
        """Join by the SDK; who is still there when the test ends leaves then.

        Args:
            identity: of the participant.
            into: the room object, when somebody listens to it already.
            options: of the SDK.
            jwt: the token; one is signed of ``given`` when there is none.
            url: another way to the engine.
        """
        room = rtc.Room() if into is None else into
        async with asyncio.timeout(WITHIN_S):
            await room.connect(
                url or self.engine.url, jwt or self.token(identity, **given), options or rtc.RoomOptions()
            )
        self._leaving.push_async_callback(leave, room)
        return room

    async def make_room(self, name: str = "", **settings: Any) -> api.Room:
        """Make another room; it is deleted at the end."""
        name = name or f"conformance-{uuid.uuid4()}"
        room: api.Room = await self.rooms.create_room(
            api.CreateRoomRequest(name=name, **{**ROOM, **settings})
        )
        self._leaving.push_async_callback(self._delete, name)
        return room

    async def participants(self, room: str = "") -> dict[str, Any]:
        """Ask the room service who is there, by identity."""
        answer = await self.rooms.list_participants(api.ListParticipantsRequest(room=room or self.name))
        return {info.identity: info for info in answer.participants}

    async def here(self, *identities: str, room: str = "") -> dict[str, Any]:
        """Wait until exactly these are there and active."""

        async def all_active() -> dict[str, Any] | None:
            found = await self.participants(room)
            are_active = all(info.state == api.ParticipantInfo.State.ACTIVE for info in found.values())
            return found if are_active and found.keys() == set(identities) else None

        return await eventually(all_active)

    def notices(self, room: str = "") -> list[Notice]:
        """The webhooks about a room so far, in the order they came."""
        found = []
        for webhook in list(self.engine.webhooks.received):
            says = json.loads(webhook.body)
            if says.get("room", {}).get("name") == (room or self.name):
                found.append(Notice(body=webhook.body, authorization=webhook.authorization, says=says))
        return found

    async def noticed(self, *events: str, room: str = "") -> list[Notice]:
        """Wait until the room's webhooks are exactly these, in this order."""
        await until(lambda: [notice.event for notice in self.notices(room)] == list(events), self.notices)
        return self.notices(room)

    async def _delete(self, name: str) -> None:
        with suppress(api.TwirpError):  # the test may have deleted it
            await self.rooms.delete_room(api.DeleteRoomRequest(room=name))


@asynccontextmanager
async def open_stage(engine: Engine) -> AsyncIterator[Stage]:
    """Make a room, and delete it when all have left."""
    async with (
        api.LiveKitAPI(engine.http, engine.api_key, engine.api_secret) as service,
        AsyncExitStack() as out,
    ):
        stage = Stage(engine, service.room, f"conformance-{uuid.uuid4()}", out)
        await stage.make_room(stage.name)
        yield stage


async def leave(room: rtc.Room) -> None:
    """Leave; nothing happens when the room was left or lost before."""
    if room.isconnected():
        async with asyncio.timeout(WITHIN_S):
            await room.disconnect()


async def tell(room: rtc.Room, data: bytes, heard: Callable[[], object]) -> None:
    """Send data to all until it was heard: what comes before somebody's channel is open is lost."""
    deadline = time.monotonic() + WITHIN_S
    while not heard():
        assert time.monotonic() < deadline, f"{data!r} was not heard in {WITHIN_S:g} s"
        await room.local_participant.publish_data(data, topic="t")
        await asyncio.sleep(0.1)


async def until(
    condition: Callable[[], object], seen: Callable[[], object] = lambda: "", *, within_s: float = WITHIN_S
) -> None:
    """Wait until something holds; a failure tells what was seen last."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen in {within_s:g} s: {seen()}"
        await asyncio.sleep(0.01)


async def eventually(ask: Callable[[], Awaitable[_T | None]], *, within_s: float = WITHIN_S) -> _T:
    """Ask again until there is an answer."""
    deadline = time.monotonic() + within_s
    while (answer := await ask()) is None:
        assert time.monotonic() < deadline, f"it did not happen in {within_s:g} s"
        await asyncio.sleep(0.05)
    return answer
