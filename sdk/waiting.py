"""Waiting for whichever comes first, and ending tasks in bounded time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")
CANCEL_S: Final = 5.0

_log = logging.getLogger("greenroom.sdk")


async def first_of(*things: asyncio.Event | asyncio.Task[Any], timeout_s: float | None = None) -> None:
    """Wait until one of these events is set or one of these tasks is done, or the time is over."""
    waiters = [asyncio.create_task(thing.wait()) for thing in things if isinstance(thing, asyncio.Event)]
    tasks = [thing for thing in things if isinstance(thing, asyncio.Task)]
    try:
        await asyncio.wait([*waiters, *tasks], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in waiters:
            waiter.cancel()


async def unless(event: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Run ``work`` and give its result; None when the event came first, after ``work`` was cancelled."""
    task = asyncio.create_task(work)
    try:
        await first_of(event, task)
    finally:
        if not task.done():
            await stop(task)
    return task.result() if not task.cancelled() else None


async def stop(task: asyncio.Task[Any] | None, *, timeout_s: float = CANCEL_S) -> None:
    """Cancel a task and wait for its end, at most ``timeout_s``. Its result is not looked at."""
    if task is None or task.done() or task is asyncio.current_task():
        return
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=timeout_s)
    if not done:
        _log.error("%s ignores its cancellation for %g s and is left behind", task.get_name(), timeout_s)
