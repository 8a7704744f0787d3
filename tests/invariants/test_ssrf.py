"""Nothing that somebody names makes the orchestrator call an address that is not allowed: traps stay empty.

Listeners stand on 127.0.0.1 and ::1. Hundreds of spellings, redirects and names that change their mind lead
to them, and every name does: the resolver answers whatever is asked with this machine. The control is the
client that most would write (check the literal, then call): the same harness sees it reaching the traps.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver

from orchestrator.adapters.guarded_http import guarded_session
from orchestrator.adapters.worker_callbacks import WorkerCallbacks
from orchestrator.core.addresses import address_problem, check_url
from orchestrator.settings import NetworkSettings, Settings
from sdk.wire import JoinRoom, LeaveRoom
from tests.invariants.traps import CODES, LOCATIONS, Everywhere, Trap, listening_trap, redirector
from tests.invariants.url_forms import NAMES, REFUSED_BY_TEXT, ROUTED
from tests.orchestrator.web.world import World, error_of

JOIN = JoinRoom(
    room_name="room",
    session_id="s1",
    service_identity="asr",
    access_token="token-that-nobody-may-read",
    livekit_url="ws://127.0.0.1:7880",
)
LEAVE = LeaveRoom(session_id="s1", room_name="room")
PUBLIC = "93.184.215.14"


@pytest.fixture
async def trap() -> AsyncIterator[Trap]:
    async with listening_trap() as made:
        yield made


@asynccontextmanager
async def callbacks(
    *, allow_private: bool, resolver: AbstractResolver | None = None
) -> AsyncIterator[WorkerCallbacks]:
    made = WorkerCallbacks(
        allow_private=allow_private,
        notify_timeout_s=2,
        probe_timeout_s=2,
        now=lambda: datetime.now(UTC),
        resolver=resolver or Everywhere(),
    )
    await made.open()
    try:
        yield made
    finally:
        await made.close()


def naive_client(resolver: AbstractResolver | None = None) -> aiohttp.ClientSession:
    """The control. It may only call this machine: a test sends nothing out."""

    def stay(info: aiohttp.AddrInfoType) -> socket.socket:
        address = ipaddress.ip_address(str(info[4][0]).partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if not (address.is_loopback or address.is_unspecified):
            raise OSError("outside")
        return socket.socket(*info[:3])

    connector = aiohttp.TCPConnector(resolver=resolver or Everywhere(), socket_factory=stay)
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=2))


def naive_check(url: str) -> bool:
    """What most would write: the scheme, and no private literal."""
    try:
        parts = urlsplit(url)
        ip = ipaddress.ip_address(parts.hostname or "")
    except ValueError:
        return url.startswith(("http://", "https://"))
    return not (ip.is_private or ip.is_loopback or ip.is_link_local)


async def call(session: aiohttp.ClientSession, url: str) -> None:
    """Call it, whatever comes of that: what counts is who reaches the traps."""
    with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError, ValueError):
        async with session.get(url):
            pass


# --- spellings ---


def test_there_are_enough_spellings() -> None:
    forms = {*REFUSED_BY_TEXT, *NAMES, *ROUTED}
    assert len(forms) == len(REFUSED_BY_TEXT) + len(NAMES) + len(ROUTED)
    assert len(forms) >= 150


async def test_no_spelling_of_a_worker_leads_to_this_machine(trap: Trap) -> None:
    async with callbacks(allow_private=False) as caller:
        for form in (*REFUSED_BY_TEXT, *NAMES):
            endpoint = form.replace("PORT", str(trap.port))
            outcome = await caller.join_room(endpoint, JOIN)
            assert outcome.answer == "no", form
            assert outcome.detail.startswith("the worker's endpoint '"), form
            assert (await caller.leave_room(endpoint, LEAVE)).answer == "no", form
            assert not await caller.is_healthy(endpoint), form
    assert trap.caught == 0


async def test_the_connector_alone_lets_no_spelling_through(trap: Trap) -> None:
    """Even if the check of the text were forgotten."""
    async with guarded_session(allow_private=False, total_s=2, resolver=Everywhere()) as client:
        for form in (*REFUSED_BY_TEXT, *NAMES):
            await call(client, form.replace("PORT", str(trap.port)))
    assert trap.caught == 0


async def test_the_text_alone_refuses_all_but_names() -> None:
    for form in REFUSED_BY_TEXT:
        with pytest.raises(ValueError):
            check_url(form.replace("PORT", "8001"), allow_private=False)
    for form in NAMES:
        check_url(form.replace("PORT", "8001"), allow_private=False)


async def test_what_never_serves_is_refused_where_private_networks_are_allowed(trap: Trap) -> None:
    async with callbacks(allow_private=True) as caller:
        for form in ROUTED:
            endpoint = form.replace("PORT", str(trap.port))
            assert (await caller.join_room(endpoint, JOIN)).answer == "no", form
            assert not await caller.is_healthy(endpoint), form
    assert trap.caught == 0


async def test_the_naive_client_is_led_to_the_traps_by_many_of_them(trap: Trap) -> None:
    reached = []
    async with naive_client() as client:
        for form in (*REFUSED_BY_TEXT, *NAMES, *ROUTED):
            url, before = form.replace("PORT", str(trap.port)), trap.caught
            if naive_check(url):
                await call(client, url)
                await asyncio.sleep(0)
            if trap.caught > before:
                reached.append(form)
    assert len(reached) >= 50, reached
    assert "http://evil.example:PORT" in reached


async def test_a_registration_is_refused_with_its_value_and_stores_nothing() -> None:
    world = World(settings=Settings(network=NetworkSettings(allow_private_endpoints=False)))
    async with world.running() as client:
        for form in REFUSED_BY_TEXT:
            endpoint = form.replace("PORT", "8001")
            with contextlib.suppress(UnicodeEncodeError):
                body = {"service_id": "asr", "endpoint": endpoint}
                answer = await client.post("/api/v1/microservices/register", json=body)
                assert answer.status == 422, form
                message = (await error_of(answer))["message"]
                assert message.startswith("Invalid request: endpoint: '"), form
                assert len(message) < 400, form
                assert "pa55word" not in message, form
        assert world.registry.all() == []


# --- redirects ---


@pytest.mark.parametrize("code", CODES)
async def test_no_redirect_is_followed_though_private_addresses_are_allowed(trap: Trap, code: int) -> None:
    async with callbacks(allow_private=True) as caller:
        for location in LOCATIONS:
            async with redirector(code, location.format(port=trap.port)) as endpoint:
                assert (await caller.join_room(endpoint, JOIN)).answer == "no"
                assert (await caller.leave_room(endpoint, LEAVE)).answer == "no"
                assert await caller.is_healthy(endpoint), "it answered, and not with a 5xx"
    assert trap.caught == 0


@pytest.mark.parametrize("code", CODES)
async def test_the_naive_client_follows_redirects_into_the_traps(trap: Trap, code: int) -> None:
    async with naive_client() as client:
        for location in LOCATIONS:
            async with redirector(code, location.format(port=trap.port)) as endpoint:
                await call(client, f"{endpoint}/health")
    assert trap.caught >= len(LOCATIONS) - 2  # aiohttp itself refuses some


async def test_a_redirect_that_were_followed_would_meet_the_same_check() -> None:
    async with (
        redirector(302, "http://169.254.169.254/latest/meta-data") as endpoint,
        guarded_session(allow_private=True, total_s=2) as client,
    ):
        with pytest.raises(aiohttp.ClientConnectorError, match="never called"):
            await client.get(endpoint, allow_redirects=True)


# --- names that change their mind ---

REBOUND = ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::", "::ffff:0.0.0.0")
Check = Callable[[str], bool]


async def _is_taken(name: str, resolver: AbstractResolver, check: Check) -> bool:
    """Look a name up and check what it leads to, as a registration does."""
    return all(check(found["host"]) for found in await resolver.resolve(name))


@pytest.mark.parametrize("rebound", REBOUND)
async def test_a_name_that_was_public_when_it_registered_leads_nowhere_else_later(
    trap: Trap, rebound: str
) -> None:
    def check(address: str) -> bool:
        return address_problem(address, allow_private=False) is None

    for path in ("join", "leave", "health"):
        resolver = Everywhere(PUBLIC, rebound)
        assert await _is_taken("evil.example", resolver, check)
        endpoint = f"http://evil.example:{trap.port}"
        async with callbacks(allow_private=False, resolver=resolver) as caller:
            if path == "health":
                assert not await caller.is_healthy(endpoint)
            else:
                request = caller.join_room(endpoint, JOIN) if path == "join" else None
                outcome = await (request or caller.leave_room(endpoint, LEAVE))
                assert outcome.answer == "no"
                assert rebound not in outcome.detail, "what a name leads to inside is not told"
        assert resolver.asked >= 2
    assert trap.caught == 0


@pytest.mark.parametrize("rebound", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::"])
async def test_the_naive_client_is_rebound_into_the_trap(trap: Trap, rebound: str) -> None:
    def check(address: str) -> bool:
        return ipaddress.ip_address(address).is_global

    resolver = Everywhere(PUBLIC, rebound)
    assert await _is_taken("evil.example", resolver, check)
    async with naive_client(resolver) as client:
        await call(client, f"http://evil.example:{trap.port}/health")
    assert trap.caught >= 1
