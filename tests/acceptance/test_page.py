"""A page in Chromium joins a session of `greenroom up` and sees the synthetic participant."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from greenroom.free_ports import free_port
from greenroom.synthetic_participant import join
from tests.acceptance.test_up import running_up
from tests.conformance.pages import browser_here, open_page
from tests.conformance.stage import eventually

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]

PUBLISHED_S = 60.0


async def test_a_page_sees_the_synthetic_participant_of_a_session(tmp_path: Path) -> None:
    port = free_port()
    with running_up(tmp_path / "data", port, engine="embedded") as up:
        await asyncio.to_thread(up.wait_for, "Greenroom is up")

        async def post(path: str, **body: Any) -> dict[str, Any]:
            return await asyncio.to_thread(up.post, f"/api/v1/{path}", body)

        created = await post("create-session", user_identity="alice", required_services=[])
        guest = await post(f"sessions/{created['session_id']}/token", user_identity="page")
        async with join(created["livekit_url"], created["access_token"]) as alice:
            publishing = asyncio.create_task(alice.publish(PUBLISHED_S))
            async with browser_here() as browser, open_page(browser) as page:
                await page.do("join", guest["livekit_url"], guest["access_token"], {})

                async def camera() -> str | None:
                    sids: list[str] = await page.do("videosOf", "alice")
                    return sids[0] if sids else None

                counters = await page.sees(await eventually(camera), count=10)
                assert all(earlier < later for earlier, later in pairwise(counters))
            publishing.cancel()
            await asyncio.wait({publishing})
