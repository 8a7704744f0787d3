"""Callers of the mixed run: create and end sessions at a steady rate, repeat what was not answered, join."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from sdk.client import Client, ServerEvent
from sdk.errors import RoomJoinError
from sdk.ports import Grant
from sdk.room import LiveKitRoom
from tests.invariants.real.fleet import PULL_SERVICE, PUSH_SERVICE
from tests.invariants.real.real_system import RealSystem

_EVERY_S: Final = 2.0
_CALL_S: Final = 5.0
_AGAIN_S: Final = 0.5
_WANTED: Final[tuple[list[str], ...]] = ([PULL_SERVICE], [PUSH_SERVICE], [PULL_SERVICE, PUSH_SERVICE], [])


@dataclass(slots=True)
class Asked:
    """One creation, repeated under one key until it was answered; and what was asked afterwards."""

    user: str
    body: dict[str, Any]
    session_id: str = ""
    failed_ids: list[str] = field(default_factory=list)  # answered with 502: ended as create_failed
    is_ended: bool = False  # a terminate call was acknowledged


class Callers:
    """Asks through the door; `asked` is what was promised to it."""

    def __init__(self, running: RealSystem, seed: int) -> None:
        self.asked: list[Asked] = []
        self._running = running
        self._chance = random.Random(seed)
        self._rooms: list[LiveKitRoom] = []
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_CALL_S))

    async def work(self, seconds: float) -> None:
        """Begin a session every two seconds for so long; returns when each has had its answers."""
        until = time.monotonic() + seconds
        async with asyncio.TaskGroup() as calls:
            while time.monotonic() < until:
                number = len(self.asked)
                asked = Asked(
                    user=f"user-{number}",
                    body={"user_identity": f"user-{number}", "required_services": _WANTED[number % 4]},
                )
                self.asked.append(asked)
                calls.create_task(self._live(asked, number, self._chance.uniform(2.0, 15.0)))
                await asyncio.sleep(_EVERY_S)

    async def close(self) -> None:
        """Leave all rooms."""
        await asyncio.gather(*(room.disconnect(timeout_s=5) for room in self._rooms))
        await self._http.close()

    async def _live(self, asked: Asked, number: int, stay_s: float) -> None:
        created = await self._create(asked)
        if created and number % 5 == 0:
            await self._join(created)
        if number % 3 == 0:
            await asyncio.sleep(stay_s)
            path = f"/api/v1/sessions/{asked.session_id}/terminate"
            await self._until_answered(path, {}, key=f"end-{asked.user}")
            asked.is_ended = True

    async def _create(self, asked: Asked) -> dict[str, Any]:
        while True:
            status, answer = await self._until_answered("/api/v1/create-session", asked.body, key=asked.user)
            if status == 502:
                asked.failed_ids.append(answer["details"]["session_id"])
                await asyncio.sleep(_AGAIN_S)
                continue
            assert status == 200, (status, answer)
            created: dict[str, Any] = answer
            asked.session_id = created["session_id"]
            return created

    async def _until_answered(self, path: str, body: dict[str, Any], *, key: str) -> tuple[int, Any]:
        """Ask until somebody answers; 503 means later."""
        while True:
            try:
                url = self._running.door.url + path
                async with self._http.post(url, json=body, headers={"Idempotency-Key": key}) as response:
                    answer = await response.json()
                    if response.status != 503:
                        return response.status, answer
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass
            await asyncio.sleep(_AGAIN_S)

    async def _join(self, created: dict[str, Any]) -> None:
        """Be in the room if that works: a client that cannot join is no matter to the session."""
        room = LiveKitRoom()
        self._rooms.append(room)
        grant = Grant(livekit_url=created["livekit_url"], access_token=created["access_token"])
        with suppress(RoomJoinError):
            await room.connect(grant, timeout_s=10)


async def restless(client: Client, got: list[ServerEvent], seed: int) -> None:
    """Read the global feed for ever, leaving it every moment and resuming by `Last-Event-ID`."""
    chance = random.Random(seed)
    while True:
        try:
            async with asyncio.timeout(chance.uniform(0.2, 3.0)):
                last = got[-1].id if got else ""
                async for event in client.events(last_event_id=last, from_start=not last):
                    got.append(event)
        except TimeoutError:
            continue
