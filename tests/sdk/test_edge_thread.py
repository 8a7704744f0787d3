"""The edge thread: calls both ways, its end, and how long the jobs' loop has been blocked."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from sdk.edge_thread import EdgeThread
from tests.fakes.worker_author import until


async def forever() -> None:
    await asyncio.Event().wait()


async def test_it_runs_in_a_thread_of_its_own_and_calls_go_both_ways() -> None:
    edge = EdgeThread(name="edge under test")
    edge.start(forever)
    heard: list[str] = []
    started = asyncio.Event()

    async def name() -> str:
        return threading.current_thread().name

    async with asyncio.timeout(5):
        while True:
            try:
                assert await edge.ask_edge(name()) == "edge under test"
                break
            except RuntimeError:
                await asyncio.sleep(0.01)

    async def ask_back() -> str:
        return await edge.ask_jobs(name())

    assert await edge.ask_edge(ask_back()) == threading.current_thread().name

    def hear() -> None:
        heard.append("called")
        started.set()

    edge.call(edge.call_jobs, hear)
    await asyncio.wait_for(started.wait(), 30)
    assert heard == ["called"]
    await edge.stop(timeout_s=2)
    await edge.wait()
    edge.call(heard.append, "too late")
    assert heard == ["called"]


async def test_its_error_is_what_wait_raises() -> None:
    async def fail() -> None:
        raise OSError("no such port")

    edge = EdgeThread(name="failing edge")
    edge.start(fail)
    with pytest.raises(OSError, match="no such port"):
        await asyncio.wait_for(edge.wait(), 30)
    await edge.stop(timeout_s=1)


async def test_stop_right_after_start() -> None:
    edge = EdgeThread(name="short edge")
    edge.start(forever)
    await edge.stop(timeout_s=2)
    await asyncio.wait_for(edge.wait(), 30)


async def test_a_blocked_jobs_loop_is_seen() -> None:
    edge = EdgeThread(name="watching edge")
    edge.start(forever)
    await asyncio.sleep(0.1)
    await until(lambda: edge.jobs_loop_lag_s < 0.1)
    seen: list[float] = []
    began = time.monotonic()

    def look() -> None:
        time.sleep(1.3)
        seen.append(edge.jobs_loop_lag_s)

    watcher = threading.Thread(target=look)
    watcher.start()
    time.sleep(1.5)
    watcher.join()
    assert 0.5 <= seen[0] <= time.monotonic() - began + 0.1
    await until(lambda: edge.jobs_loop_lag_s < 0.1)
    await edge.stop(timeout_s=2)


async def test_what_is_called_before_the_thread_has_its_loop_runs_as_soon_as_it_has() -> None:
    edge = EdgeThread(name="edge under test")
    called = threading.Event()
    edge.call(called.set)
    edge.start(forever)
    assert await asyncio.to_thread(called.wait, 5)
    await edge.stop(timeout_s=5)
