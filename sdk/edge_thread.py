"""The thread that speaks to the orchestrator, so that busy job code does not make the worker look dead."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

_log = logging.getLogger("greenroom.sdk")
T = TypeVar("T")
PROBE_S: Final = 0.5  # how often the jobs' loop is asked whether it still turns


class EdgeThread:
    """A thread with an event loop of its own, beside the loop in which the jobs run.

    What it does to the jobs' loop is one thing: it asks at short intervals whether that loop still turns.
    ``main`` runs until it returns, raises, or `stop` cancels it; its error is what `wait` raises.
    """

    def __init__(self, *, name: str) -> None:
        self._name = name
        self._jobs_loop = asyncio.get_running_loop()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._ended: asyncio.Future[None] = self._jobs_loop.create_future()
        self._asked_at: float | None = None
        self._is_stopped = False
        self._lock = threading.Lock()
        self._early: list[tuple[Callable[..., object], tuple[object, ...]]] = []  # until the loop is there

    @property
    def jobs_loop_lag_s(self) -> float:
        """Seconds for which the jobs' loop has not answered, 0 when it turns."""
        asked_at = self._asked_at
        return 0.0 if asked_at is None else time.monotonic() - asked_at

    def start(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start the thread with its main coroutine."""
        threading.Thread(target=self._run, args=(main,), name=self._name, daemon=True).start()

    def call(self, function: Callable[..., object], *args: object) -> None:
        """Run a function in the edge's loop soon; does nothing when that has ended. From any thread.

        What is called before the thread has its loop runs as soon as that is there.
        """
        with self._lock:
            if self._loop is None:
                self._early.append((function, args))
                return
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:  # the loop is closed
            pass

    def call_jobs(self, function: Callable[..., object], *args: object) -> None:
        """Run a function in the jobs' loop soon; does nothing when that has ended. From any thread."""
        try:
            self._jobs_loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            self.call(self._cancel)

    async def ask_jobs(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the jobs' loop and wait for it in the edge's; cancellation goes along."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._jobs_loop))

    async def ask_edge(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the edge's loop and wait for it in the jobs'.

        Raises:
            RuntimeError: the edge has ended.
        """
        if self._loop is None or self._loop.is_closed():
            work.close()
            raise RuntimeError("the edge thread is not running")
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def wait(self) -> None:
        """Wait, in the jobs' loop, for the end of the main coroutine and raise what it raised."""
        await asyncio.shield(self._ended)

    async def end(self, close: Callable[[], object], *, timeout_s: float) -> None:
        """Ask the main coroutine by ``close`` to end itself; cancel it when it does not in time.

        Raises:
            Exception: what the main coroutine raised.
        """
        self.call(close)
        try:
            async with asyncio.timeout(timeout_s):
                await self.wait()
        except TimeoutError:
            pass
        finally:
            await self.stop(timeout_s=timeout_s)

    async def stop(self, *, timeout_s: float) -> None:
        """Cancel the main coroutine and wait for its end, in the jobs' loop."""
        self._is_stopped = True
        self.call(self._cancel)
        done, _ = await asyncio.wait({self._ended}, timeout=timeout_s)
        if not done:
            _log.error("the connection thread did not end within %g s and is left behind", timeout_s)
        elif not self._ended.cancelled():
            self._ended.exception()  # whoever wanted it has read it from `wait`

    def _run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._supervise(main))
        except Exception as caught:  # noqa: BLE001 - the edge of the thread; `wait` raises it
            error = caught
        self.call_jobs(self._end, error)

    async def _supervise(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._main = asyncio.create_task(main())
        with self._lock:
            self._loop = asyncio.get_running_loop()
            early, self._early = self._early, []
        for function, args in early:
            self._loop.call_soon(function, *args)
        probe = asyncio.create_task(self._probe())
        if self._is_stopped:
            self._main.cancel()
        try:
            await self._main
        except asyncio.CancelledError:
            pass
        finally:
            probe.cancel()

    async def _probe(self) -> None:
        while True:
            if self._asked_at is None:
                self._asked_at = time.monotonic()
                self.call_jobs(self._answered)
            await asyncio.sleep(PROBE_S)

    def _answered(self) -> None:
        self._asked_at = None

    def _cancel(self) -> None:
        if self._main is not None:
            self._main.cancel()

    def _end(self, error: BaseException | None) -> None:
        if self._ended.done():
            return
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)
