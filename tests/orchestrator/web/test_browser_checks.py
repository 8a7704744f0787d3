"""What pages of others can make a browser send is refused, whatever the route; programs are not bothered."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import ClientSession

from orchestrator.core.ids import SessionId
from orchestrator.settings import ServerSettings, Settings
from orchestrator.web.app import ROUTES
from tests.orchestrator.web.world import PAGE_ORIGIN, World, error_of

CREATE = "/api/v1/create-session"
ALICE = {"user_identity": "alice", "required_services": []}
EVIL = "http://evil.example"


@pytest.mark.parametrize("path", sorted({route.path for route in ROUTES}))
async def test_a_page_whose_name_was_pointed_at_us_reaches_no_route(
    world: World, client: ClientSession, path: str
) -> None:
    """The rebinding page: its browser takes us for evil.example, so Host and Origin agree."""
    for route in ROUTES:
        if route.path == path:
            answer = await client.request(
                route.method,
                path,
                json=ALICE,
                headers={"Host": "evil.example:8080", "Origin": EVIL + ":8080"},
            )
            assert answer.status == 421
            body = await error_of(answer)
            assert body["error"] == "MisdirectedRequest"
            assert "'evil.example:8080'" in body["message"]
            assert "[server] allowed_hosts" in body["message"]
    assert list(world.sessions.live.all()) == []


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:8080", "localhost", "LOCALHOST:1", "localhost.",
     "127.0.0.1.", "10.1.2.3:80", "greenroom.localhost:8080", "[::ffff:127.0.0.1]", "203.0.113.7"],
)  # fmt: skip
async def test_addresses_and_names_of_this_machine_are_taken(client: ClientSession, host: str) -> None:
    assert (await client.get("/health", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "127.1", "2130706433", "localhost:x",
     "127.0.0.1@evil.example", "[::1].evil.example", "[evil.example]", "evil-localhost", "a" * 5000, "",
     ":8080"],
)  # fmt: skip
async def test_other_names_are_not(client: ClientSession, host: str) -> None:
    answer = await client.get("/health", headers={"Host": host})
    assert answer.status == 421
    assert len((await error_of(answer))["message"]) < 300


async def test_a_name_that_is_set_is_taken_and_only_that() -> None:
    world = World(settings=Settings(server=ServerSettings(allowed_hosts=("media.example",))))
    async with world.running() as client:
        for host, status in {"media.example": 200, "MEDIA.example.:80": 200, "a.media.example": 421}.items():
            assert (await client.get("/health", headers={"Host": host})).status == status


async def test_a_request_with_two_hosts_or_none(world: World, client: ClientSession) -> None:
    del client  # it keeps the world listening
    port = int(world.url.rpartition(":")[2])
    for lines, status in {
        "GET /health HTTP/1.0\r\n": b"200",
        "GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n": b"4",
        "GET http://evil.example/health HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n": b"421",
    }.items():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(lines.encode() + b"\r\n")
        assert (await asyncio.wait_for(reader.read(), 5)).split()[1].startswith(status), lines
        writer.close()


@pytest.mark.parametrize(
    "origin", [EVIL, "null", "https://app.example.org.evil.example", "http://localhost:1", "http://["]
)
async def test_a_foreign_page_changes_nothing(world: World, client: ClientSession, origin: str) -> None:
    session = await world.create(client)
    before = await world.store.load(SessionId(session["session_id"]))
    for method, path in (
        ("POST", CREATE),
        ("POST", f"/api/v1/sessions/{before.id}/terminate"),
        ("POST", "/api/v1/microservices/register"),
        ("DELETE", "/api/v1/microservices/asr"),
        ("POST", "/nothing"),
    ):
        answer = await client.request(method, path, json=ALICE, headers={"Origin": origin})
        assert answer.status == 403
        assert "[server] cors_origins" in (await error_of(answer))["message"]
    assert await world.store.load(before.id) == before
    assert len(list(world.sessions.live.all())) == 1


async def test_our_own_page_and_a_listed_one_may(world: World, client: ClientSession) -> None:
    for origin in (PAGE_ORIGIN, world.url, world.url.replace("http:", "https:")):
        assert (await client.post(CREATE, json=ALICE, headers={"Origin": origin})).status == 200


async def test_reading_needs_no_origin_of_ours(client: ClientSession) -> None:
    """The browser itself keeps the answer from the page: there is no permission in it."""
    answer = await client.get("/health", headers={"Origin": EVIL})
    assert answer.status == 200
    assert "Access-Control-Allow-Origin" not in answer.headers
