"""Waiting for the first of several, and ending tasks in bounded time."""

from __future__ import annotations

import asyncio
import logging

import pytest

from sdk.waiting import first_of, stop, unless


async def test_first_of_events_and_tasks() -> None:
    event = asyncio.Event()
    task = asyncio.create_task(asyncio.sleep(10))
    asyncio.get_running_loop().call_later(0.01, event.set)
    await asyncio.wait_for(first_of(event, task), 1)
    assert not task.done()
    await first_of(task, timeout_s=0.01)
    await stop(task)
    assert task.cancelled()
    await asyncio.wait_for(first_of(asyncio.Event(), task), 1)


async def test_unless_gives_the_result_or_none() -> None:
    async def answer() -> int:
        return 42

    event = asyncio.Event()
    assert await unless(event, answer()) == 42
    cancelled = False

    async def hang() -> int:
        nonlocal cancelled
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            cancelled = True
            raise
        return 1

    asyncio.get_running_loop().call_later(0.01, event.set)
    assert await unless(event, hang()) is None
    assert cancelled


async def test_unless_passes_errors_on() -> None:
    async def fail() -> None:
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        await unless(asyncio.Event(), fail())


async def test_a_task_that_ignores_its_cancellation_is_left_behind_and_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    go_on = asyncio.Event()

    async def stubborn() -> None:
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue

    task = asyncio.create_task(stubborn(), name="stubborn one")
    await asyncio.sleep(0)
    with caplog.at_level(logging.ERROR):
        await stop(task, timeout_s=0.05)
    assert "stubborn one ignores its cancellation" in caplog.text
    go_on.set()
    await task


async def test_stopping_nothing_or_oneself_does_nothing() -> None:
    await stop(None)
    await stop(asyncio.current_task())
