"""A worker: one process that offers one service, in pull mode (default) or push mode."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from typing import Final, Protocol, Self, TypeVar

from sdk.held_jobs import HeldJobs
from sdk.hooks import ControlFunction, FunctionHandler, HealthFunction, JobFunction, WorkerHandler
from sdk.ports import RoomFactory, RoomLink
from sdk.settings import WorkerSettings
from sdk.waiting import first_of, stop

__all__ = ["Worker", "WorkerHandler", "WorkerSettings"]

_log = logging.getLogger("greenroom.sdk")
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_Job = TypeVar("_Job", bound=JobFunction)
_Control = TypeVar("_Control", bound=ControlFunction)
_Health = TypeVar("_Health", bound=HealthFunction)


class _Side(Protocol):
    """What pull mode and push mode have in common."""

    jobs: HeldJobs

    async def __aenter__(self) -> object: ...
    async def __aexit__(self, *_: object) -> None: ...
    @property
    def is_connected(self) -> bool: ...
    async def wait_connected(self) -> None: ...
    async def wait_failed(self) -> None: ...
    def stop_taking(self) -> None: ...


class Worker:
    """Offers a service and runs its jobs; a handler object or decorated functions say what a job is.

    ```python
    worker = Worker(WorkerSettings("http://127.0.0.1:8080", "greeter"))

    @worker.job
    async def greet(job: Job) -> None:
        await job.room.local_participant.publish_data("hello", topic="greeting")

    worker.run()
    ```

    `run` is for a program of its own; inside a running loop use `async with worker:` or `serve`.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        handler: WorkerHandler | None = None,
        *,
        rooms: RoomFactory | None = None,
    ) -> None:
        """Make a worker; nothing is connected yet.

        Args:
            settings: whom to serve, as what.
            handler: the jobs' code; leave it out to use the decorators.
            rooms: makes the room connections; for tests without a media server.
        """
        self._settings = settings
        self._handler: WorkerHandler = FunctionHandler() if handler is None else handler
        self._rooms = rooms
        self._side: _Side | None = None
        self._drain_asked = asyncio.Event()
        self._stop_asked = asyncio.Event()
        self._drain_s = settings.drain_timeout_s
        self._started = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None

    # --- decorators ---

    def job(self, function: _Job) -> _Job:
        """Make this function the job's code; see `WorkerHandler.join_room`."""
        self._functions().job_function = function
        return function

    def on_leave(self, function: _Job) -> _Job:
        """Call this function when a job ends; see `WorkerHandler.leave_room`."""
        self._functions().leave_function = function
        return function

    def on_rejoined(self, function: _Job) -> _Job:
        """Call this function after a lost room was joined again; see `WorkerHandler.rejoined`."""
        self._functions().rejoined_function = function
        return function

    def on_control(self, function: _Control) -> _Control:
        """Call this function for recording operations; see `WorkerHandler.control`."""
        self._functions().control_function = function
        return function

    def health(self, function: _Health) -> _Health:
        """Ask this function whether the worker can serve; see `WorkerHandler.health`."""
        self._functions().health_function = function
        return function

    # --- running ---

    def run(self, *, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> None:
        """Serve until SIGTERM or SIGINT, then drain and return; a second signal hands all over at once.

        Args:
            loop_factory: makes the event loop, such as `uvloop.new_event_loop`; None for asyncio's own.

        Raises:
            WorkerRefusedError: the orchestrator will not have this worker.
            OSError: push mode, the endpoint's port cannot be listened on.
        """
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(self._run())

    async def serve(self) -> None:
        """Serve until `drain` or `stop` was asked for (here or by the orchestrator) and is carried out.

        Cancelling it stops the worker: its jobs are handed over to others.
        """
        if self._side is not None:
            raise RuntimeError("this worker is already being served; make another one")
        if isinstance(self._handler, FunctionHandler) and self._handler.job_function is None:
            raise ValueError("this worker has no job: give a handler or decorate a function with @worker.job")
        side = self._make_side()
        self._side = side
        async with side:
            self._started.set()
            failing = asyncio.create_task(side.wait_failed())
            try:
                await first_of(self._drain_asked, self._stop_asked, failing)
                if not failing.done():
                    side.stop_taking()
                    _log.info("draining %d jobs for at most %g s", len(side.jobs), self._drain_s)
                    draining = asyncio.create_task(side.jobs.drain(timeout_s=self._drain_s))
                    await first_of(self._stop_asked, failing, draining)
                    await stop(draining)
                if failing.done():
                    failing.result()
            finally:
                await stop(failing)

    async def drain(self, timeout_s: float | None = None) -> None:
        """Take nothing new, let the jobs end, hand over what outlasts ``timeout_s``; then `serve` returns."""
        self._ask_drain(self._settings.drain_timeout_s if timeout_s is None else timeout_s)
        await self._wait_served()

    async def stop(self) -> None:
        """Hand all jobs over at once; then `serve` returns."""
        self._stop_asked.set()
        await self._wait_served()

    async def __aenter__(self) -> Self:
        self._serving = asyncio.create_task(self.serve(), name=f"worker {self._settings.worker_id}")
        await first_of(self._started, self._serving)
        if self._serving.done():
            self._serving.result()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def wait_connected(self) -> None:
        """Wait until the orchestrator has taken this worker for the first time."""
        await self._started.wait()
        assert self._side is not None
        await self._side.wait_connected()

    # --- how it stands ---

    @property
    def settings(self) -> WorkerSettings:
        """What the worker was made with."""
        return self._settings

    @property
    def is_connected(self) -> bool:
        """Whether the orchestrator hears this worker: false after three heartbeats without an answer."""
        return self._side is not None and self._side.is_connected

    @property
    def job_count(self) -> int:
        """Number of jobs held, accepted ones included."""
        return 0 if self._side is None else len(self._side.jobs)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._signalled)
        try:
            await self.serve()
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    def _signalled(self) -> None:
        if self._drain_asked.is_set():
            self._stop_asked.set()
        self._ask_drain(self._settings.drain_timeout_s)

    def _ask_drain(self, timeout_s: float) -> None:
        if not self._drain_asked.is_set():
            self._drain_s = timeout_s
            self._drain_asked.set()

    async def _wait_served(self) -> None:
        if self._serving is not None:
            await asyncio.wait({self._serving})
            if not self._serving.cancelled():
                self._serving.result()

    def _make_side(self) -> _Side:
        if self._settings.endpoint is None:
            from sdk.pull import PullSide

            return PullSide(
                self._settings,
                handler=self._handler,
                rooms=self._rooms or _livekit_room,
                on_drain=self._ask_drain,
            )
        from sdk.push import PushSide

        return PushSide(self._settings, handler=self._handler, rooms=self._rooms or _livekit_room)

    def _functions(self) -> FunctionHandler:
        if not isinstance(self._handler, FunctionHandler):
            raise ValueError("this worker has a handler object; decorators are for workers without one")
        return self._handler


def _livekit_room() -> RoomLink:
    from sdk.room import LiveKitRoom  # loads the media library, which clients and tests do without

    return LiveKitRoom()
