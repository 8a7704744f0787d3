"""The store's thread: order, groups, a bounded queue, deadlines, and callers that left."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import pytest
from structlog.testing import capture_logs

from orchestrator.adapters import sqlite_lane
from orchestrator.adapters.sqlite_lane import Job, Lane
from orchestrator.core.errors import StoreError


class Stage:
    """Carries groups out when the test opens the gate."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.groups: list[int] = []
        self.done: list[object] = []
        self.told = 0

    def run_group(self, group: list[Job[list[object]]]) -> Callable[[], None]:
        self.gate.wait(10)
        self.groups.append(len(group))
        for job in group:
            job.result = job.work(self.done)
        return self.tell

    def tell(self) -> None:
        self.told += 1


def append(value: object) -> Callable[[list[object]], object]:
    def work(done: list[object]) -> object:
        done.append(value)
        return value

    return work


@pytest.fixture
async def stage() -> AsyncIterator[tuple[Stage, Lane[list[object]]]]:
    stage = Stage()
    lane = Lane(name="test-lane", run_group=stage.run_group, timeout_s=5)
    lane.start()
    yield stage, lane
    stage.gate.set()
    await lane.stop()


async def _taken(lane: Lane[list[object]]) -> None:
    """Wait until the thread has taken what was submitted."""
    await _submitted(2)
    async with asyncio.timeout(5):
        while lane._queue.qsize():
            await asyncio.sleep(0.001)


async def _submitted(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_many_calls_make_few_groups_in_order(stage: tuple[Stage, Lane[list[object]]]) -> None:
    held, lane = stage
    tasks = [asyncio.create_task(lane.call(append(n))) for n in range(50)]
    await _submitted(2)
    held.gate.set()
    assert await asyncio.gather(*tasks) == list(range(50))
    assert held.done == list(range(50))
    assert len(held.groups) <= 2
    assert held.told == len(held.groups)


async def test_a_group_has_a_bound(
    stage: tuple[Stage, Lane[list[object]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    held, lane = stage
    monkeypatch.setattr(sqlite_lane, "MAX_GROUP", 4)
    tasks = [asyncio.create_task(lane.call(append(n))) for n in range(20)]
    await _submitted(2)
    held.gate.set()
    await asyncio.gather(*tasks)
    assert max(held.groups) == 4


async def test_a_full_queue_refuses_at_once(
    stage: tuple[Stage, Lane[list[object]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    held, lane = stage
    first = asyncio.create_task(lane.call(append("first")))
    await _taken(lane)
    monkeypatch.setattr(sqlite_lane, "MAX_QUEUED", 2)
    waiting = [asyncio.create_task(lane.call(append(n))) for n in range(2)]
    await _submitted(2)
    with pytest.raises(StoreError, match="has 2 calls waiting; try again later"):
        await lane.call(append("too many"))
    held.gate.set()
    await asyncio.gather(first, *waiting)
    assert "too many" not in held.done


async def test_who_waited_too_long_gets_an_error_and_nothing_is_done() -> None:
    held = Stage()
    lane = Lane(name="test-lane", run_group=held.run_group, timeout_s=0.05)
    lane.start()
    first = asyncio.create_task(lane.call(append("begun")))
    await _taken(lane)
    with pytest.raises(StoreError, match=r"did not answer within 0\.05 s"):
        await lane.call(append("waiting"))
    with pytest.raises(StoreError):
        await first
    held.gate.set()
    await lane.stop()
    assert held.done == ["begun"]  # what had begun may be done; what had not is not


async def test_a_cancelled_caller_leaves_no_trace(stage: tuple[Stage, Lane[list[object]]]) -> None:
    held, lane = stage
    first = asyncio.create_task(lane.call(append("first")))
    await _taken(lane)
    second = asyncio.create_task(lane.call(append("second")))
    third = asyncio.create_task(lane.call(append("third")))
    await _submitted(2)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    held.gate.set()
    assert (await first, await third) == ("first", "third")
    assert held.done == ["first", "third"]


async def test_a_mistake_of_ours_does_not_end_the_thread() -> None:
    def run_group(group: list[Job[None]]) -> None:
        for job in group:
            job.result = job.work(None)

    lane: Lane[None] = Lane(name="test-lane", run_group=run_group, timeout_s=5)
    lane.start()
    with capture_logs() as logs, pytest.raises(StoreError, match="the store failed: ZeroDivisionError"):
        await lane.call(lambda _: 1 / 0)
    assert [entry["event"] for entry in logs] == ["store_thread_failed"]
    assert await lane.call(lambda _: 3) == 3
    await lane.stop()


async def test_a_closed_lane_finishes_what_it_has_and_takes_nothing_new(
    stage: tuple[Stage, Lane[list[object]]],
) -> None:
    held, lane = stage
    tasks = [asyncio.create_task(lane.call(append(n))) for n in range(3)]
    await _submitted(2)
    stopping = asyncio.create_task(lane.stop())
    await _submitted(2)
    with pytest.raises(StoreError, match="not open"):
        await lane.call(append("late"))
    held.gate.set()
    assert await asyncio.gather(*tasks) == [0, 1, 2]
    await stopping
    await lane.stop()  # again is no matter
