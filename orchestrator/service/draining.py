"""An operator's drain: a worker takes nothing new, finishes what runs, and hands over the rest at a deadline.

The deadline stands in the registration, so it outlives a restart; a fresh registration ends the drain.
Source: architecture §5, docs/decisions/0011-breakers-and-drains.md.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import structlog

from orchestrator.core.errors import OrchestratorError
from orchestrator.core.ids import WorkerId
from orchestrator.service.dispatch import Dispatch
from orchestrator.service.registry import Registry, Worker
from orchestrator.service.sessions import Sessions
from sdk.wire import Drain

log = structlog.get_logger(__name__)

SWEEP_S: Final = 0.5  # a deadline is late by at most this and one commit


class Drains:
    """Drains workers, and hands over what they still hold at their deadline."""

    def __init__(self, *, sessions: Sessions, registry: Registry, dispatch: Dispatch) -> None:
        self._sessions = sessions
        self._registry = registry
        self._dispatch = dispatch

    async def drain(self, worker_id: WorkerId, deadline_s: float) -> Worker:
        """Have a worker take nothing new; durable when this returns. A repeat never moves the deadline back.

        Args:
            worker_id: which worker.
            deadline_s: after so many seconds its jobs are handed over.

        Raises:
            WorkerNotFoundError: it is not registered.
            StoreError: it is not durable.
        """
        drain_by = self._sessions.now() + timedelta(seconds=deadline_s)
        worker = await self._registry.drain(worker_id, drain_by)
        self.tell(worker)
        return worker

    def tell(self, worker: Worker) -> None:
        """Tell a pull worker that it drains, and how long it has; a push worker just gets no more jobs."""
        drain_by = worker.registration.drain_by
        if drain_by is not None and worker.line is not None:
            left_s = (drain_by - self._sessions.now()).total_seconds()
            worker.line.send(Drain(deadline=max(0.0, round(left_s, 3))))

    async def run(self) -> None:
        """Hand over what is due until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self.hand_over()
            except OrchestratorError as error:  # what is undone is done at the next sweep
                log.warning("drain_not_finished", error=str(error))

    async def hand_over(self) -> None:
        """Take the jobs of workers whose drain is over: offered to others, the old holder told to leave."""
        now = self._sessions.now()
        for worker in self._registry.all():
            drain_by = worker.registration.drain_by
            if drain_by is not None and drain_by <= now and worker.jobs:
                reason = "the worker drains and did not finish in time"
                await self._dispatch.lose_jobs(worker.registration.worker_id, reason)
