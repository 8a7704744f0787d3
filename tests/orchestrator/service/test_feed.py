"""The feed's live end: one encoded frame for all, nothing lost or repeated, nobody waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from orchestrator.adapters.memory_store import MemorySessionStore
from orchestrator.core.errors import StoreError
from orchestrator.core.events import ClientJoined, SessionEvent, SessionTerminated
from orchestrator.core.ids import Identity, InstanceId, RoomName, SessionId
from orchestrator.core.step import Opening, open_session
from orchestrator.ports import Change, FeedPage
from orchestrator.service import feed as feed_module
from orchestrator.service.feed import Feed, Reader, keep_alive_frame, sse_frame
from tests.fakes.clock import FakeClock

A = SessionId("00000000-0000-4000-8000-00000000000a")
B = SessionId("00000000-0000-4000-8000-00000000000b")


class ListOutlet:
    """Keeps what it was given; takes nothing while ``is_full``."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.is_full = False

    def write(self, frames: bytes) -> bool:
        if not self.is_full:
            self.writes.append(frames)
        return not self.is_full

    @property
    def names(self) -> list[str]:
        """The user identities of the client_joined frames, in order."""
        text = b"".join(self.writes).decode()
        return [part.split('"')[0] for part in text.split('"user_identity":"')[1:]]


class Stage:
    """A store with two sessions, and a feed over it."""

    def __init__(self, keep_alive_s: float = 60.0) -> None:
        self.clock = FakeClock()
        self.store = MemorySessionStore(
            clock=self.clock, instance_id=InstanceId("i"), on_commit=lambda head: self.feed.notify(head)
        )
        self.feed = Feed(self.store, keep_alive_s=keep_alive_s, retention_s=3600)

    async def open(self, session_id: SessionId) -> None:
        opening = Opening(
            session_id=session_id, room_name=RoomName(f"room-{session_id}"), user_identity=Identity("u")
        )
        decision = open_session(opening, self.clock.now())
        await self.store.commit(Change(session=decision.session, events=decision.events))

    async def say(self, session_id: SessionId, *names: str) -> None:
        await self.commit(
            session_id, *(ClientJoined(session_id=session_id, user_identity=name) for name in names)
        )

    async def commit(self, session_id: SessionId, *events: SessionEvent) -> None:
        session = await self.store.load(session_id)
        session = replace(session, version=session.version + 1, events=session.events + len(events))
        await self.store.commit(Change(session=session, events=events))

    async def head(self) -> int:
        return (await self.store.feed_after(2**60, session_id=None, limit=1)).head_seq

    async def settle(self) -> None:
        """Wait until the feed has handed out everything."""
        async with asyncio.timeout(5):
            while self.feed.tail != await self.head():
                await asyncio.sleep(0.001)

    def attach(self, outlet: ListOutlet, session_id: SessionId | None, after: int | None = None) -> Reader:
        after = self.feed.tail if after is None else after
        reader = self.feed.attach(outlet, session_id=session_id, after=after)
        assert reader is not None
        return reader


@asynccontextmanager
async def staged(**options: Any) -> AsyncIterator[Stage]:
    stage = Stage(**options)
    await stage.open(A)
    await stage.open(B)
    await stage.feed.open()
    running = asyncio.ensure_future(stage.feed.run())
    try:
        yield stage
    finally:
        running.cancel()
        await asyncio.wait({running})


async def test_readers_get_the_events_of_their_scope_in_order() -> None:
    async with staged() as stage:
        everything, of_a, of_b = ListOutlet(), ListOutlet(), ListOutlet()
        stage.attach(everything, None)
        stage.attach(of_a, A)
        stage.attach(of_b, B)
        for number in range(50):
            await stage.say(A if number % 2 else B, str(number))
        await stage.settle()
        assert everything.names == [str(n) for n in range(50)]
        assert of_a.names == [str(n) for n in range(1, 50, 2)]
        assert of_b.names == [str(n) for n in range(0, 50, 2)]


async def test_a_frame_is_encoded_once_and_shared() -> None:
    async with staged() as stage:
        first, second = ListOutlet(), ListOutlet()
        stage.attach(first, None)
        stage.attach(second, None)
        await stage.say(A, "x")
        await stage.settle()
        assert first.writes[0] is second.writes[0]


async def test_a_frame_has_position_name_and_data() -> None:
    async with staged() as stage:
        outlet = ListOutlet()
        stage.attach(outlet, None)
        await stage.say(A, "x")
        await stage.settle()
        generation, head = stage.feed.generation, await stage.head()
        data = f'{{"type":"ClientJoined","session_id":"{A}","user_identity":"x"}}'
        assert outlet.writes == [f"id: {generation}:{head}\nevent: client_joined\ndata: {data}\n\n".encode()]


@pytest.mark.parametrize("back", [0, 1, 7, 20])
async def test_a_reader_resumes_from_memory_without_gap_or_repeat(back: int) -> None:
    async with staged() as stage:
        stage.attach(ListOutlet(), None)  # somebody reads, so the live end has what comes
        await stage.say(A, *(str(n) for n in range(20)))
        await stage.settle()
        outlet = ListOutlet()
        stage.attach(outlet, A, after=stage.feed.tail - back)
        await stage.say(A, "live")
        await stage.settle()
        assert outlet.names == [str(n) for n in range(20 - back, 20)] + ["live"]


async def test_a_reader_that_is_ahead_of_the_feed_gets_nothing_twice() -> None:
    async with staged() as stage:
        outlet = ListOutlet()
        tail = stage.feed.tail
        # It read two events from the store before the feed came to them.
        stage.attach(outlet, None, after=tail + 2)
        await stage.say(A, "seen 1", "seen 2", "new")
        await stage.say(A, "newer")
        await stage.settle()
        assert outlet.names == ["new", "newer"]


async def test_a_reader_beyond_the_ring_is_sent_to_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "RING", 300)
    async with staged() as stage:
        start = stage.feed.tail
        for number in range(40):
            await stage.say(A, *(f"{number}-{n}" for n in range(10)))
        await stage.settle()
        assert stage.feed.attach(ListOutlet(), session_id=None, after=start) is None
        assert not stage.feed.covers(stage.feed.generation, start)


async def test_a_reader_that_does_not_read_is_cut_and_harms_nobody() -> None:
    async with staged() as stage:
        stuck, other = ListOutlet(), ListOutlet()
        stuck.is_full = True
        reader = stage.attach(stuck, None)
        stage.attach(other, None)
        await stage.say(A, "1", "2")
        await stage.settle()
        assert reader.ended.result() == "cut"
        assert other.names == ["1", "2"]
        assert stage.feed.readers == 1


async def test_while_nobody_reads_nothing_is_read_and_who_comes_finds_all_in_the_store() -> None:
    async with staged() as stage:
        await stage.say(A, "1", "2")
        assert stage.feed.tail == await stage.head()
        assert stage.feed.attach(ListOutlet(), session_id=A, after=stage.feed.tail - 1) is None
        page = await stage.feed.page(stage.feed.tail - 2, A)
        assert [event.name for event in page.events] == ["client_joined", "client_joined"]


async def test_a_detached_reader_knows_what_it_has() -> None:
    async with staged() as stage:
        stage.attach(ListOutlet(), None)
        outlet = ListOutlet()
        reader = stage.attach(outlet, A)
        await stage.say(A, "1")
        await stage.settle()
        after = stage.feed.detach(reader)
        await stage.say(A, "2")
        await stage.settle()
        stage.attach(outlet, A, after=after)
        assert outlet.names == ["1", "2"]


async def test_a_session_that_may_be_over_hands_its_readers_back() -> None:
    async with staged() as stage:
        of_a, everything = ListOutlet(), ListOutlet()
        reader = stage.attach(of_a, A)
        watcher = stage.attach(everything, None)
        await stage.commit(A, SessionTerminated(session_id=A, end_reason="terminated"))
        await stage.settle()
        assert reader.ended.result() == "maybe_over"
        assert b"session_terminated" in of_a.writes[-1]
        assert not watcher.ended.done()


async def test_at_the_end_every_reader_is_ended() -> None:
    async with staged() as stage:
        reader = stage.attach(ListOutlet(), A)
        stage.feed.end_readers()
        assert reader.ended.result() == "shutdown"
        late = stage.attach(ListOutlet(), A)
        assert late.ended.result() == "shutdown"


async def test_a_restored_backup_ends_all_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged() as stage:
        reader = stage.attach(ListOutlet(), None)
        real = stage.store.feed_after

        async def restored(*args: Any, **kwargs: Any) -> FeedPage:
            page = await real(*args, **kwargs)
            return FeedPage(events=(), generation=page.generation + 1, oldest_seq=1, head_seq=0)

        monkeypatch.setattr(stage.store, "feed_after", restored)
        stage.feed.notify(0)
        async with asyncio.timeout(5):
            assert await reader.ended == "reset"
        assert stage.feed.tail == 0


async def test_the_poll_finds_what_nobody_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "POLL_S", 0.01)
    async with staged() as stage:
        monkeypatch.setattr(stage.feed, "notify", lambda head: None)
        outlet = ListOutlet()
        stage.attach(outlet, None)
        await stage.say(A, "silent")
        await stage.settle()
        assert outlet.names == ["silent"]


async def test_a_store_that_fails_for_a_while_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "POLL_S", 0.01)
    async with staged() as stage:
        outlet = ListOutlet()
        stage.attach(outlet, None)
        real, failures = stage.store.feed_after, 3

        async def failing(*args: Any, **kwargs: Any) -> FeedPage:
            nonlocal failures
            failures -= 1
            if failures >= 0:
                raise StoreError("down")
            return await real(*args, **kwargs)

        monkeypatch.setattr(stage.store, "feed_after", failing)
        await stage.say(A, "1", "2")
        async with asyncio.timeout(5):
            while outlet.names != ["1", "2"]:
                await asyncio.sleep(0.005)


async def test_a_keep_alive_tells_the_position_to_idle_readers() -> None:
    async with staged(keep_alive_s=0.01) as stage:
        idle, ahead = ListOutlet(), ListOutlet()
        stage.attach(idle, A)
        stage.attach(ahead, A, after=stage.feed.tail + 1)
        async with asyncio.timeout(5):
            while not idle.writes:
                await asyncio.sleep(0.005)
        assert idle.writes[0] == keep_alive_frame(stage.feed.position)
        assert ahead.writes == []


async def test_old_events_are_forgotten() -> None:
    trimmed: list[datetime] = []

    class Watched(MemorySessionStore):
        async def trim_feed(self, before: datetime) -> int:
            trimmed.append(before)
            return await super().trim_feed(before)

    clock = FakeClock()
    feed = Feed(Watched(clock=clock, instance_id=InstanceId("i")), keep_alive_s=60, retention_s=3600)
    await feed.open()
    running = asyncio.ensure_future(feed.run())
    async with asyncio.timeout(5):
        while not trimmed:
            await asyncio.sleep(0.001)
    running.cancel()
    await asyncio.wait({running})
    assert trimmed == [clock.now() - timedelta(seconds=3600)]


def test_a_frame_without_position_has_no_id() -> None:
    assert sse_frame("waiting", b"{}") == b"event: waiting\ndata: {}\n\n"
