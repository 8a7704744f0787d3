"""What joining a room of LiveKit takes meanwhile, without us: the floor under what a hand-over can take.

On a machine that others load too, a join takes seconds instead of 0.2 s. That time is in what is measured,
and it says nothing about the orchestrator.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from livekit import api

from sdk.errors import RoomJoinError
from sdk.ports import Grant
from sdk.room import LiveKitRoom
from tests.invariants.real.real_system import RealSystem

_ROOM: Final = "bystanders"  # not ours: its metadata names no deployment, so nobody touches it
_PAUSE_S: Final = 0.5
_JOIN_S: Final = 15.0


class JoinFloor:
    """The longest join so far, the one under way included."""

    def __init__(self) -> None:
        self._longest_s = 0.0
        self._began_at: float | None = None

    @property
    def longest_s(self) -> float:
        """Seconds."""
        under_way_s = 0.0 if self._began_at is None else time.monotonic() - self._began_at
        return max(self._longest_s, under_way_s)

    async def measure(self, running: RealSystem) -> None:
        """Join and leave until cancelled, as a worker does: with the SDK, through the same proxy."""
        media = running.system.media
        identity = f"bystander-{id(self)}"
        grants = api.VideoGrants(room_join=True, room=_ROOM)
        token = api.AccessToken(media.api_key, media.api_secret).with_identity(identity).with_grants(grants)
        grant = Grant(livekit_url=f"ws://127.0.0.1:{running.media_door.port}", access_token=token.to_jwt())
        while True:
            room = LiveKitRoom()
            self._began_at = time.monotonic()
            try:
                await room.connect(grant, timeout_s=_JOIN_S)
            except RoomJoinError:
                pass  # as long as it took, it counts
            self._longest_s, self._began_at = self.longest_s, None
            await room.disconnect(timeout_s=2.0)
            await asyncio.sleep(_PAUSE_S)


@asynccontextmanager
async def join_floor(running: RealSystem) -> AsyncIterator[JoinFloor]:
    """Measure while the block runs."""
    await running.eye.make_room(_ROOM)
    floor = JoinFloor()
    measuring = asyncio.create_task(floor.measure(running))
    try:
        yield floor
    finally:
        measuring.cancel()
        await asyncio.wait({measuring}, timeout=5)
