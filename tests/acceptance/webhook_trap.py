"""A receiver of webhooks that hangs, fails, cuts and refuses on command, and keeps what it took."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

from aiohttp import web
from standardwebhooks.webhooks import Webhook

Mood = Literal["well", "hang", "fail", "gone", "cut"]
MOODS: dict[str, int] = {"well": 204, "fail": 500, "gone": 410}


@dataclass(frozen=True, slots=True)
class Taken:
    """A delivery that was verified and taken."""

    message_id: str
    body: dict[str, Any]

    @property
    def of(self) -> tuple[str | None, int]:
        """Session and number of the event."""
        return self.body["session_id"], self.body["number"]


class Trap:
    """Receives at `/NAME`, each name with a mood, a secret and a list of its own.

    Attributes:
        moods: by name; `well` unless set. A function decides by delivery.
        secrets: by name; what is not signed with it is never taken.
        taken: by name, in the order of arrival.
        asked: how often each name was called at all.
    """

    def __init__(self) -> None:
        self.url = ""
        self.moods: dict[str, Mood | Callable[[dict[str, Any]], Mood]] = {}
        self.secrets: dict[str, str] = {}
        self.taken: defaultdict[str, list[Taken]] = defaultdict(list)
        self.asked: defaultdict[str, int] = defaultdict(int)

    def numbers(self, name: str, session_id: str | None, *, with_repeats: bool = False) -> list[int]:
        """Give the numbers of a session's events in the order of their first arrival."""
        numbers = [taken.of[1] for taken in self.taken[name] if taken.of[0] == session_id]
        return numbers if with_repeats else list(dict.fromkeys(numbers))

    async def receive(self, request: web.Request) -> web.Response:
        """Take a delivery, or not."""
        name = request.match_info["name"]
        self.asked[name] += 1
        body = Webhook(self.secrets[name]).verify(await request.read(), dict(request.headers))
        mood = self.moods.get(name, "well")
        if callable(mood):
            mood = mood(body)
        if mood == "hang":
            await asyncio.sleep(3600)
        if mood == "cut":
            assert request.transport is not None
            request.transport.abort()
        elif mood == "well":
            self.taken[name].append(Taken(request.headers["webhook-id"], body))
        return web.Response(status=MOODS.get(mood, 500))


@asynccontextmanager
async def trap() -> AsyncIterator[Trap]:
    """Listen on loopback."""
    made = Trap()
    app = web.Application()
    app.router.add_post("/{name}", made.receive)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield made
    finally:
        await runner.cleanup()
