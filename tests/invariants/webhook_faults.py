"""A relay that treats LiveKit's webhooks as a bad network does, a naive observer of them, and a watcher."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import aiohttp
from aiohttp import web
from livekit import api
from livekit.protocol import models

from tests.acceptance.system import System

Fault = Literal["dropped", "repeated", "shuffled", "delayed"]
FAULTS: Final[tuple[Fault, ...]] = ("dropped", "repeated", "shuffled", "delayed")
REPEATS: Final = 10
REPEATED_OVER_S: Final = 5.0
BATCH_S: Final = 2.0  # what comes within it is delivered in any order
DELAY_S: Final = 35.0
LOOK_S: Final = 0.4
_GONE: Final = models.ParticipantInfo.State.DISCONNECTED


class NaiveObserver:
    """The control: takes what webhooks say for the truth, by names, in the order in which they come."""

    def __init__(self) -> None:
        self.rooms: dict[str, set[str]] = {}

    def take(self, body: bytes) -> None:
        """Believe one webhook."""
        told = json.loads(body)
        room = told["room"]["name"]
        identity = told.get("participant", {}).get("identity", "")
        match told["event"]:
            case "participant_joined":
                self.rooms.setdefault(room, set()).add(identity)
            case "participant_left":
                self.rooms.get(room, set()).discard(identity)
            case "room_finished":
                self.rooms.pop(room, None)
            case _:
                pass


class FaultyRelay:
    """Takes LiveKit's webhooks, answers 200 at once, and brings them on.

    A room's fault is the first word of its name, as in `dropped-1`, so that all cases run side by side.
    """

    def __init__(self, *, seed: int) -> None:
        self.url = ""
        self.target = ""
        self.naive = NaiveObserver()
        self.taken: Counter[str] = Counter()  # by fault
        self.refused: list[int] = []  # statuses of the orchestrator that are no 200
        self._random = random.Random(seed)
        self._batch: list[tuple[bytes, dict[str, str]]] = []
        self._http: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def take(self, request: web.Request) -> web.Response:
        """Take one webhook."""
        body = await request.read()
        fault = json.loads(body)["room"]["name"].partition("-")[0]
        self.taken[fault] += 1
        headers = {name: request.headers[name] for name in ("Authorization", "Content-Type")}
        match fault:
            case "dropped":
                pass
            case "repeated":
                for n in range(REPEATS):
                    self._later(n * REPEATED_OVER_S / REPEATS, body, headers)
            case "shuffled":
                self._batch.append((body, headers))
            case "delayed":
                self._later(DELAY_S, body, headers)
        return web.Response()

    async def shuffle(self) -> None:
        """Deliver what came in a while, in any order but the right one."""
        while True:
            await asyncio.sleep(BATCH_S)
            batch, self._batch = self._batch, []
            backwards = batch[::-1]
            if self._random.random() < 0.5:
                self._random.shuffle(backwards)
            for body, headers in backwards:
                await self._deliver(body, headers)

    def _later(self, delay_s: float, body: bytes, headers: dict[str, str]) -> None:
        async def deliver() -> None:
            await asyncio.sleep(delay_s)
            await self._deliver(body, headers)

        task = asyncio.create_task(deliver())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, body: bytes, headers: dict[str, str]) -> None:
        self.naive.take(body)
        assert self._http is not None
        async with self._http.post(self.target, data=body, headers=headers) as response:
            if response.status != 200:
                self.refused.append(response.status)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FaultyRelay]:
        """Listen while the block runs."""
        app = web.Application()
        app.router.add_post("/webhook", self.take)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/webhook"
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
        shuffling = asyncio.create_task(self.shuffle())
        try:
            yield self
        finally:
            tasks = {shuffling, *self._tasks}
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self._http.close()
            await runner.cleanup()


@dataclass(kw_only=True)
class Watched:
    """One session, and since when its view differs from LiveKit's list."""

    system: System
    session_id: str
    room_name: str
    differs_since: float | None = None
    longest_s: float = 0.0
    worst: str = ""
    looks: int = 0
    ours: frozenset[str] = field(default_factory=frozenset)
    theirs: frozenset[str] | None = None


async def look(client: api.LiveKitAPI, watched: Watched) -> None:
    """Compare once: who is in the room by SID, and whether there is a room at all."""
    theirs = await participants(client, watched.room_name)
    session: dict[str, Any] = await watched.system.session(watched.session_id)
    is_over = session["room_status"] == "Terminated"
    watched.ours = frozenset(p["sid"] for p in session["participants"])
    watched.theirs = frozenset(theirs) if theirs is not None else None
    is_equal = theirs is None if is_over else theirs is not None and watched.ours == frozenset(theirs)
    now = time.monotonic()
    watched.looks += 1
    if is_equal:
        watched.differs_since = None
        return
    watched.differs_since = watched.differs_since or now
    if now - watched.differs_since > watched.longest_s:
        watched.longest_s = now - watched.differs_since
        watched.worst = f"{session['room_status']}: ours {watched.ours}, LiveKit's {watched.theirs}"


async def watch(client: api.LiveKitAPI, watched: Collection[list[Watched]]) -> None:
    """Compare all, again and again, also those that come later, until cancelled."""
    while True:
        started = time.monotonic()
        for one in [one for some in watched for one in some]:
            await look(client, one)
        await asyncio.sleep(max(0.05, LOOK_S - (time.monotonic() - started)))


async def participants(client: api.LiveKitAPI, room_name: str) -> dict[str, str] | None:
    """Give identities by SID as LiveKit lists them; None when there is no such room."""
    rooms = await client.room.list_rooms(api.ListRoomsRequest(names=[room_name]))
    if not rooms.rooms:
        return None
    try:
        listed = await client.room.list_participants(api.ListParticipantsRequest(room=room_name))
    except api.TwirpError as error:
        if error.code == api.TwirpErrorCode.NOT_FOUND:
            return None
        raise
    return {p.sid: p.identity for p in listed.participants if p.state != _GONE}
