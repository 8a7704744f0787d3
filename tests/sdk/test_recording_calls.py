"""What the client says of recordings, against the real HTTP edge and a server that notes what it is sent."""

from __future__ import annotations

import pytest

from orchestrator.settings import Settings
from sdk.client import Client
from sdk.errors import ConflictError, NotFoundError
from tests.orchestrator.web.world import World
from tests.sdk.test_client import serving


async def test_the_orchestrator_understands_every_call() -> None:
    world = World(settings=Settings())
    async with world.running() as http, Client(world.url) as client:
        session_id = (await world.create(http))["session_id"]
        assert (await client.record_status(session_id))["recording_status"] == "idle"
        started = await client.record_start(
            session_id, mode="composite", quality="low", format="webm", layout="speaker"
        )
        assert (started["recording_status"], started["mode"]) == ("starting", "composite")
        assert [started[name] for name in ("quality", "format", "layout")] == ["low", "webm", "speaker"]
        assert (await client.record_pause(session_id))["pending"] == "pause"
        assert (await client.record_resume(session_id))["pending"] == "resume"
        assert (await client.record_stop(session_id))["recording_status"] == "failed"
        with pytest.raises(ConflictError, match="cannot be paused"):
            await client.record_pause(session_id)
        with pytest.raises(NotFoundError):
            await client.record_start("nobody")


async def test_each_operation_is_keyed_and_says_no_more_than_it_was_given() -> None:
    async with serving({}) as (server, client):
        await client.record_start("s1", e2ee_key="secret")
        await client.record_stop("s1")
    assert [(path, body) for _, path, _, body in server.requests] == [
        ("/api/v1/record/start", {"session_id": "s1", "e2ee_key": "secret"}),
        ("/api/v1/record/stop", {"session_id": "s1"}),
    ]
    keys = [headers["Idempotency-Key"] for _, _, headers, _ in server.requests]
    assert len(set(keys)) == 2


async def test_a_status_needs_a_session() -> None:
    async with serving({}) as (_, client):
        with pytest.raises(ValueError, match="session_id must not be empty"):
            await client.record_status("")
