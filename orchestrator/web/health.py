"""Routes that tell how this process is: alive, ready, its numbers, its version."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

import msgspec
from aiohttp import web

from orchestrator.core.errors import RoomServerError, RoomServerUnavailableError, StoreError
from orchestrator.core.ids import RoomName
from orchestrator.web.errors import NotReadyError, rfc3339
from orchestrator.web.metrics import CONTENT_TYPE
from orchestrator.web.services import SERVICES, Services

PROBE_DEADLINE_S: Final = 1.0
FRESH_S: Final = 1.0  # so many probes of ours as there are seconds, whoever asks
_NO_ROOM: Final = RoomName("greenroom-readiness-probe")

_encode = msgspec.json.Encoder().encode


class Readiness:
    """Probes what we depend on, at most once a second, side by side."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._lock = asyncio.Lock()
        self._checked_at = float("-inf")
        self._found: dict[str, str] = {}

    async def look(self) -> dict[str, str]:
        """Give `ok` or a sentence for each of: store, livekit."""
        async with self._lock:
            if time.monotonic() - self._checked_at > FRESH_S:
                store, livekit = await asyncio.gather(_probe(self._ask_store), _probe(self._ask_livekit))
                self._found = {"store": store, "livekit": livekit}
                self._checked_at = time.monotonic()
            return self._found

    async def _ask_store(self) -> None:
        await self._services.store.feed_after(self._services.feed.tail, session_id=None, limit=1)

    async def _ask_livekit(self) -> None:
        await self._services.rooms.list_rooms((_NO_ROOM,))


READINESS: Final = web.AppKey("readiness", Readiness)


async def health(request: web.Request) -> web.Response:
    """Say that the process lives; nothing is probed."""
    version = request.app[SERVICES].settings.service.version
    return _json({"status": "healthy", "timestamp": rfc3339(datetime.now(UTC)), "version": version})


async def ready(request: web.Request) -> web.Response:
    """Say whether store and LiveKit answer, and that we are not stopping; 503 names which does not."""
    found = await request.app[READINESS].look()
    if request.app[SERVICES].feed.is_stopping:
        found = {**found, "orchestrator": "stopping"}
    if any(word != "ok" for word in found.values()):
        raise NotReadyError(found)
    return _json({"status": "ready", "timestamp": rfc3339(datetime.now(UTC)), **found})


async def metrics(request: web.Request) -> web.Response:
    """Give the numbers in Prometheus' text format."""
    body = request.app[SERVICES].metrics.exposition()
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})


async def version(request: web.Request) -> web.Response:
    """Say what this is."""
    service = request.app[SERVICES].settings.service
    return _json({"name": service.name, "version": service.version, "environment": service.environment})


async def _probe(ask: Callable[[], Awaitable[None]]) -> str:
    try:
        async with asyncio.timeout(PROBE_DEADLINE_S):
            await ask()
    except (TimeoutError, RoomServerUnavailableError):
        return "no answer"
    except RoomServerError:
        return "refused our key"
    except StoreError:
        return "failed"
    return "ok"


def _json(answer: dict[str, str]) -> web.Response:
    return web.Response(body=_encode(answer), content_type="application/json")
