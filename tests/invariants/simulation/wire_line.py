"""A WebSocket between a pull worker and an instance: in order, late, held up by a partition, or cut.

The instance's end does what `orchestrator/web/worker_sockets.py` does with a real one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from orchestrator.core.errors import OrchestratorError
from orchestrator.service.pull import HELLO_S
from orchestrator.service.registry import Worker
from sdk.wire import Hello, OrchestratorFrame, WorkerFrame
from tests.invariants.simulation.process import Process
from tests.invariants.simulation.stage import Stage

MAX_WAITING: Final = 256


class _Way:
    """One direction: what is put in comes out in order, None at the end."""

    def __init__(self, stage: Stage, take: Callable[[object], None]) -> None:
        self._stage = stage
        self._take = take
        self._free_at = 0.0
        self._held: deque[object] = deque()
        self.is_held = False

    def put(self, item: object) -> None:
        if self.is_held:
            self._held.append(item)
            return
        at = max(self._free_at + 1e-6, self._stage.time() + self._stage.between(0.0002, 0.01))
        self._free_at = at
        self._stage.later(at - self._stage.time(), lambda: self._arrive(item))

    def release(self) -> None:
        self.is_held = False
        while self._held:
            self.put(self._held.popleft())

    def _arrive(self, item: object) -> None:
        if self.is_held:
            self._held.append(item)
        else:
            self._take(item)


class WireLine:
    """Implements `Line` for the instance; the worker's end are `say`, `inbox` and `cut`."""

    def __init__(self, stage: Stage, process: Process, on_frame: Callable[[object], None]) -> None:
        self._stage = stage
        self._process = process
        self._to_worker = _Way(stage, on_frame)
        self._to_process = _Way(stage, self._came)
        self._inbox: asyncio.Queue[WorkerFrame | None] = asyncio.Queue(MAX_WAITING)
        self._is_closed_here = False
        self._is_cut = False
        process.on_death.append(self._process_died)
        process.spawn(self._serve())

    # --- the worker's end ---

    def say(self, frame: WorkerFrame) -> None:
        """Send a frame."""
        if not self._is_cut:
            self._to_process.put(frame)

    def cut(self) -> None:
        """End the connection from the worker's side."""
        if not self._is_cut:
            self._is_cut = True
            self._to_process.put(None)

    def hold(self) -> None:
        """Let nothing through in either direction, for now."""
        self._to_worker.is_held = self._to_process.is_held = True

    def release(self) -> None:
        """Let through what was held up."""
        self._to_process.release()
        self._to_worker.release()

    # --- the instance's end (`Line`) ---

    def send(self, frame: OrchestratorFrame) -> None:
        """Put a frame on the line."""
        if not self._is_closed_here:
            self._to_worker.put(frame)

    def close(self, reason: str) -> None:
        """End the connection from the instance's side."""
        if not self._is_closed_here:
            self._is_closed_here = True
            self._to_worker.put(None)
            if not self._inbox.full():
                self._inbox.put_nowait(None)

    def _came(self, item: object) -> None:
        if self._process.is_dead or self._inbox.full():
            return
        self._inbox.put_nowait(item)  # type: ignore[arg-type]  # only frames and None are put in

    def _process_died(self) -> None:
        self._to_worker.put(None)

    async def _serve(self) -> None:
        pull = self._process.orchestrator.pull
        worker: Worker | None = None
        try:
            async with asyncio.timeout(HELLO_S):
                hello = await self._inbox.get()
            if isinstance(hello, Hello):
                worker = await pull.welcome(self, hello)
                while (frame := await self._inbox.get()) is not None:
                    await pull.frame(worker, self, frame)
        except (OrchestratorError, TimeoutError):
            pass
        except Exception as error:  # noqa: BLE001 - a bug of the product that the run must show
            self._stage.unhandled(self._process.instance, error)
        self.close("the connection ended")
        if worker is not None and not self._process.is_stopping:
            await pull.closed(worker, self)
