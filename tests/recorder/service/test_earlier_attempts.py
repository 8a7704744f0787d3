"""Closing what was recorded before, once, and told when it is known."""

from __future__ import annotations

import asyncio

from recorder.service.archive import Archive
from recorder.service.earlier_attempts import EarlierAttempts
from recorder.service.recording_plan import RecordingPlan
from tests.fakes.chunk_stores import MemoryChunkStore
from tests.fakes.recordings import RECORDING, make_key_ring, open_writer, write_seconds
from vault.core.manifest import AttemptClose
from vault.errors import StoreError


class AwayStore(MemoryChunkStore):
    """Lists nothing before ``lists_at``."""

    calls, lists_at = 0, 1

    def files(self, recording_id):  # type: ignore[no-untyped-def]
        self.calls += 1
        if self.calls < self.lists_at:
            raise StoreError("away")
        return super().files(recording_id)


def earlier(store: MemoryChunkStore, closed: list[AttemptClose]) -> EarlierAttempts:
    write_seconds(open_writer(store, make_key_ring()), seconds=2)
    plan = RecordingPlan(recording_id=RECORDING, session_id="s", attempt=2)
    archive = Archive(store, make_key_ring(), "memory:")
    return EarlierAttempts(archive, plan, within_s=60, on_closed=closed.extend)


async def test_they_are_closed_once_and_told() -> None:
    store, closed = MemoryChunkStore(), list[AttemptClose]()
    attempts = earlier(store, closed)
    assert attempts.close() is attempts.close()
    closes = await attempts.close()
    assert [(close.attempt, close.size) for close in closes] == [(1, 6)]
    await asyncio.sleep(0)
    assert closed == closes


async def test_a_store_that_comes_back_is_asked_again() -> None:
    store, closed = AwayStore(), list[AttemptClose]()
    attempts = earlier(store, closed)
    store.calls, store.lists_at = 0, 3
    assert len(await attempts.close()) == 1


async def test_stopped_it_waits_no_more() -> None:
    store = AwayStore()
    attempts = earlier(store, [])
    await attempts.stop()
    store.calls, store.lists_at = 0, 10**9
    closing = attempts.close()
    await asyncio.sleep(0.02)
    await attempts.stop()
    assert closing.cancelled()
