"""Recording operations on their way to the author's code: in order, each number once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from sdk.hooks import WorkerHandler
from sdk.job import Job
from sdk.waiting import first_of, stop
from sdk.wire import Control

MAX_CONTROLS: Final = 64
SETTLE_S: Final = 2.0  # how long `leave_room` waits for operations that came before it

_log = logging.getLogger("greenroom.sdk")


class ControlQueue:
    """Calls the hook `control` for one job. The orchestrator repeats an operation until it was carried out.

    Operations beyond 64 waiting ones are dropped; they are repeated too.
    """

    def __init__(self, job: Job, handler: WorkerHandler, *, on_error: Callable[[str], None]) -> None:
        self._job = job
        self._handler = handler
        self._on_error = on_error
        self._last_n = 0
        self._queue: asyncio.Queue[Control] = asyncio.Queue(MAX_CONTROLS)
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None

    def put(self, control: Control) -> None:
        """Take an operation; one whose number is not new is ignored."""
        if control.n <= self._last_n or self._queue.full():
            return
        self._last_n = control.n
        self._idle.clear()
        self._queue.put_nowait(control)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"controls of {self._job!r}")

    async def settle(self) -> None:
        """Wait until all operations have been carried out, at most 2 s."""
        if not self._idle.is_set():
            await first_of(self._idle, timeout_s=SETTLE_S)

    async def close(self) -> None:
        """End the hook that runs, and carry out no more."""
        await stop(self._task)

    async def _run(self) -> None:
        while True:
            control = await self._queue.get()
            try:
                await self._handler.control(self._job, control)
            except Exception as error:  # noqa: BLE001 - the edge of the author's code
                _log.exception("control %r of %r raised", control.op, self._job)
                self._on_error(f"control {control.op} raised {type(error).__name__}")
            if self._queue.empty():
                self._idle.set()
