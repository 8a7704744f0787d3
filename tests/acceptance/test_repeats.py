"""Repeats of requests to the real process: after a kill, twenty at once, and without a key."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.acceptance.system import System, system
from tests.acceptance.test_crashes import all_events, rooms_of
from tests.integration.servers import LiveKitFactory

pytestmark = [pytest.mark.acceptance, pytest.mark.integration]

KEY = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}
BODY = {"user_identity": "anna", "required_services": []}


async def create(running: System, headers: dict[str, str]) -> dict[str, Any]:
    async with running.http.post(
        f"{running.url}/api/v1/create-session", json=BODY, headers=headers
    ) as response:
        answer: dict[str, Any] = await response.json()
        assert response.status == 200, answer
        return answer


async def created_sessions(running: System) -> list[str]:
    return [data for name, data in await all_events(running) if name == "session_created"]


async def killed_before_the_answer(running: System, headers: dict[str, str]) -> None:
    """Have the orchestrator commit an intent and die while LiveKit makes the room; then start it again."""
    os.kill(running.media.pid, signal.SIGSTOP)  # CreateRoom hangs
    creating = asyncio.create_task(create(running, headers))
    try:

        async def is_committed() -> bool:
            return len(await created_sessions(running)) == 1

        await running.until(is_committed, within_s=8, what="the intent to be committed")
        assert not creating.done()
        running.kill()
    finally:
        os.kill(running.media.pid, signal.SIGCONT)
    with pytest.raises(aiohttp.ClientError):
        await creating
    await running.start()


async def test_a_repeat_after_a_kill_finds_the_session_of_the_first(
    tmp_path: Path, fresh_livekit_server: LiveKitFactory
) -> None:
    async with system(tmp_path, fresh_livekit_server) as running:
        await killed_before_the_answer(running, KEY)
        answers = await asyncio.gather(*(create(running, KEY) for _ in range(3)))
        (session_id,) = {answer["session_id"] for answer in answers}
        assert {answer["status"] for answer in answers} == {"Ready"}
        assert await created_sessions(running) == [session_id]
        assert await rooms_of(running) == [answers[0]["room_name"]]
        await running.post(f"/api/v1/sessions/{session_id}/terminate", {})
        await running.until_status(session_id, "Terminated")
        running.kill()
        await running.start()
        async with running.http.post(
            f"{running.url}/api/v1/create-session", json=BODY, headers=KEY
        ) as response:
            assert response.status == 409
            answer = await response.json()
        assert answer["details"] == {"session_id": session_id}
        assert answers[0]["access_token"] not in running.log()


async def test_without_a_key_a_repeat_after_a_kill_is_a_second_session(
    tmp_path: Path, fresh_livekit_server: LiveKitFactory
) -> None:
    async with system(tmp_path, fresh_livekit_server) as running:
        await killed_before_the_answer(running, {})
        again = await create(running, {})
        (first,) = set(await created_sessions(running)) - {again["session_id"]}
        await running.until_status(first, "Ready")
        assert len(await rooms_of(running)) == 2


async def test_twenty_at_once_get_one_session_and_one_room(
    tmp_path: Path, fresh_livekit_server: LiveKitFactory
) -> None:
    async with system(tmp_path, fresh_livekit_server) as running:
        answers = await asyncio.gather(*(create(running, KEY) for _ in range(20)))
        for answer in answers:
            assert answer.pop("access_token")
        assert all(answer == answers[0] for answer in answers)
        assert await created_sessions(running) == [answers[0]["session_id"]]
        assert await rooms_of(running) == [answers[0]["room_name"]]
