"""A thread of the SQLite store: carries out jobs in order and in groups, one wake-up per group."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar, cast

import structlog

from orchestrator.core.errors import StoreError

_T = TypeVar("_T")
_C = TypeVar("_C")

MAX_QUEUED: Final = 8192  # jobs; one more is refused at once
PATIENCE_S: Final = 0.002  # how long work that nobody waits for rests, to share another's fsync
MAX_GROUP: Final = 512  # jobs in one group; bounds how long a transaction gets

log = structlog.get_logger(__name__)


class Job(Generic[_C]):
    """One call on its way through the thread. The thread sets ``result`` or ``error``."""

    __slots__ = ("_future", "error", "result", "work")

    def __init__(self, work: Callable[[_C], Any], future: asyncio.Future[Any]) -> None:
        self.work = work
        self.result: Any = None
        self.error: Exception | None = None
        self._future = future

    @property
    def is_abandoned(self) -> bool:
        """Whether the caller left or was sent away before the job began: then it is not done at all."""
        return self._future.done()

    def deliver(self) -> None:
        """Give the outcome to the caller, on its loop."""
        if self._future.done():
            return
        if self.error is not None:
            self._future.set_exception(self.error)
        else:
            self._future.set_result(self.result)


class Lane(Generic[_C]):
    """One thread and its queue. A full queue refuses: waiting callers would only pile up elsewhere.

    Args:
        name: of the thread.
        run_group: carries out a group in the thread; must set each job's outcome. What it returns is called
            on the loop just before the outcomes are delivered.
        timeout_s: how long a caller waits. A job that has not begun by then is not done; one that has may be.
    """

    def __init__(
        self,
        *,
        name: str,
        run_group: Callable[[list[Job[_C]]], Callable[[], None] | None],
        timeout_s: float,
    ) -> None:
        self._run_group = run_group
        self._timeout_s = timeout_s
        self._queue: queue.SimpleQueue[list[Job[_C]] | None] = queue.SimpleQueue()
        self._resting: list[Job[_C]] = []  # not handed over yet, on the loop's side
        self._rest: asyncio.TimerHandle | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closed = False

    def start(self) -> None:
        """Start the thread; results are delivered to the running loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Take nothing new, finish what was submitted, end the thread."""
        if not self._is_closed:
            self._is_closed = True
            self._submit()
            self._queue.put(None)
        if self._loop is not None:
            await asyncio.to_thread(self._thread.join)

    async def call(self, work: Callable[[_C], _T], *, is_patient: bool = False) -> _T:
        """Have ``work`` carried out in the thread; patient work rests up to `PATIENCE_S` for company.

        Raises:
            StoreError: the store is closed, has too much to do, or did not answer in time.
        """
        loop = self._loop
        if loop is None or self._is_closed:
            raise StoreError("the store is not open")
        if self._queue.qsize() >= MAX_QUEUED:
            raise StoreError(f"the store has {MAX_QUEUED} calls waiting; try again later")
        future: asyncio.Future[Any] = loop.create_future()
        timer = loop.call_later(self._timeout_s, self._expire, future)
        self._resting.append(Job(work, future))
        if not is_patient:
            self._submit()
        elif self._rest is None:
            self._rest = loop.call_later(PATIENCE_S, self._submit)
        try:
            return cast(_T, await future)
        finally:
            timer.cancel()

    def _submit(self) -> None:
        """Hand over what rests, in order; one wake-up of the thread for all of it."""
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        if self._resting:
            self._queue.put(self._resting)
            self._resting = []

    def _expire(self, future: asyncio.Future[Any]) -> None:
        if not future.done():
            future.set_exception(StoreError(f"the store did not answer within {self._timeout_s:g} s"))

    def _run(self) -> None:
        is_open = True
        while is_open:
            first = self._queue.get()
            if first is None:
                return
            group = first
            while len(group) < MAX_GROUP:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    is_open = False
                    break
                group += more
            wanted = [job for job in group if not job.is_abandoned]
            if wanted:
                self._carry_out(wanted)

    def _carry_out(self, group: list[Job[_C]]) -> None:
        before: Callable[[], None] | None = None
        try:
            before = self._run_group(group)
        except Exception as error:  # the thread's edge: it outlives a mistake of ours
            log.exception("store_thread_failed", thread=self._thread.name)
            for job in group:
                job.error = StoreError(f"the store failed: {type(error).__name__}")
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(_deliver, group, before)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more


def _deliver(group: list[Job[_C]], before: Callable[[], None] | None) -> None:
    if before is not None:
        before()
    for job in group:
        job.deliver()
