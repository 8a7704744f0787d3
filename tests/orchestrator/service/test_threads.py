"""Blocking work has a bound on threads, on what waits, and on time; what nobody waits for stops."""

from __future__ import annotations

import asyncio
import threading

import pytest

from orchestrator.service.threads import BusyError, StoppedError, Threads


async def test_a_result_and_an_error_come_back() -> None:
    threads = Threads("t", threads=1, waiting=0)
    assert await threads.run(lambda check: 7, deadline_s=5) == 7
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda check: 1 // 0, deadline_s=5)
    threads.close()


async def test_beyond_the_bound_it_refuses_at_once_and_takes_again_later() -> None:
    threads = Threads("t", threads=1, waiting=1)
    gate = threading.Event()
    first = asyncio.ensure_future(threads.run(lambda check: gate.wait(5), deadline_s=5))
    second = asyncio.ensure_future(threads.run(lambda check: 2, deadline_s=5))
    await asyncio.sleep(0)
    with pytest.raises(BusyError, match="too much"):
        await threads.run(lambda check: 3, deadline_s=5)
    gate.set()
    assert (await first, await second) == (True, 2)
    assert await threads.run(lambda check: 3, deadline_s=5) == 3
    threads.close()


async def test_work_that_takes_too_long_is_given_up_and_told_so() -> None:
    threads = Threads("t", threads=1, waiting=0)
    stopped = threading.Event()

    def work(check: object) -> None:
        assert callable(check)
        try:
            while True:
                check()
        except StoppedError:
            stopped.set()
            raise

    with pytest.raises(BusyError, match=r"within 0\.05 s"):
        await threads.run(work, deadline_s=0.05)
    assert await asyncio.to_thread(stopped.wait, 5)
    threads.close()


async def test_a_thread_that_hangs_keeps_its_place_until_it_ends() -> None:
    threads = Threads("t", threads=1, waiting=0)
    gate = threading.Event()
    with pytest.raises(BusyError, match="within"):
        await threads.run(lambda check: gate.wait(5), deadline_s=0.05)
    with pytest.raises(BusyError, match="too much"):
        await threads.run(lambda check: 1, deadline_s=5)
    gate.set()
    async with asyncio.timeout(5):
        while True:
            try:
                assert await threads.run(lambda check: 1, deadline_s=5) == 1
                break
            except BusyError:
                await asyncio.sleep(0.01)
    threads.close()


async def test_after_closing_nothing_is_taken() -> None:
    threads = Threads("t", threads=1, waiting=0)
    threads.close()
    with pytest.raises(BusyError):
        await threads.run(lambda check: 1, deadline_s=5)
