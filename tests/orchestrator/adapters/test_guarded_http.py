"""The guarded client against real servers on loopback: whom it calls, and what it does not carry along."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from orchestrator.adapters.guarded_http import guarded_session, refusal
from tests.fakes.resolver import FixedResolver


@asynccontextmanager
async def server(seen: list[web.BaseRequest], **headers: str) -> AsyncIterator[str]:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(request)
        return web.Response(text="answer", headers=headers)

    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_what_is_allowed_is_called_by_name_and_by_literal() -> None:
    seen: list[web.BaseRequest] = []
    async with (
        server(seen) as place,
        guarded_session(allow_private=True, total_s=2, resolver=FixedResolver("127.0.0.1")) as client,
    ):
        port = place.partition(":")[2]
        for url in (f"http://{place}/", f"http://worker.example:{port}/"):
            async with client.get(url) as answer:
                assert answer.status == 200
    assert len(seen) == 2


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("127.0.0.1", "::1"), ("10.0.0.1", "169.254.169.254")])
async def test_a_refused_address_gives_its_reason_and_no_connection(addresses: tuple[str, ...]) -> None:
    seen: list[web.BaseRequest] = []
    async with (
        server(seen) as place,
        guarded_session(allow_private=False, total_s=2, resolver=FixedResolver(*addresses)) as client,
    ):
        port = place.partition(":")[2]
        for url in (f"http://worker.example:{port}/", f"http://{place}/"):
            with pytest.raises(aiohttp.ClientConnectorError) as raised:
                await client.get(url)
            if url.endswith(f"{place}/") or len(set(addresses)) == 1:
                assert "allow_private_endpoints" in str(refusal(raised.value))
    assert seen == []


async def test_a_name_of_several_addresses_is_called_at_those_that_may_be() -> None:
    """Metadata first, then a server: the first is passed over, also while others are tried beside it."""
    seen: list[web.BaseRequest] = []
    resolver = FixedResolver("169.254.169.254", "fe80::1", "127.0.0.1")
    async with (
        server(seen) as place,
        guarded_session(allow_private=True, total_s=2, resolver=resolver) as client,
        client.get(f"http://worker.example:{place.partition(':')[2]}/") as answer,
    ):
        assert answer.status == 200
    assert len(seen) == 1


async def test_an_answer_of_a_resolver_that_is_no_address_is_not_looked_up_again() -> None:
    async with guarded_session(allow_private=True, total_s=2, resolver=FixedResolver("localhost")) as client:
        with pytest.raises(aiohttp.ClientConnectorError) as raised:
            await client.get("http://worker.example:9/")
        assert refusal(raised.value) == "is no IP address in its usual form"


async def test_a_port_where_nobody_listens_is_no_refusal_of_ours() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with guarded_session(allow_private=True, total_s=2) as client:
            with pytest.raises(aiohttp.ClientConnectorError) as raised:
                await client.get(f"http://127.0.0.1:{taken.getsockname()[1]}/")
            assert refusal(raised.value) is None


async def test_proxies_and_passwords_of_the_environment_are_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password secret\n")
    proxied: list[web.BaseRequest] = []
    seen: list[web.BaseRequest] = []
    async with server(proxied) as proxy, server(seen) as place:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://{proxy}")
        monkeypatch.setenv("NETRC", str(netrc))
        async with (
            guarded_session(allow_private=True, total_s=2) as client,
            client.get(f"http://{place}/") as answer,
        ):
            assert answer.status == 200
        async with aiohttp.ClientSession(trust_env=True) as naive, naive.get(f"http://{place}/"):
            pass
    assert [request.headers.get("Authorization") for request in seen] == [None]
    assert len(proxied) == 1, "the control: a client that trusts the environment goes through the proxy"


async def test_cookies_are_not_kept() -> None:
    seen: list[web.BaseRequest] = []
    async with (
        server(seen, **{"Set-Cookie": "a=b; Path=/"}) as place,
        guarded_session(allow_private=True, total_s=2) as client,
    ):
        for _ in range(2):
            async with client.get(f"http://{place}/"):
                pass
    assert [request.headers.get("Cookie") for request in seen] == [None, None]


async def test_a_server_that_is_silent_is_given_up_at_the_deadline() -> None:
    held: list[asyncio.StreamWriter] = []
    quiet = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)
    async with guarded_session(allow_private=True, total_s=0.2) as client:
        with pytest.raises(TimeoutError):
            await client.get(f"http://127.0.0.1:{quiet.sockets[0].getsockname()[1]}/")
    quiet.close()
    held[0].close()
