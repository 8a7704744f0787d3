"""What stands around every request: request ids, CORS by list, no caching."""

from __future__ import annotations

import pytest
from aiohttp import ClientSession

from tests.orchestrator.web.world import PAGE_ORIGIN, World, error_of

CREATE = "/api/v1/create-session"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}


async def test_a_listed_origin_may_call_and_ask_first(client: ClientSession) -> None:
    asked = await client.options(CREATE, headers={"Origin": PAGE_ORIGIN, **PREFLIGHT})
    assert asked.status == 204
    assert asked.headers["Access-Control-Allow-Origin"] == PAGE_ORIGIN
    assert "POST" in asked.headers["Access-Control-Allow-Methods"]
    assert "Content-Type" in asked.headers["Access-Control-Allow-Headers"]
    answer = await client.get("/health", headers={"Origin": PAGE_ORIGIN})
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE_ORIGIN
    assert answer.headers["Vary"] == "Origin"


@pytest.mark.parametrize("origin", ["https://evil.example.org", "null", PAGE_ORIGIN + ".evil.org"])
async def test_another_origin_gets_no_permission(client: ClientSession, origin: str) -> None:
    asked = await client.options(CREATE, headers={"Origin": origin, **PREFLIGHT})
    assert asked.status == 405
    assert "Access-Control-Allow-Origin" not in asked.headers
    answer = await client.get("/health", headers={"Origin": origin})
    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_errors_and_streams_carry_the_permission_too(world: World, client: ClientSession) -> None:
    origin = {"Origin": PAGE_ORIGIN}
    missing = await client.get("/nothing", headers=origin)
    assert missing.headers["Access-Control-Allow-Origin"] == PAGE_ORIGIN
    async with client.get("/api/v1/events", headers=origin) as stream:
        assert stream.headers["Access-Control-Allow-Origin"] == PAGE_ORIGIN
        assert stream.headers["X-Request-ID"]


async def test_answers_are_not_cached_and_name_no_versions(client: ClientSession) -> None:
    answer = await client.get("/health")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Server"] == "greenroom"


async def test_a_page_of_a_foreign_origin_opens_no_worker_socket(client: ClientSession) -> None:
    headers = {"Origin": "https://evil.example.org", "Connection": "Upgrade", "Upgrade": "websocket"}
    answer = await client.get("/api/v1/workers/connect", headers=headers)
    assert answer.status == 403
    assert (await error_of(answer))["error"] == "Forbidden"
