"""A few threads for what blocks (disk, hashing, muxing), with a bound on what waits for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from orchestrator.core.errors import OrchestratorError

T = TypeVar("T")


class BusyError(OrchestratorError):
    """All threads are busy and as much waits as may, or the work took too long; worth trying again."""


class StoppedError(OrchestratorError):
    """Nobody waits for the result any more."""


class Threads:
    """Runs blocking calls on ``threads`` threads; ``waiting`` more may wait, then callers are refused."""

    def __init__(self, name: str, *, threads: int, waiting: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._limit = threads + waiting
        self._lock = threading.Lock()
        self._taken = 0
        self._closing = threading.Event()

    async def run(self, call: Callable[[Callable[[], None]], T], *, deadline_s: float) -> T:
        """Run one call and wait for its result.

        Args:
            call: is given a function that raises `StoppedError` once nobody waits any more; work that lasts
                calls it now and then.
            deadline_s: how long to wait, for a thread and for the result.

        Raises:
            BusyError: no room, or no result in time.
        """
        with self._lock:
            if self._taken >= self._limit or self._closing.is_set():
                raise BusyError("too much is being read at the moment; try again in a moment")
            self._taken += 1
        abandoned = threading.Event()

        def check() -> None:
            if abandoned.is_set() or self._closing.is_set():
                raise StoppedError("nobody waits for this any more")

        try:
            future = self._executor.submit(call, check)
        except RuntimeError:  # closed meanwhile
            self._give_back()
            raise BusyError("this instance is stopping; try another or again") from None
        future.add_done_callback(self._give_back)
        try:
            async with asyncio.timeout(deadline_s):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise BusyError(f"it was not read within {deadline_s:g} s; try again") from None
        finally:
            abandoned.set()

    def close(self) -> None:
        """Take nothing more; what runs is told to stop and not waited for."""
        self._closing.set()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _give_back(self, _: Future[T] | None = None) -> None:
        with self._lock:
            self._taken -= 1
