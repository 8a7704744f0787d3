"""Outgoing webhooks of a real orchestrator: five receivers, four of them bad, and kill -9 in the middle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.acceptance.system import System, system
from tests.acceptance.webhook_trap import Trap, trap
from tests.integration.servers import LiveKitFactory

pytestmark = [pytest.mark.acceptance, pytest.mark.integration]

NAMES = ("well", "hang", "fail", "gone", "cut")
PATH = "/api/v1/webhooks"


async def register(running: System, receiver: Trap, name: str) -> str:
    """Register a receiver; gives its id."""
    made = await running.post(PATH, {"url": f"{receiver.url}/{name}"}, expect=201)
    receiver.secrets[name] = made["secret"]
    return str(made["id"])


async def status_of(running: System, webhook_id: str) -> dict[str, Any]:
    return await running.get(f"{PATH}/{webhook_id}")


async def told(running: System, session_id: str) -> list[str]:
    """Give the names of a session's events, as its stream tells them."""
    return [name for _, name in await running.events(session_id)]


async def test_bad_receivers_delay_nobody_and_a_kill_loses_nothing(
    tmp_path: Path, fresh_livekit_server: LiveKitFactory
) -> None:
    quick = system(tmp_path, fresh_livekit_server, webhooks__first_retry="0.2", webhooks__timeout="2")
    async with trap() as receiver, quick as running:
        ids = {name: await register(running, receiver, name) for name in NAMES}
        receiver.moods.update(hang="hang", fail="fail", gone="gone", cut="cut")
        sessions = [(await running.create())["session_id"] for _ in range(4)]

        async def well_has_all() -> bool:
            return all("session_ready" in names_of(receiver, "well", one) for one in sessions)

        await running.until(well_has_all, within_s=5, what="the good receiver to have everything")

        async def is_disabled() -> bool:
            return bool((await status_of(running, ids["gone"]))["status"] == "disabled")

        await running.until(is_disabled, within_s=5, what="410 to disable")
        running.kill()
        await running.start()
        assert await is_disabled()
        await running.post(f"/api/v1/sessions/{sessions[0]}/terminate", {})
        sessions.append((await running.create())["session_id"])
        running.kill()
        receiver.moods.clear()
        await running.start()
        asked_gone = receiver.asked["gone"]
        await running.until_status(sessions[0], "Terminated")
        expected = {one: await told(running, one) for one in sessions}
        for name in ("well", "hang", "fail", "cut"):

            async def has_all(name: str = name) -> bool:
                return all(names_of(receiver, name, one) == expected[one] for one in sessions)

            await running.until(has_all, within_s=20, what=f"{name} to have everything", seen=expected)
        assert receiver.asked["gone"] == asked_gone
        await running.post(f"{PATH}/{ids['gone']}/resume", {})

        async def is_complete() -> bool:
            return all(names_of(receiver, "gone", one) == expected[one] for one in sessions)

        await running.until(is_complete, within_s=20, what="the resumed one to have everything")
        for name in NAMES:
            for one in sessions:
                numbers = receiver.numbers(name, one)
                assert numbers == sorted(numbers)
        await no_secret_is_told(running, receiver)


async def no_secret_is_told(running: System, receiver: Trap) -> None:
    """Look for the secrets where they must not be."""
    texts = [(running.folder / "orchestrator.log").read_text()]
    for path in (PATH, "/metrics"):
        async with running.http.get(running.url + path) as answer:
            texts.append(await answer.text())
    try:
        timeout = aiohttp.ClientTimeout(total=1.0)
        async with running.http.get(f"{running.url}/api/v1/events?from=start", timeout=timeout) as answer:
            async for chunk in answer.content.iter_any():
                texts.append(chunk.decode())
    except TimeoutError:
        pass
    for secret in receiver.secrets.values():
        assert not [text for text in texts if secret in text or secret.removeprefix("whsec_") in text]
    assert f"{receiver.url}/" not in texts[0]
    bodies = [taken.body for taken in receiver.taken["well"]]
    assert not [body for body in bodies if "access_token" in body["data"] or "eyJ" in str(body)]


def names_of(receiver: Trap, name: str, session_id: str) -> list[str]:
    """Give the names of a session's events in the order of their first arrival."""
    first = {
        taken.body["number"]: taken.body["type"]
        for taken in reversed(receiver.taken[name])
        if taken.of[0] == session_id
    }
    return [first[number] for number in receiver.numbers(name, session_id)]
