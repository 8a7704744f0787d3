"""Kill -9 of the orchestrator in every state, and of LiveKit: each session goes on or ends as it should."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from livekit import api

from tests.acceptance.system import System, joined, system
from tests.integration.servers import LiveKitFactory

pytestmark = [pytest.mark.acceptance, pytest.mark.integration]


async def rooms_of(running: System) -> list[str]:
    media = running.media
    url = media.url.replace("ws://", "http://")
    async with api.LiveKitAPI(url, media.api_key, media.api_secret) as client:
        listed = await client.room.list_rooms(api.ListRoomsRequest())
        return [room.name for room in listed.rooms]


async def test_killed_while_creating(tmp_path: Path, fresh_livekit_server: LiveKitFactory) -> None:
    async with system(tmp_path, fresh_livekit_server) as running:
        os.kill(running.media.pid, signal.SIGSTOP)  # CreateRoom hangs
        creating = asyncio.create_task(running.create(room_name="the-room"))
        try:
            await asyncio.sleep(0.5)
            running.kill()
        finally:
            os.kill(running.media.pid, signal.SIGCONT)
        with pytest.raises(Exception):  # noqa: B017  # whatever the client sees of a killed server
            await creating
        await running.start()
        events = await all_events(running)
        session_id = next(data for name, data in events if name == "session_created")
        session = await running.until_status(session_id, "Ready")
        assert session["room_name"] == "the-room"
        assert "the-room" in await rooms_of(running)


async def test_killed_while_waiting_for_services(
    tmp_path: Path, fresh_livekit_server: LiveKitFactory
) -> None:
    async with system(tmp_path, fresh_livekit_server, microservices__join_timeout="3") as running:
        created = await running.create(required_services=["nobody"])
        assert created["status"] == "WaitingForServices"
        assert created["missing_services"] == ["nobody"]
        running.kill()
        await running.start()
        session = await running.until_status(created["session_id"], "Ready", within_s=8)
        assert session["degraded"] is True
        assert session["missing_services"] == ["nobody"]


async def test_killed_while_active(tmp_path: Path, fresh_livekit_server: LiveKitFactory) -> None:
    async with system(tmp_path, fresh_livekit_server) as running:
        created = await running.create()
        async with joined(created):
            await running.until_status(created["session_id"], "Active")
            running.kill()
            await running.start()
            session = await running.session(created["session_id"])
            assert session["room_status"] == "Active"
        # The client left; who was away then still learns of it.
        await running.until_status(created["session_id"], "Ready", within_s=10)
        await running.post(f"/api/v1/sessions/{created['session_id']}/terminate", {})
        await running.until_status(created["session_id"], "Terminated")
        names = [name for _, name in await running.events(created["session_id"])]
        assert names.count("session_created") == 1
        assert names.count("session_terminated") == 1


async def test_killed_while_terminating(tmp_path: Path, fresh_livekit_server: LiveKitFactory) -> None:
    async with system(tmp_path, fresh_livekit_server) as running:
        created = await running.create()
        await running.until_status(created["session_id"], "Ready")
        os.kill(running.media.pid, signal.SIGSTOP)  # DeleteRoom hangs
        try:
            await running.post(f"/api/v1/sessions/{created['session_id']}/terminate", {})
            assert (await running.session(created["session_id"]))["room_status"] == "Terminating"
            running.kill()
        finally:
            os.kill(running.media.pid, signal.SIGCONT)
        await running.start()
        await running.until_status(created["session_id"], "Terminated")
        assert created["room_name"] not in await rooms_of(running)


async def test_livekit_killed_under_a_session(tmp_path: Path, fresh_livekit_server: LiveKitFactory) -> None:
    async with system(tmp_path, fresh_livekit_server) as running:
        created = await running.create()
        async with joined(created) as room:
            await running.until_status(created["session_id"], "Active")
            before = (await running.session(created["session_id"]))["session_id"]
            running.media.kill()
            running.media.start()

            async def is_back() -> bool:
                return created["room_name"] in await rooms_of(running)

            await running.until(is_back, within_s=5, what="the room to be made again")

            async def is_connected() -> bool:
                return room.isconnected() and bool(
                    (await running.get(f"/api/v1/sessions/{before}/participants"))["participants"]
                )

            await running.until(is_connected, within_s=40, what="the client to be back")
            await running.until_status(created["session_id"], "Active", within_s=10)
        names = [name for _, name in await running.events(created["session_id"])]
        assert "room_recreated" in names
        assert "session_terminated" not in names


@pytest.mark.parametrize("with_webhooks", [True, False])
async def test_states_follow_livekit_with_and_without_webhooks(
    tmp_path: Path, fresh_livekit_server: LiveKitFactory, with_webhooks: bool
) -> None:
    async with system(tmp_path, fresh_livekit_server, with_webhooks=with_webhooks) as running:
        within_s = 2.0 if with_webhooks else 5 + 2.0  # participants_interval + 2 s
        created = await running.create()
        await running.until_status(created["session_id"], "Ready")
        async with joined(created):
            await running.until_status(created["session_id"], "Active", within_s=within_s)
        await running.until_status(created["session_id"], "Ready", within_s=within_s)


async def test_livekit_down_at_create_is_502_and_leaves_no_late_room(
    tmp_path: Path, fresh_livekit_server: LiveKitFactory
) -> None:
    async with system(tmp_path, fresh_livekit_server) as running:
        running.media.kill()
        answer = await running.post(
            "/api/v1/create-session", {"user_identity": "anna", "required_services": []}, expect=502
        )
        assert answer["error"] == "LiveKitUnavailable"
        session_id = answer["details"]["session_id"]
        assert (await running.session(session_id))["room_status"] in ("Terminating", "Terminated")
        await running.get("/ready", expect=503)
        running.media.start()
        await running.until_status(session_id, "Terminated")
        assert await rooms_of(running) == []


async def all_events(running: System) -> list[tuple[str, str]]:
    """Give (name, session id) of everything the global feed retains."""
    import aiohttp
    import msgspec

    events: list[tuple[str, str]] = []
    name = ""
    try:
        async with running.http.get(
            f"{running.url}/api/v1/events?from=start", timeout=aiohttp.ClientTimeout(total=1.5)
        ) as response:
            async for raw in response.content:
                line = raw.decode().rstrip("\n")
                if line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("data: "):
                    events.append((name, msgspec.json.decode(line[6:]).get("session_id", "")))
    except TimeoutError:
        pass
    return events
