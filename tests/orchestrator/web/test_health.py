"""Alive, ready, version: what is probed, what is not, and that a probe is never repeated within a second."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import pytest
from aiohttp import ClientSession

from orchestrator.core.errors import RoomServerError, StoreError
from orchestrator.web import health
from tests.orchestrator.web.world import World, error_of


async def test_health_is_the_references_and_probes_nothing(world: World, client: ClientSession) -> None:
    world.rooms.down = True
    answer = await client.get("/health")
    assert answer.status == 200
    body = await answer.json()
    assert set(body) == {"status", "timestamp", "version"}
    assert body["status"] == "healthy"
    assert datetime.fromisoformat(body["timestamp"]).tzinfo is not None
    assert (await client.head("/health")).status == 200


async def test_ready_when_everything_answers(client: ClientSession) -> None:
    answer = await client.get("/ready")
    assert answer.status == 200
    body = await answer.json()
    assert (body["status"], body["store"], body["livekit"]) == ("ready", "ok", "ok")


async def test_livekit_down_is_named(world: World, client: ClientSession) -> None:
    world.rooms.down = True
    answer = await client.get("/ready")
    assert answer.status == 503
    body = await error_of(answer)
    assert (body["error"], body["message"]) == ("NotReady", "not ready: livekit (no answer)")
    assert body["details"] == {"store": "ok", "livekit": "no answer"}


async def test_a_refused_key_is_named(
    world: World, client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(names: object) -> Any:
        raise RoomServerError("LiveKit refused list_rooms (401)")

    monkeypatch.setattr(world.rooms, "list_rooms", refuse)
    assert (await error_of(await client.get("/ready")))["details"]["livekit"] == "refused our key"


async def test_a_store_that_fails_or_hangs_is_named(
    world: World, client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = world.store.feed_after
    words: list[str] = []
    monkeypatch.setattr(health, "PROBE_DEADLINE_S", 0.05)
    monkeypatch.setattr(health, "FRESH_S", 0.0)

    async def failing(seq: int, *, session_id: Any, limit: int) -> Any:
        if limit != 1:
            return await real(seq, session_id=session_id, limit=limit)
        if not words:
            raise StoreError("disk full at /secret")
        return await asyncio.sleep(60)

    monkeypatch.setattr(world.store, "feed_after", failing)
    words.append((await error_of(await client.get("/ready")))["details"]["store"])
    words.append((await error_of(await client.get("/ready")))["details"]["store"])
    assert words == ["failed", "no answer"]


async def test_a_probe_is_not_repeated_at_once(world: World, client: ClientSession) -> None:
    await asyncio.gather(*(client.get("/ready") for _ in range(20)))
    assert world.rooms.calls.count("list_rooms") == 1


async def test_an_instance_that_stops_is_not_ready(world: World, client: ClientSession) -> None:
    world.feed.end_readers()
    assert "orchestrator (stopping)" in (await error_of(await client.get("/ready")))["message"]


async def test_version_says_what_this_is(world: World, client: ClientSession) -> None:
    service = world.settings.service
    assert await (await client.get("/version")).json() == {
        "name": "greenroom",
        "version": service.version,
        "environment": "development",
    }
