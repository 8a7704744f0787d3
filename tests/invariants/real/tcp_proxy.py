"""A TCP proxy on loopback that breaks connections: slow, cut, reset, half-open, paused, refusing."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from greenroom.free_ports import LOOPBACK

_CHUNK_BYTES: Final = 64 * 1024
_CONNECT_S: Final = 5.0
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s: closing sends RST


@dataclass(slots=True, eq=False)
class _Link:
    """One connection through the proxy; ``is_dead`` swallows what either side sends."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    is_dead: bool = False
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


class TcpProxy:
    """Stands in front of one port; everything passes through until a fault is asked for.

    `latency_s` delays every chunk, in order; one chunk per direction is under way, the rest waits in the
    kernel's buffers.
    """

    def __init__(self, target_port: int) -> None:
        self.latency_s = 0.0
        self.accepted = 0
        self._target_port = target_port
        self._port = 0
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()

    @property
    def port(self) -> int:
        """Where it listens; the same over `refuse` and `accept`."""
        return self._port

    @property
    def url(self) -> str:
        """Its address for HTTP."""
        return f"http://{LOOPBACK}:{self._port}"

    @property
    def open_count(self) -> int:
        """How many connections go through it."""
        return len(self._links)

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.refuse()
        self.cut()
        for task in set(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=2.0)

    async def accept(self) -> None:
        """Take connections (again)."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accepted, LOOPBACK, self._port)
            self._port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Take no new connections, as a port on which nobody listens; those that are open go on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def cut(self) -> None:
        """End every connection in order (FIN to both sides)."""
        for link in set(self._links):
            self._end(link)

    def reset(self) -> None:
        """End every connection with RST to both sides."""
        for link in set(self._links):
            for writer in (link.near, link.far):
                raw: socket.socket | None = writer.get_extra_info("socket")
                if raw is not None:
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                writer.transport.abort()
            self._end(link)

    def half_open(self) -> None:
        """Let every open connection stand, and lose whatever is sent on it; new ones work."""
        for link in self._links:
            link.is_dead = True

    def pause(self) -> None:
        """Hold every byte back, also those of new connections, until `resume`."""
        self._flows.clear()

    def resume(self) -> None:
        """Let flow what was held back."""
        self._flows.set()

    async def heal(self) -> None:
        """Let everything through again; connections that went half-open end, as a reset in the end does."""
        self.latency_s = 0.0
        self.resume()
        await self.accept()
        for link in [link for link in self._links if link.is_dead]:
            self._end(link)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: asyncio's would print a traceback when it is cancelled.
        task = asyncio.ensure_future(self._connected(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_CONNECT_S):
                far_reader, far = await asyncio.open_connection(LOOPBACK, self._target_port)
        except (OSError, TimeoutError):
            writer.transport.abort()  # as if nobody listened there
            return
        link = _Link(near=writer, far=far)
        self._links.add(link)
        self.accepted += 1
        try:
            async with asyncio.TaskGroup() as pumps:
                link.tasks = {
                    pumps.create_task(self._pump(link, reader, far)),
                    pumps.create_task(self._pump(link, far_reader, writer)),
                }
        finally:
            self._end(link)

    async def _pump(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(_CHUNK_BYTES):
                if self.latency_s:
                    await asyncio.sleep(self.latency_s)
                await self._flows.wait()
                if not link.is_dead:
                    writer.write(chunk)
                    await writer.drain()
            if not link.is_dead and writer.can_write_eof():
                writer.write_eof()
        except (ConnectionError, OSError):
            self._end(link)

    def _end(self, link: _Link) -> None:
        self._links.discard(link)
        for task in link.tasks:
            task.cancel()
        for writer in (link.near, link.far):
            writer.close()
