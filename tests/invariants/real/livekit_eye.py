"""Looks at LiveKit's own lists, beside the orchestrator: who is in which room, and since when.

It uses LiveKit's client, not ours: what it says is not the word of the system under test.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
from livekit import api
from livekit.protocol import models

from greenroom.media_server import MediaServer

_GONE: Final = models.ParticipantInfo.State.DISCONNECTED
_LOOK_S: Final = 2.0


class LiveKitEye:
    """Asks one LiveKit server; every answer is None while it does not answer."""

    def __init__(self, client: api.LiveKitAPI) -> None:
        self._client = client

    async def rooms(self) -> dict[str, str] | None:
        """Give the rooms of the server: name and SID."""
        try:
            async with asyncio.timeout(_LOOK_S):
                listed = await self._client.room.list_rooms(api.ListRoomsRequest())
        except (aiohttp.ClientError, OSError, TimeoutError, api.TwirpError):
            return None
        return {room.name: room.sid for room in listed.rooms}

    async def make_room(self, name: str) -> None:
        """Make a room of nobody's, or find it there."""
        await self._client.room.create_room(api.CreateRoomRequest(name=name, empty_timeout=3600))

    async def identities(self, room_name: str) -> frozenset[str] | None:
        """Give who is in a room; nobody when there is no such room."""
        try:
            async with asyncio.timeout(_LOOK_S):
                request = api.ListParticipantsRequest(room=room_name)
                listed = await self._client.room.list_participants(request)
        except api.TwirpError as error:
            return frozenset() if error.code == api.TwirpErrorCode.NOT_FOUND else None
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None
        return frozenset(person.identity for person in listed.participants if person.state != _GONE)

    async def look_at(self, room_names: Iterable[str]) -> dict[str, frozenset[str] | None]:
        """Give who is in each of these rooms."""
        names = list(room_names)
        seen = await asyncio.gather(*(self.identities(name) for name in names))
        return dict(zip(names, seen, strict=True))

    async def until_there(self, room_name: str, identity: str, *, until: float) -> float | None:
        """Wait until somebody is listed; gives the monotonic time, or None after ``until``."""
        while time.monotonic() < until:
            if identity in (await self.identities(room_name) or ()):
                return time.monotonic()
            await asyncio.sleep(0.05)
        return None


@asynccontextmanager
async def livekit_eye(media: MediaServer) -> AsyncIterator[LiveKitEye]:
    """Open an eye on a server, past any proxy."""
    url = media.url.replace("ws://", "http://")
    async with api.LiveKitAPI(url, media.api_key, media.api_secret) as client:
        yield LiveKitEye(client)
