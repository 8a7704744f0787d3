"""A bad network between one client and an engine: signalling passes, media goes over a relay that loses."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

import aiohttp
from aiohttp import web
from livekit.protocol import rtc

from tests.conformance.engines import Engine

LOOPBACK: Final = "127.0.0.1"
_CANDIDATE: Final = re.compile(r"(candidate:\S+ \d+ udp \d+) \S+ \d+ (typ host)")
_OWN: Final = re.compile(r"a=candidate:[^\r\n]*\r?\n")
_HOP_HEADERS: Final = ("host", "connection", "upgrade", "content-length")


def is_rtp(datagram: bytes) -> bool:
    """Whether a datagram is media. Source: RFC 7983 section 7, RFC 5761 section 4."""
    return 127 < datagram[0] < 192 and not is_rtcp(datagram)


def is_rtcp(datagram: bytes) -> bool:
    """Whether a datagram reports on media or asks for some."""
    return 127 < datagram[0] < 192 and 191 < datagram[1] < 224


@dataclass
class MediaRelay(asyncio.DatagramProtocol):
    """Passes datagrams on between clients and a server, but for those that are lost.

    Attributes:
        server: where to; known once the server has said its candidates.
        is_lost: asked for each datagram, with whether it goes to the client.
        lost: how many were.
    """

    is_lost: Callable[[bytes, bool], bool]
    _opening: asyncio.TaskGroup
    server: tuple[str, int] | None = None
    lost: int = 0
    _out: asyncio.DatagramTransport | None = None
    _ways: dict[Any, asyncio.DatagramTransport] = field(default_factory=dict)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._out = cast(asyncio.DatagramTransport, transport)

    @property
    def port(self) -> int:
        """Where clients send to."""
        assert self._out is not None
        return int(self._out.get_extra_info("sockname")[1])

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self._loses(data, to_client=False) or self.server is None:
            return
        way = self._ways.get(addr)
        if way is None:
            self._opening.create_task(self._open(addr, data))
        else:
            way.sendto(data)

    def back(self, data: bytes, addr: Any) -> None:
        """Take what the server answers a client."""
        if self._out is not None and not self._loses(data, to_client=True):
            self._out.sendto(data, addr)

    def close(self) -> None:
        """Close every socket."""
        for way in self._ways.values():
            way.close()
        if self._out is not None:
            self._out.close()

    def _loses(self, data: bytes, *, to_client: bool) -> bool:
        is_lost = self.is_lost(data, to_client)
        self.lost += is_lost
        return is_lost

    async def _open(self, addr: Any, first: bytes) -> None:
        way, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Way(self, addr), remote_addr=self.server
        )
        self._ways[addr] = way
        way.sendto(first)


@dataclass
class _Way(asyncio.DatagramProtocol):
    relay: MediaRelay
    client: Any

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.relay.back(data, self.client)


@asynccontextmanager
async def behind_relay(
    engine: Engine, is_lost: Callable[[bytes, bool], bool]
) -> AsyncIterator[tuple[Engine, MediaRelay]]:
    """Give the engine as it is seen through the bad network."""

    async def signal(request: web.Request) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if _passes(name)}
        async with aiohttp.ClientSession() as http:
            try:
                upstream = await http.ws_connect(
                    f"{engine.url}{request.raw_path}", headers=headers, max_msg_size=0
                )
            except aiohttp.WSServerHandshakeError as error:
                return web.Response(status=error.status, text="refused")
            socket = web.WebSocketResponse(max_msg_size=0)
            await socket.prepare(request)
            await _both_ways(socket, upstream, relay)
            return socket

    app = web.Application()
    app.router.add_get("/rtc", signal)
    app.router.add_get("/rtc/v1", signal)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    async with asyncio.TaskGroup() as opening:
        _, relay = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: MediaRelay(is_lost, opening), local_addr=(LOOPBACK, 0)
        )
        try:
            await web.TCPSite(runner, LOOPBACK, 0).start()
            yield replace(engine, url=f"ws://{LOOPBACK}:{runner.addresses[0][1]}"), relay
        finally:
            await runner.cleanup()
            relay.close()


async def _both_ways(
    socket: web.WebSocketResponse, upstream: aiohttp.ClientWebSocketResponse, relay: MediaRelay
) -> None:
    async def up() -> None:
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY and (data := _without_candidates(message.data)):
                await upstream.send_bytes(data)

    async def down() -> None:
        async for message in upstream:
            if message.type is aiohttp.WSMsgType.BINARY:
                await socket.send_bytes(_through(message.data, relay))

    tasks = [asyncio.create_task(up()), asyncio.create_task(down())]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await upstream.close()
    await socket.close()


def _without_candidates(data: bytes) -> bytes:
    """Leave out where a client is, so that only the relay reaches it; nothing may be left."""
    request = rtc.SignalRequest.FromString(data)
    match request.WhichOneof("message"):
        case "trickle":
            return b""
        case "offer":
            request.offer.sdp = _OWN.sub("", request.offer.sdp)
        case "answer":
            request.answer.sdp = _OWN.sub("", request.answer.sdp)
        case _:
            return data
    return request.SerializeToString()


def _through(data: bytes, relay: MediaRelay) -> bytes:
    """Put the relay's port where the server named its own."""
    response = rtc.SignalResponse.FromString(data)
    match response.WhichOneof("message"):
        case "answer":
            response.answer.sdp = _moved(response.answer.sdp, relay)
        case "offer":
            response.offer.sdp = _moved(response.offer.sdp, relay)
        case "trickle":
            response.trickle.candidateInit = _moved(response.trickle.candidateInit, relay)
        case _:
            return data
    return response.SerializeToString()


def _moved(text: str, relay: MediaRelay) -> str:
    def move(found: re.Match[str]) -> str:
        host, port = found[0].split()[4:6]
        relay.server = (host, int(port))
        return f"{found[1]} {LOOPBACK} {relay.port} {found[2]}"

    return _CANDIDATE.sub(move, text)


def _passes(header: str) -> bool:
    return header.lower() not in _HOP_HEADERS and not header.lower().startswith("sec-websocket")
