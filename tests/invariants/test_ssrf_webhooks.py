"""Receivers of webhooks are addresses that somebody names too: what holds of workers holds of them.

The control is in test_ssrf.py: the naive client is led into the same traps.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from aiohttp.abc import AbstractResolver

from orchestrator.adapters.webhook_sender import HttpWebhookSender
from orchestrator.core.webhook_targets import SendOutcome, TargetId, WebhookTarget
from orchestrator.settings import NetworkSettings, Settings
from tests.invariants.traps import CODES, LOCATIONS, Everywhere, Trap, listening_trap, redirector
from tests.invariants.url_forms import NAMES, REFUSED_BY_TEXT, ROUTED
from tests.orchestrator.web.world import World, error_of

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SECRET = "whsec_" + "QUJD" * 8


@pytest.fixture
async def trap() -> AsyncIterator[Trap]:
    async with listening_trap() as made:
        yield made


@asynccontextmanager
async def sender(
    *, allow_private: bool, resolver: AbstractResolver | None = None
) -> AsyncIterator[HttpWebhookSender]:
    made = HttpWebhookSender(
        allow_private=allow_private, timeout_s=2, now=lambda: NOW, resolver=resolver or Everywhere()
    )
    await made.open()
    try:
        yield made
    finally:
        await made.close()


async def sent(by: HttpWebhookSender, url: str) -> SendOutcome:
    target = WebhookTarget(id=TargetId("wh_1"), url=url, secret=SECRET, created_at=NOW)
    return await by.send(target, message_id="msg_1", body=b"{}")


async def test_no_spelling_of_a_receiver_leads_to_this_machine(trap: Trap) -> None:
    async with sender(allow_private=False) as by:
        for form in (*REFUSED_BY_TEXT, *NAMES):
            outcome = await sent(by, form.replace("PORT", str(trap.port)))
            assert outcome.status is None, form
    assert trap.caught == 0


async def test_what_never_serves_is_refused_where_private_networks_are_allowed(trap: Trap) -> None:
    async with sender(allow_private=True) as by:
        for form in ROUTED:
            assert (await sent(by, form.replace("PORT", str(trap.port)))).status is None, form
    assert trap.caught == 0


@pytest.mark.parametrize("code", CODES)
async def test_no_redirect_is_followed(trap: Trap, code: int) -> None:
    async with sender(allow_private=True) as by:
        for location in LOCATIONS:
            async with redirector(code, location.format(port=trap.port)) as url:
                assert (await sent(by, url)).status == code
    assert trap.caught == 0


@pytest.mark.parametrize("rebound", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::"])
async def test_a_name_that_changed_its_mind_is_not_called(trap: Trap, rebound: str) -> None:
    resolver = Everywhere("93.184.215.14", rebound)
    await resolver.resolve("evil.example")  # what its registration saw
    async with sender(allow_private=False, resolver=resolver) as by:
        outcome = await sent(by, f"http://evil.example:{trap.port}/hook")
    assert outcome.status is None
    assert outcome.reason.startswith("the address leads to")
    assert rebound not in outcome.reason
    assert trap.caught == 0


async def test_a_registration_is_refused_with_its_value_and_stores_nothing() -> None:
    world = World(settings=Settings(network=NetworkSettings(allow_private_endpoints=False)))
    async with world.running() as client:
        for form in REFUSED_BY_TEXT:
            with contextlib.suppress(UnicodeEncodeError):
                answer = await client.post("/api/v1/webhooks", json={"url": form.replace("PORT", "8001")})
                assert answer.status == 422, form
                message = (await error_of(answer))["message"]
                assert message.startswith("Invalid request: url: '"), form
                assert "pa55word" not in message, form
        assert await (await client.get("/api/v1/webhooks")).json() == {"webhooks": []}
