"""Event streams: resumed without gap or repeat, live from the shared feed, or told explicitly of a gap.

A reader is caught up from the store in pages, then handed to the feed, which writes one shared frame to all
readers and waits for none. What a reader gets before anything else is the position it stands at.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from aiohttp import web

from orchestrator.core.events import Position
from orchestrator.core.ids import SessionId
from orchestrator.ports import SessionStore, position_of
from orchestrator.service.feed import PAGE, Feed, Reader, encode_frame, keep_alive_frame, sse_frame
from orchestrator.web.errors import DrainingError, FieldProblem, FieldsError
from orchestrator.web.metrics import Metrics
from orchestrator.web.middleware import IS_STREAM
from orchestrator.web.session_view import session_view

MAX_READERS: Final = 10_000
BUFFER_BYTES: Final = 256 * 1024  # unsent bytes of one reader; more means that it does not read
SEND_BUFFER_BYTES: Final = 128 * 1024  # the kernel's part: without a bound it grows to 4 MB a reader
WRITE_DEADLINE_S: Final = 10.0
_SNAPSHOT_TRIES: Final = 5
_MAX_SEQ: Final = 2**63 - 1
_RETRY: Final = b"retry: 1000\n\n"  # a browser reconnects after 1 s

STREAM_HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would hold events back
}


@dataclass(slots=True)
class SharedChunk:
    """The last frames in HTTP chunk form: made once, written to all readers of the same frames."""

    frames: bytes = b""
    chunk: bytes = b""

    def of(self, frames: bytes) -> bytes:
        """Give the chunk of these frames."""
        if frames is not self.frames:
            self.frames, self.chunk = frames, b"%x\r\n%s\r\n" % (len(frames), frames)
        return self.chunk


class StreamOutlet:
    """Writes frames to one connection's transport, bounded."""

    __slots__ = ("_shared", "_transport")

    def __init__(self, transport: asyncio.WriteTransport, shared: SharedChunk | None) -> None:
        self._transport = transport
        self._shared = shared  # None for HTTP/1.0, which knows no chunks

    def write(self, frames: bytes) -> bool:
        """Take frames; False when the reader is gone or does not read."""
        transport = self._transport
        if transport.is_closing() or transport.get_write_buffer_size() > BUFFER_BYTES:
            return False
        transport.write(frames if self._shared is None else self._shared.of(frames))
        return True


@dataclass(frozen=True, slots=True)
class Start:
    """Where a stream begins: after a number, with a gap frame first if the wish could not be honoured."""

    after: int
    gap: bytes = b""


class EventStreams:
    """Serves `GET /api/v1/events` and `GET /api/v1/sessions/{id}/events`."""

    def __init__(self, *, feed: Feed, store: SessionStore, metrics: Metrics) -> None:
        self._feed = feed
        self._store = store
        self._metrics = metrics
        self._shared = SharedChunk()
        self._readers = 0  # streams now, those that are still catching up included

    async def serve(self, request: web.Request, session_id: SessionId | None) -> web.StreamResponse:
        """Stream until the client leaves, the session is over, or this instance stops.

        Raises:
            SessionNotFoundError: there is no such session.
            DrainingError: this instance is stopping or full.
        """
        if self._feed.is_stopping or self._readers >= MAX_READERS:
            raise DrainingError("no more event streams here now; try again, or another instance")
        is_over = session_id is not None and not (await self._store.load(session_id)).is_open
        wish = request.headers.get("Last-Event-ID") or request.query.get("last_event_id")
        start = await self._start(wish, request.query.get("from"), session_id)
        is_at_end = wish and is_over and not start.gap
        if is_at_end and not (await self._feed.page(start.after, session_id)).events:
            return web.Response(status=204)  # all was told: by this a browser stops reconnecting
        request[IS_STREAM] = True
        self._count(1)
        try:
            return await self._stream(request, session_id, start, is_over=is_over)
        finally:
            self._count(-1)

    async def _stream(
        self, request: web.Request, session_id: SessionId | None, start: Start, *, is_over: bool
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers=STREAM_HEADERS)
        await response.prepare(request)
        transport = request.transport
        if transport is None:
            raise ConnectionResetError
        _bound_kernel_buffer(transport)
        outlet = StreamOutlet(transport, self._shared if request.version >= (1, 1) else None)
        try:
            first = start.gap
            if not first and start.after:
                first = keep_alive_frame(position_of(self._feed.generation, start.after))
            await write_frames(response, _RETRY + first)
            await self._follow(response, outlet, session_id, start.after, is_over=is_over)
            await asyncio.wait_for(response.write_eof(), WRITE_DEADLINE_S)
        except (TimeoutError, ConnectionResetError):
            self._cut(transport)
        return response

    async def _start(self, wish: str | None, origin: str | None, session_id: SessionId | None) -> Start:
        if origin not in (None, "start"):
            raise FieldsError([FieldProblem("from", f"{origin[:20]!r} is unknown; write from=start")])
        if not wish:
            return Start(0 if session_id is not None or origin == "start" else self._feed.tail)
        generation, seq = parse_position(wish)
        if self._feed.covers(generation, seq):
            return Start(seq)
        page = await self._feed.page(seq, session_id)
        is_known = generation == page.generation == self._feed.generation
        if is_known and page.oldest_seq - 1 <= seq <= page.head_seq:
            return Start(seq)
        return await self._gap(wish, session_id)

    async def _gap(self, wish: str, session_id: SessionId | None) -> Start:
        """Say that events are lost to this reader, and give the session as it is at a position."""
        snapshot: dict[str, Any] | None = None
        page = await self._feed.page(_MAX_SEQ, session_id)
        for tries_left in reversed(range(_SNAPSHOT_TRIES if session_id is not None else 0)):
            assert session_id is not None
            # Exact when nothing of this session was committed around the load; else again, and in the end
            # rather repeat an event than lose one.
            snapshot = session_view(await self._store.load(session_id))
            later = await self._feed.page(page.head_seq, session_id)
            if not later.events or tries_left == 0:
                break
            page = later
        position = position_of(page.generation, page.head_seq)
        data = msgspec.json.encode({"from": wish[:64], "to": position, "snapshot": snapshot})
        return Start(page.head_seq, sse_frame("gap", data, position=Position(position)))

    async def _follow(
        self,
        response: web.StreamResponse,
        outlet: StreamOutlet,
        session_id: SessionId | None,
        after: int,
        *,
        is_over: bool,
    ) -> None:
        generation = self._feed.generation
        while True:
            reader = None if is_over else self._feed.attach(outlet, session_id=session_id, after=after)
            if reader is None:
                after = await self._catch_up(response, session_id, after)
                if is_over or self._feed.is_stopping or self._feed.generation != generation:
                    return
                continue
            reason, after = await self._live(reader)
            if reason == "cut":
                raise ConnectionResetError
            if reason != "maybe_over" or session_id is None:
                return
            is_over = not (await self._store.load(session_id)).is_open

    async def _live(self, reader: Reader) -> tuple[str, int]:
        try:
            reason = await reader.ended
        finally:
            after = self._feed.detach(reader)
        return reason, after

    async def _catch_up(self, response: web.StreamResponse, session_id: SessionId | None, after: int) -> int:
        """Write what the store has after a number; give the number that the reader then has."""
        while True:
            tail = self._feed.tail  # everything up to here is in the page that is read now
            page = await self._feed.page(after, session_id)
            if page.generation != self._feed.generation:
                return after
            if page.events:
                frames = [encode_frame(page.generation, event).data for event in page.events]
                await write_frames(response, b"".join(frames))
                after = page.events[-1].seq
            if len(page.events) < PAGE:
                return max(after, tail)

    def _count(self, change: int) -> None:
        self._readers += change
        self._metrics.readers(self._readers)

    def _cut(self, transport: asyncio.Transport) -> None:
        if not transport.is_closing():
            self._metrics.reader_cut()
            transport.abort()


def parse_position(text: str) -> tuple[int, int]:
    """Read `generation:seq`; (-1, 0), which no store has, for anything else."""
    generation, _, seq = text.strip().partition(":")
    if not (_is_number(generation) and _is_number(seq)):
        return -1, 0
    return int(generation), int(seq)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18


async def write_frames(response: web.StreamResponse, frames: bytes) -> None:
    """Write to one reader, which must take it in time.

    Raises:
        TimeoutError: it does not read.
        ConnectionResetError: it is gone.
    """
    async with asyncio.timeout(WRITE_DEADLINE_S):
        await response.write(frames)


def _bound_kernel_buffer(transport: asyncio.Transport) -> None:
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
