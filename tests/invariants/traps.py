"""Listeners that nobody may reach, and the ways that lead to them: a resolver, redirects."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

CODES = (301, 302, 303, 307, 308)
LOCATIONS = (
    "http://127.0.0.1:{port}/",
    "http://[::1]:{port}/",
    "//127.0.0.1:{port}/",
    "http://evil.example:{port}/",
    "http://worker@127.0.0.1:{port}/",
    "HTTP://LOCALHOST:{port}/",
    "https://127.0.0.1:{port}/",
)


@dataclass(slots=True)
class Trap:
    """Counts who connects to one port on both loopback addresses."""

    port: int
    caught: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.caught += 1
        with contextlib.suppress(
            OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError
        ):
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 0.2)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecret")
            await writer.drain()
        writer.close()


@asynccontextmanager
async def listening_trap() -> AsyncIterator[Trap]:
    """Listen on one port of 127.0.0.1 and ::1."""
    servers: list[asyncio.Server] = []
    made = Trap(port=0)
    first = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = first.sockets[0].getsockname()[1]
    servers = [first, await asyncio.start_server(made.serve, "::1", made.port)]
    yield made
    for server in servers:
        server.close()
        await server.wait_closed()


class Everywhere(AbstractResolver):
    """Takes every spelling that the system takes for an address, and says that all names are this machine."""

    def __init__(self, *answers: str) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        self.asked += 1
        if self._answers:  # the last answer stays
            return [_result(host, self._answers.pop(0) if len(self._answers) > 1 else self._answers[0], port)]
        try:
            found = socket.getaddrinfo(host, port, flags=socket.AI_NUMERICHOST)
        except (OSError, UnicodeError):
            return [_result(host, "127.0.0.1", port), _result(host, "::1", port)]
        return [_result(host, str(address[0]), port) for *_, address in found[:1]]

    async def close(self) -> None:
        pass


def _result(name: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(hostname=name, host=address, port=port, family=family, proto=0, flags=0)


@asynccontextmanager
async def redirector(code: int, location: str) -> AsyncIterator[str]:
    """Answer everything with a redirect; gives the address."""

    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=code, headers={"Location": location})

    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
