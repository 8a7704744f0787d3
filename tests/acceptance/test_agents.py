"""Real LiveKit agents as services: before they exist, killed, side by side, over a LiveKit restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from livekit import api

from scripts.agents_environment import EnvironmentMissingError, ensure
from tests.acceptance.system import System, joined, system
from tests.integration.agent_processes import agent_process
from tests.integration.servers import LiveKitFactory

pytestmark = [pytest.mark.acceptance, pytest.mark.integration, pytest.mark.timeout(240)]
JOIN_S = 60.0  # an agent's process starts, is asked and joins; where both cores are busy that takes long


@pytest.fixture
async def running(tmp_path: Path, fresh_real_livekit_server: LiveKitFactory) -> AsyncIterator[System]:
    """A system that dispatches again after two seconds."""
    try:
        ensure()
    except EnvironmentMissingError as error:
        pytest.skip(f"{error} (python scripts/agents_environment.py)")
    limits: dict[str, Any] = {
        "microservices__retry_interval": "2",
        "reconcile__participants_interval": "1",
    }
    async with system(tmp_path, fresh_real_livekit_server, **limits) as made:
        yield made


async def present(running: System, session_id: str) -> list[str]:
    """Give the identities in a session's room, as LiveKit lists them."""
    media = running.media
    session = await running.session(session_id)
    async with api.LiveKitAPI(media.url, media.api_key, media.api_secret) as livekit:
        request = api.ListParticipantsRequest(room=session["room_name"])
        listed = await livekit.room.list_participants(request)
    gone = api.ParticipantInfo.State.DISCONNECTED
    return sorted(p.identity for p in listed.participants if p.state != gone)


async def dispatches(running: System, session_id: str, name: str) -> int:
    """Count the dispatches of an agent in a session's room."""
    media = running.media
    session = await running.session(session_id)
    async with api.LiveKitAPI(media.url, media.api_key, media.api_secret) as livekit:
        listed = await livekit.agent_dispatch.list_dispatch(session["room_name"])
    return len([dispatch for dispatch in listed if dispatch.agent_name == name])


async def until_whole(running: System, session_id: str, *, attempt: int, within_s: float) -> int:
    """Wait until the session has its agent, by this attempt or a later one, and the room has it once.

    Gives the attempt: on a busy machine an agent may take longer to join than it is given.
    """
    found = 0

    async def is_whole() -> bool:
        nonlocal found
        session = await running.session(session_id)
        found = session["jobs"][0]["attempt"]
        here = [identity for identity in await present(running, session_id) if identity != "anna"]
        return not session["missing_services"] and found >= attempt and len(here) == 1

    await running.until(is_whole, within_s=within_s, what="the agent to be in the room, once")
    return found


async def test_an_agent_that_comes_after_its_session_is_dispatched_again(running: System) -> None:
    created = await running.create(required_services=["agent:echo"])
    assert created["missing_services"] == ["agent:echo"]
    media = running.media
    async with api.LiveKitAPI(media.url, media.api_key, media.api_secret) as livekit:
        # The control: LiveKit's own dispatch into a room of its own, before anybody could take it.
        await livekit.room.create_room(api.CreateRoomRequest(name="control", empty_timeout=300))
        request = api.CreateAgentDispatchRequest(room="control", agent_name="echo")
        await livekit.agent_dispatch.create_dispatch(request)
        with agent_process(media, running.folder, "echo") as agent:
            await agent.registered()
            await until_whole(running, created["session_id"], attempt=2, within_s=JOIN_S)
            session = await running.until_status(created["session_id"], "Ready")
            assert session["ready_services"] == ["agent:echo"]
            assert await dispatches(running, created["session_id"], "echo") == 1
            async with joined(created):
                await running.until_status(created["session_id"], "Active")  # the agent was no client
            assert "control" not in {line["key"] for line in agent.said("asked")}
            lists = await livekit.room.list_participants(api.ListParticipantsRequest(room="control"))
            assert list(lists.participants) == []
            await running.post(f"/api/v1/sessions/{created['session_id']}/terminate", {})
            ended = await running.until_status(created["session_id"], "Terminated")
            assert ended["jobs"][0]["state"] == "done"
    names = [name for _, name in await running.events(created["session_id"])]
    assert "microservice_joined" in names
    assert names.count("client_joined") == 1


async def test_a_killed_agent_is_dispatched_again_when_a_worker_is_back(running: System) -> None:
    with agent_process(running.media, running.folder, "echo") as agent:
        await agent.registered()
        created = await running.create(required_services=["agent:echo"])
        await until_whole(running, created["session_id"], attempt=1, within_s=JOIN_S)
        before = await present(running, created["session_id"])
        agent.kill()

        async def is_missed() -> bool:
            return bool((await running.session(created["session_id"]))["degraded"])

        # LiveKit itself needs 21 s to see that somebody is gone who did not say so.
        await running.until(is_missed, within_s=45, what="the agent to be missed")
    with agent_process(running.media, running.folder, "echo") as agent:
        await agent.registered()
        await until_whole(running, created["session_id"], attempt=2, within_s=JOIN_S)
        assert await present(running, created["session_id"]) != before
        session = await running.session(created["session_id"])
        assert not session["degraded"]
        assert await dispatches(running, created["session_id"], "echo") == 1


async def test_two_sessions_have_an_agent_each_and_a_stray_one_is_put_out(running: System) -> None:
    with agent_process(running.media, running.folder, "echo") as agent:
        await agent.registered()
        first, second = [await running.create(required_services=["agent:echo"]) for _ in range(2)]
        attempts = [
            await until_whole(running, created["session_id"], attempt=1, within_s=JOIN_S)
            for created in (first, second)
        ]
        own = await present(running, first["session_id"])
        media = running.media
        async with api.LiveKitAPI(media.url, media.api_key, media.api_secret) as livekit:
            stray = api.CreateAgentDispatchRequest(room=first["room_name"], agent_name="echo")
            await livekit.agent_dispatch.create_dispatch(stray)

        async def is_removed() -> bool:
            names = [name for _, name in await running.events(first["session_id"])]
            return "participant_removed" in names

        await running.until(is_removed, within_s=JOIN_S, what="the stray agent to be put out")
        await until_whole(running, first["session_id"], attempt=1, within_s=JOIN_S)
        assert await present(running, first["session_id"]) == own
        for created, attempt in zip((first, second), attempts, strict=True):
            assert (await running.session(created["session_id"]))["jobs"][0]["attempt"] == attempt


async def test_an_agent_is_dispatched_into_the_room_that_was_made_again(running: System) -> None:
    with agent_process(running.media, running.folder, "echo") as agent:
        await agent.registered()
        created = await running.create(required_services=["agent:echo"])
        await until_whole(running, created["session_id"], attempt=1, within_s=JOIN_S)
        running.media.kill()
        running.media.start()
        await until_whole(running, created["session_id"], attempt=2, within_s=60)
        await asyncio.sleep(3)  # who was in the old room may come back by itself: still only one stays
        await until_whole(running, created["session_id"], attempt=2, within_s=30)


async def test_a_restart_of_the_orchestrator_dispatches_nothing_again(running: System) -> None:
    with agent_process(running.media, running.folder, "echo") as agent:
        await agent.registered()
        created = await running.create(required_services=["agent:echo"])
        attempt = await until_whole(running, created["session_id"], attempt=1, within_s=JOIN_S)
        joins = len(agent.said("joined"))
        running.kill()
        await running.start()
        await asyncio.sleep(8)  # longer than pull workers have to come back after a start
        session = await running.session(created["session_id"])
        assert [job["attempt"] for job in session["jobs"]] == [attempt]
        assert session["room_status"] == "Ready"
        assert len(agent.said("joined")) == joins
