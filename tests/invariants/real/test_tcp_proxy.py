"""The proxy's faults are what they say: a fault that does nothing would make every test over it pass."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.invariants.real.tcp_proxy import TcpProxy

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(1024):
            writer.write(chunk)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@pytest.fixture
async def proxy() -> AsyncIterator[TcpProxy]:
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    async with TcpProxy(server.sockets[0].getsockname()[1]) as running:
        yield running
    server.close()


async def _connect(proxy: TcpProxy) -> Pair:
    return await asyncio.open_connection("127.0.0.1", proxy.port)


async def _say(pair: Pair, words: bytes, *, within_s: float = 2.0) -> bytes:
    pair[1].write(words)
    return await asyncio.wait_for(pair[0].readexactly(len(words)), within_s)


async def test_it_passes_everything_on(proxy: TcpProxy) -> None:
    pair = await _connect(proxy)
    assert await _say(pair, b"x" * 200_000) == b"x" * 200_000
    assert proxy.open_count == 1


async def test_latency_delays_both_ways(proxy: TcpProxy) -> None:
    pair = await _connect(proxy)
    proxy.latency_s = 0.1
    started = time.monotonic()
    assert await _say(pair, b"late") == b"late"
    assert time.monotonic() - started >= 0.2


async def test_a_cut_is_an_end_and_the_next_connection_works(proxy: TcpProxy) -> None:
    pair = await _connect(proxy)
    await _say(pair, b"hello")
    proxy.cut()
    assert await asyncio.wait_for(pair[0].read(), 2) == b""
    assert await _say(await _connect(proxy), b"again") == b"again"


async def test_a_reset_is_an_error(proxy: TcpProxy) -> None:
    pair = await _connect(proxy)
    await _say(pair, b"hello")
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(pair[0].read(), 2)


async def test_a_half_open_connection_stands_and_says_nothing(proxy: TcpProxy) -> None:
    pair = await _connect(proxy)
    await _say(pair, b"hello")
    proxy.half_open()
    with pytest.raises(TimeoutError):
        await _say(pair, b"anybody?", within_s=0.3)
    assert not pair[0].at_eof()
    assert await _say(await _connect(proxy), b"new") == b"new"


async def test_a_pause_holds_back_and_loses_nothing(proxy: TcpProxy) -> None:
    pair = await _connect(proxy)
    proxy.pause()
    with pytest.raises(TimeoutError):
        await _say(pair, b"held", within_s=0.3)
    proxy.resume()
    assert await asyncio.wait_for(pair[0].readexactly(4), 2) == b"held"


async def test_refusing_is_a_closed_port_and_leaves_open_connections(proxy: TcpProxy) -> None:
    pair = await _connect(proxy)
    await _say(pair, b"hello")
    await proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await _connect(proxy)
    assert await _say(pair, b"still") == b"still"
    await proxy.accept()
    assert await _say(await _connect(proxy), b"back") == b"back"


async def test_healing_ends_what_was_half_open_and_lets_the_rest_be(proxy: TcpProxy) -> None:
    dead = await _connect(proxy)
    await _say(dead, b"hello")
    proxy.half_open()
    alive = await _connect(proxy)
    await _say(alive, b"hello")
    proxy.pause()
    await proxy.refuse()
    await proxy.heal()
    assert await asyncio.wait_for(dead[0].read(), 2) == b""
    assert await _say(alive, b"still") == b"still"
    assert await _say(await _connect(proxy), b"new") == b"new"


async def test_a_target_that_is_away_ends_the_connection() -> None:
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    async with TcpProxy(port) as proxy:
        reader, _ = await _connect(proxy)
        assert await asyncio.wait_for(reader.read(), 2) == b""
