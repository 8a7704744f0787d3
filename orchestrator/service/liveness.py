"""Finds out who is alive: probes push workers, counts what pull workers miss.

Source: contracts §1 (timeouts), architecture §5: every 2 s, three missed = dead. A job must run elsewhere
within 9 s (I6), so workers are looked at twice an interval, and silence is what is measured: counting looks
alone adds a whole interval to it, and each probe that hangs adds another.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from orchestrator.core.errors import OrchestratorError
from orchestrator.core.ids import WorkerId
from orchestrator.ports import Clock, WorkerCaller
from orchestrator.service.dispatch import Dispatch
from orchestrator.service.registry import MISSED_LIMIT, Registry, Worker

log = structlog.get_logger(__name__)

_FORGET_S: Final = 60.0
_LOOKS_PER_INTERVAL: Final = 2
# Beside the silence: so many looks or probes in a row. One would do, were it never we who had been asleep.
_MISSED_PROBES: Final = 2


class Liveness:
    """Watches all workers until cancelled."""

    def __init__(
        self,
        *,
        registry: Registry,
        dispatch: Dispatch,
        caller: WorkerCaller,
        clock: Clock,
        heartbeat_interval_s: float,
        registration_timeout_s: float,
        retry_interval_s: float,
    ) -> None:
        self._registry = registry
        self._dispatch = dispatch
        self._caller = caller
        self._clock = clock
        self._heartbeat_interval_s = heartbeat_interval_s
        self._registration_timeout_s = registration_timeout_s
        self._retry_interval_s = retry_interval_s
        self._checking: dict[WorkerId, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Look at every worker twice a heartbeat interval, for ever; one that hangs delays no other."""
        forgot_at = self._clock.monotonic()
        try:
            while True:
                await asyncio.sleep(self._heartbeat_interval_s / _LOOKS_PER_INTERVAL)
                for worker in self._registry.all():
                    self._begin(worker)
                try:
                    if self._clock.monotonic() - forgot_at > _FORGET_S:
                        forgot_at = self._clock.monotonic()
                        await self._registry.forget_old()
                except OrchestratorError as error:
                    log.warning("workers_not_forgotten", error=str(error))
        finally:
            for task in self._checking.values():
                task.cancel()

    def _begin(self, worker: Worker) -> None:
        worker_id = worker.registration.worker_id
        if worker_id not in self._checking:
            task = self._checking[worker_id] = asyncio.ensure_future(self._check_quietly(worker))
            task.add_done_callback(lambda _: self._checking.pop(worker_id, None))

    async def _check_quietly(self, worker: Worker) -> None:
        try:
            await self.check(worker)
        except OrchestratorError as error:  # what is undone is done at the next look
            log.warning("liveness_check_failed", worker_id=worker.registration.worker_id, error=str(error))

    async def check(self, worker: Worker) -> None:
        """Look at one worker: heard lately, else probed (push) or counted as missed."""
        silent_s = self._clock.monotonic() - worker.heard_at
        if silent_s < self._heartbeat_interval_s:
            return
        if not worker.is_push:
            if worker.line is not None or worker.missed >= MISSED_LIMIT:
                await self._missed(worker, limit=MISSED_LIMIT)
            return
        is_given_up = silent_s > self._registration_timeout_s
        pause_s = self._retry_interval_s if is_given_up else self._heartbeat_interval_s
        if self._clock.monotonic() - worker.probed_at < pause_s:
            return
        worker.probed_at = self._clock.monotonic()
        endpoint = worker.registration.endpoint
        assert endpoint is not None
        is_healthy = await self._caller.is_healthy(endpoint)
        if self._registry.find(worker.registration.worker_id) is not worker:
            return  # it registered again meanwhile: this said nothing about the new address
        if is_healthy:
            self.heard(worker)
        else:
            await self._missed(worker, limit=_MISSED_PROBES)

    def heard(self, worker: Worker) -> None:
        """Note a sign of life; who was dead is asked again."""
        if self._registry.heard(worker):
            log.info("worker_back", worker_id=worker.registration.worker_id)
            self._dispatch.wake(worker.registration.service_id)

    async def _missed(self, worker: Worker, *, limit: int) -> None:
        """Count; the dead are said to be gone and hold no job: tried at each look until both are done."""
        silent_s = self._clock.monotonic() - worker.heard_at
        if silent_s < self._heartbeat_interval_s:
            return  # it was heard while its probe hung
        worker.missed += 1
        if worker.missed < limit or silent_s < MISSED_LIMIT * self._heartbeat_interval_s:
            return
        reason = f"not heard for {silent_s:.0f} s"
        if worker.line is not None:
            worker.line.close("no heartbeat")
            worker.line = None
        if not worker.is_dead:
            worker.is_dead = True
            try:
                await self._registry.unavailable(worker, reason)
            except OrchestratorError:
                worker.is_dead = False  # said again at the next look
                raise
        if worker.jobs:
            keep = self._dispatch.calls_to_await(worker)
            await self._dispatch.lose_jobs(worker.registration.worker_id, f"the worker was {reason}", keep)
