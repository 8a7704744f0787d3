"""The feed's live end: tails the store once and hands one shared encoded frame to every reader.

A frame is encoded once, however many read it, and no reader is waited for: an outlet that cannot take
more is cut and resumes by its position (docs measured in `bench/events.py`; source: performance.md).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import Final, Literal, Protocol

import structlog

from orchestrator.core.errors import StoreError
from orchestrator.core.events import FeedEvent, Position
from orchestrator.core.ids import SessionId
from orchestrator.ports import FeedPage, SessionStore, position_of

RING: Final = 2048  # recent frames kept in memory, for readers that come back
PAGE: Final = 256  # events read from the store at once; less than the ring
POLL_S: Final = 1.0  # the safety net under the wake-up by `notify`
STORE_DEADLINE_S: Final = 10.0
MAX_TRIM_INTERVAL_S: Final = 600.0

EndReason = Literal["cut", "reset", "shutdown", "maybe_over"]

log = structlog.get_logger(__name__)


class Outlet(Protocol):
    """Where a reader's frames go."""

    def write(self, frames: bytes) -> bool:
        """Take frames without waiting. False: the reader is gone, or too far behind, and is to be cut."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One encoded event. ``may_end`` says that the session may be over after it."""

    seq: int
    session_id: str | None
    data: bytes
    may_end: bool


@dataclass(slots=True, eq=False, kw_only=True)
class Reader:
    """One live reader.

    Attributes:
        session_id: whose events it wants; None for all.
        after: it has everything up to this number, perhaps more than the feed has handed out.
        ended: resolved with why it left the live end; the feed no longer writes to it then.
    """

    outlet: Outlet
    session_id: SessionId | None
    after: int
    ended: asyncio.Future[EndReason] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def end(self, reason: EndReason) -> None:
        """Say why it leaves; only the first reason counts."""
        if not self.ended.done():
            self.ended.set_result(reason)


class Feed:
    """Tails the store and serves live readers: `open`, then `run` as a task of its owner.

    Args:
        store: where events come from.
        keep_alive_s: seconds between keep-alive comments.
        retention_s: events older than this are forgotten.
    """

    def __init__(self, store: SessionStore, *, keep_alive_s: float, retention_s: float) -> None:
        self._store = store
        self._keep_alive_s = keep_alive_s
        self._retention_s = retention_s
        self._generation = 0
        self._tail = 0
        self._ring: deque[Frame] = deque(maxlen=RING)
        self._ring_floor = 0  # the ring holds everything after this number
        self._wake = asyncio.Event()
        self._readers: dict[SessionId | None, set[Reader]] = {}
        self._is_stopping = False

    @property
    def generation(self) -> int:
        """The generation of the positions that are given out."""
        return self._generation

    @property
    def tail(self) -> int:
        """The number of the last event that live readers have."""
        return self._tail

    @property
    def position(self) -> Position:
        """The last position, as clients see it."""
        return position_of(self._generation, self._tail)

    @property
    def readers(self) -> int:
        """How many live readers there are."""
        return sum(map(len, self._readers.values()))

    @property
    def is_stopping(self) -> bool:
        """Whether new readers are to be turned away."""
        return self._is_stopping

    def covers(self, generation: int, seq: int) -> bool:
        """Whether a position can be resumed from memory."""
        return generation == self._generation and self._ring_floor <= seq <= self._tail

    def notify(self, head_seq: int) -> None:
        """Say that the store's head is now here. Called on the event loop after each group of commits.

        While nobody reads, the live end goes there without reading: who comes finds the events in the store.
        """
        if not self._readers and head_seq > self._tail:
            self._tail = self._ring_floor = head_seq
            self._ring.clear()
        elif head_seq != self._tail:
            self._wake.set()

    def end_readers(self) -> None:
        """End every stream, for shutdown: aiohttp waits for its handlers."""
        self._is_stopping = True
        self._end_all("shutdown")

    async def open(self) -> None:
        """Take the store's head as the place where live readers begin.

        Raises:
            StoreError: the store refused, or did not answer within the deadline.
        """
        self._begin(await self._read(0, limit=1))

    async def run(self) -> None:
        """Tail, keep alive and trim until cancelled; then every stream is ended."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for work in (self._follow, self._keep_alive, self._trim):
                    tasks.create_task(work())
        finally:
            self.end_readers()

    async def page(self, after: int, session_id: SessionId | None) -> FeedPage:
        """Read a page of at most `PAGE` events from the store, for a reader that is behind.

        Raises:
            StoreError: the store refused, or did not answer within the deadline.
        """
        return await self._read(after, session_id=session_id, limit=PAGE)

    def attach(self, outlet: Outlet, *, session_id: SessionId | None, after: int) -> Reader | None:
        """Make a reader live, without gap or repeat after the number it has.

        Returns:
            The reader; None when it is too far behind: read a `page` first.
        """
        if after < self._tail:
            if after < self._ring_floor:
                return None
            missed = [f for f in self._since(after) if session_id in (None, f.session_id)]
            if missed and not outlet.write(b"".join(f.data for f in missed)):
                reader = Reader(outlet=outlet, session_id=session_id, after=self._tail)
                reader.end("cut")
                return reader
            may_end = any(frame.may_end for frame in missed)
        else:
            may_end = False
        reader = Reader(outlet=outlet, session_id=session_id, after=max(after, self._tail))
        if self._is_stopping:
            reader.end("shutdown")
        elif may_end and session_id is not None:
            reader.end("maybe_over")
        else:
            self._readers.setdefault(session_id, set()).add(reader)
        return reader

    def detach(self, reader: Reader) -> int:
        """Take a reader off the live end; give the number up to which it has everything."""
        is_live = reader in self._readers.get(reader.session_id, ())
        self._drop(reader)
        return max(reader.after, self._tail) if is_live else reader.after

    async def _read(self, after: int, *, limit: int, session_id: SessionId | None = None) -> FeedPage:
        try:
            async with asyncio.timeout(STORE_DEADLINE_S):
                return await self._store.feed_after(after, session_id=session_id, limit=limit)
        except TimeoutError:
            raise StoreError(f"the store did not give events within {STORE_DEADLINE_S:g} s") from None

    def _begin(self, page: FeedPage) -> None:
        self._generation = page.generation
        self._tail = self._ring_floor = page.head_seq
        self._ring.clear()

    async def _follow(self) -> None:
        is_failing = False
        while True:
            try:
                while await self._advance():
                    pass
                is_failing = False
            except StoreError as error:
                if not is_failing:
                    log.warning("feed_cannot_read", error=str(error))
                is_failing = True
            try:
                async with asyncio.timeout(POLL_S):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _advance(self) -> bool:
        """Hand out what came since; whether there may be more."""
        self._wake.clear()
        tail = self._tail
        page = await self._read(tail, limit=PAGE)
        if page.generation != self._generation or page.head_seq < tail:
            # A restored backup: what readers have may never have happened. They come back and are told so.
            self._begin(page)
            self._end_all("reset")
            return False
        # The live end may have moved on meanwhile, because nobody read.
        frames = [encode_frame(page.generation, event) for event in page.events if event.seq > self._tail]
        if frames:
            self._hand_out(frames)
        return len(page.events) == PAGE

    def _hand_out(self, frames: Sequence[Frame]) -> None:
        overflow = len(self._ring) + len(frames) - RING
        if overflow > 0:
            self._ring_floor = self._ring[overflow - 1].seq
        self._ring.extend(frames)
        if everyone := self._readers.get(None):
            self._send(everyone, frames)
        by_session: dict[SessionId, list[Frame]] = {}
        for frame in frames:
            if frame.session_id in self._readers and frame.session_id is not None:
                by_session.setdefault(SessionId(frame.session_id), []).append(frame)
        for session_id, own in by_session.items():
            self._send(self._readers[session_id], own)
        self._tail = frames[-1].seq
        for session_id, own in by_session.items():
            if any(frame.may_end for frame in own):
                for reader in list(self._readers.get(session_id, ())):
                    reader.after = max(reader.after, self._tail)
                    self._drop(reader)
                    reader.end("maybe_over")

    def _send(self, readers: Iterable[Reader], frames: Sequence[Frame]) -> None:
        first = frames[0].seq
        data = b"".join([frame.data for frame in frames]) if len(frames) > 1 else frames[0].data
        behind: list[Reader] = []
        for reader in readers:
            if reader.after < first:
                if not reader.outlet.write(data):
                    behind.append(reader)
                continue
            rest = b"".join([frame.data for frame in frames if frame.seq > reader.after])
            if rest and not reader.outlet.write(rest):
                behind.append(reader)
        self._cut(behind)

    def _cut(self, readers: Iterable[Reader]) -> None:
        for reader in readers:
            self._drop(reader)
            reader.end("cut")

    def _drop(self, reader: Reader) -> None:
        group = self._readers.get(reader.session_id)
        if group is not None:
            group.discard(reader)
            if not group:
                del self._readers[reader.session_id]

    def _end_all(self, reason: EndReason) -> None:
        for reader in [reader for group in self._readers.values() for reader in group]:
            reader.after = max(reader.after, self._tail)
            self._drop(reader)
            reader.end(reason)

    def _since(self, after: int) -> Iterable[Frame]:
        """Give the ring's frames after a number; the newest are few, so they are searched from the end."""
        count = 0
        for frame in reversed(self._ring):
            if frame.seq <= after:
                break
            count += 1
        return islice(self._ring, len(self._ring) - count, None)

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self._keep_alive_s)
            comment = keep_alive_frame(self.position)
            gone = [
                reader
                for group in self._readers.values()
                for reader in group
                # One that is ahead gets none: the position would make it repeat events.
                if reader.after <= self._tail and not reader.outlet.write(comment)
            ]
            self._cut(gone)

    async def _trim(self) -> None:
        while True:
            try:
                async with asyncio.timeout(STORE_DEADLINE_S):
                    await self._store.trim_feed(self._store.now() - timedelta(seconds=self._retention_s))
            except (StoreError, TimeoutError) as error:
                log.warning("events_not_trimmed", error=str(error))
            await asyncio.sleep(min(self._retention_s, MAX_TRIM_INTERVAL_S))


def encode_frame(generation: int, event: FeedEvent) -> Frame:
    """Encode a stored event as Server-Sent Events want it."""
    return Frame(
        seq=event.seq,
        session_id=event.session_id,
        data=sse_frame(event.name, event.data, position=position_of(generation, event.seq)),
        may_end=event.name == "session_terminated" or event.name.startswith("recording_"),
    )


def sse_frame(name: str, data: bytes, *, position: Position | None = None) -> bytes:
    """Encode one frame; ``data`` is one line of JSON."""
    start = b"" if position is None else b"id: %s\n" % position.encode()
    return b"%sevent: %s\ndata: %s\n\n" % (start, name.encode(), data)


def keep_alive_frame(position: Position) -> bytes:
    """Encode the comment that shows a reader that the line lives, and where it stands."""
    return b": %s\n\n" % position.encode()
