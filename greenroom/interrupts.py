"""Runs work until it is done or the person asks for its end: once politely, a second time at once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

Result = TypeVar("Result")

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def run_interruptible(
    work: Coroutine[Any, Any, Result], *, on_signal: Callable[[int], None]
) -> Result | None:
    """Do the work; Ctrl-C, SIGTERM or a closed terminal cancel it, and cancel it again when repeated.

    Args:
        work: what to do; its clean-up runs at the first signal and is itself cancelled by the second.
        on_signal: told the number of each signal, from 1, before it acts.

    Returns:
        What the work gives, or None when it was ended by a signal.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    count = 0

    def end() -> None:
        nonlocal count
        count += 1
        on_signal(count)
        task.cancel()

    for signum in _SIGNALS:
        loop.add_signal_handler(signum, end)
    try:
        return await task
    except asyncio.CancelledError:
        if count == 0:  # not a signal: somebody cancelled us
            raise
        return None
    finally:
        for signum in _SIGNALS:
            loop.remove_signal_handler(signum)
