"""What every session store promises of the feed: ordered, numbered, trimmed from the oldest."""

from __future__ import annotations

from datetime import timedelta

import pytest

from orchestrator.core.errors import (
    VersionConflictError,
)
from orchestrator.core.events import (
    MicroserviceRegistered,
    SessionCreated,
    decode_data,
)
from orchestrator.core.ids import SessionId
from tests.contracts.session_changes import (
    World,
    first_change,
    next_change,
    registration,
    saved,
)
from tests.fakes.clock import START


async def test_events_are_read_in_order_and_by_page(world: World) -> None:
    one = await saved(world.store)
    two = await saved(world.store, "room-2", session_id="s2")
    await world.store.commit(next_change(one, "b", "c"))
    await world.store.commit(next_change(two, "d"))
    page = await world.store.feed_after(0, session_id=None, limit=99)
    assert [(e.session_id, e.number) for e in page.events] == [
        ("s1", 1), ("s2", 1), ("s1", 2), ("s1", 3), ("s2", 2)
    ]  # fmt: skip
    assert page.oldest_seq == page.events[0].seq
    assert page.head_seq == page.events[-1].seq
    seqs = [event.seq for event in page.events]
    assert seqs == sorted(set(seqs))
    assert min(seqs) > 0

    first = await world.store.feed_after(0, session_id=None, limit=2)
    rest = await world.store.feed_after(first.events[-1].seq, session_id=None, limit=99)
    assert first.events + rest.events == page.events
    assert first.head_seq == page.head_seq

    own = await world.store.feed_after(0, session_id=SessionId("s2"), limit=99)
    assert [event.number for event in own.events] == [1, 2]
    assert own.head_seq == page.head_seq
    assert (await world.store.feed_after(0, session_id=SessionId("s3"), limit=9)).events == ()


async def test_an_event_is_kept_as_it_was_said(world: World) -> None:
    change = first_change()
    await world.store.commit(change)
    world.clock.advance(5)
    await world.store.commit(next_change(change.session, "ü\n\x00"))
    created, error = (await world.store.feed_after(0, session_id=None, limit=9)).events
    assert (created.name, created.at) == ("session_created", START)
    assert decode_data(created.data)["type"] == "SessionCreated"
    assert isinstance(change.events[0], SessionCreated)
    assert (error.name, error.at) == ("error", START + timedelta(seconds=5))
    assert decode_data(error.data) == {"type": "Error", "session_id": "s1", "message": "ü\n\x00"}
    assert b"\n" not in error.data


async def test_positions_beyond_the_head_give_nothing(world: World) -> None:
    await saved(world.store)
    for seq in (1, 2, 10**30):
        page = await world.store.feed_after(seq, session_id=None, limit=9)
        assert page.events == ()
        assert page.head_seq == 1
    assert len((await world.store.feed_after(-5, session_id=None, limit=9)).events) == 1


async def test_an_empty_feed(world: World) -> None:
    page = await world.store.feed_after(0, session_id=None, limit=9)
    assert (page.events, page.oldest_seq, page.head_seq) == ((), 1, 0)
    assert page.generation > 0


async def test_trimming_forgets_the_oldest_and_keeps_the_head(world: World) -> None:
    session = await saved(world.store)
    world.clock.advance(10)
    await world.store.commit(next_change(session, "kept"))
    assert await world.store.trim_feed(START) == 0
    assert await world.store.trim_feed(START + timedelta(seconds=10)) == 1
    page = await world.store.feed_after(0, session_id=None, limit=9)
    assert [event.number for event in page.events] == [2]
    assert (page.oldest_seq, page.head_seq) == (2, 2)

    assert await world.store.trim_feed(START + timedelta(seconds=11)) == 1
    page = await world.store.feed_after(0, session_id=None, limit=9)
    assert (page.events, page.oldest_seq, page.head_seq) == ((), 3, 2)
    third = next_change(next_change(session, "kept").session, "third")
    await world.store.commit(third)
    page = await world.store.feed_after(2, session_id=None, limit=9)
    assert [(event.seq, event.number) for event in page.events] == [(3, 3)]


async def test_trimming_never_leaves_a_hole(world: World) -> None:
    """A machine whose clock went back between two starts has events that are not in the order of time."""
    session = await saved(world.store)
    world.clock.advance(-100)
    await world.store.commit(next_change(session, "earlier by the clock"))
    assert await world.store.trim_feed(START - timedelta(seconds=50)) == 0
    assert await world.store.trim_feed(START + timedelta(seconds=1)) == 2


async def test_a_long_feed_is_trimmed_whole(world: World) -> None:
    session = await saved(world.store)
    await world.store.commit(next_change(session, *map(str, range(2500))))
    assert await world.store.trim_feed(START + timedelta(seconds=1)) == 2501


async def test_the_head_is_told_before_the_caller_goes_on(world: World) -> None:
    session = await saved(world.store)
    assert world.heads == [1]
    await world.store.commit(next_change(session, "a", "b"))
    assert world.heads[-1] == 3
    silent = next_change(next_change(session, "a", "b").session)
    await world.store.commit(silent)
    with pytest.raises(VersionConflictError):
        await world.store.commit(silent)
    assert world.heads[-1] == 3
    await world.store.save_worker(
        registration("asr"), (MicroserviceRegistered(service_id="asr", worker_id="asr"),)
    )
    assert world.heads[-1] == 4
