"""Feeds every worker's breaker from what is committed, and wakes the queue when one lets jobs through again.

Source: core/breaker.py (the rules).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from orchestrator.core import breaker as rules
from orchestrator.core.breaker import Breaker
from orchestrator.core.ids import JobId, ServiceId, WorkerId
from orchestrator.core.jobs import OVER, Job, JobState
from orchestrator.core.session import Session
from orchestrator.ports import Clock
from orchestrator.service.registry import Registry

log = structlog.get_logger(__name__)

_AFTER_S: Final = 0.01  # the timer must not come before the rest is over
_UNDECIDED: Final = (JobState.OFFERED, JobState.ACCEPTED)


class Breakers:
    """The breakers of all workers."""

    def __init__(
        self, *, registry: Registry, clock: Clock, max_rest_s: float, wake: Callable[[ServiceId], None]
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._max_rest_s = max_rest_s
        self._wake = wake

    def observe(self, before: Session | None, after: Session) -> None:
        """Take notice of a commit: what was offered, what joined, what came to nothing."""
        for job in after.jobs:
            old = before.job(job.job_id) if before is not None else None
            if old is not None and old.worker_id is not None and not old.has_joined:
                self._judge(old, old.worker_id, job)
            is_new = old is None or old.attempt != job.attempt
            if job.state is JobState.OFFERED and is_new and job.worker_id is not None:
                self.asked(job.worker_id, job.job_id)
            if job.state is JobState.JOINED and (is_new or not (old and old.has_joined)):
                self._set(job.worker_id, rules.joined)

    def asked(self, worker_id: WorkerId, job_id: JobId) -> None:
        """Note that a worker is about to be asked."""
        now_s = self._clock.monotonic()
        self._set(worker_id, lambda breaker: rules.asked(breaker, job_id, now_s))

    def not_asked(self, worker_id: WorkerId, job_id: JobId) -> None:
        """Take `asked` back: the offer was not committed. Wakes nobody: it may be committed right after."""
        worker = self._registry.find(worker_id)
        if worker is not None:
            worker.breaker = rules.withdrawn(worker.breaker, job_id)

    def told_to_wait(self, worker_id: WorkerId, seconds: float) -> None:
        """Note a worker's `Retry-After`."""
        now_s = self._clock.monotonic()
        self._set(
            worker_id,
            lambda breaker: rules.told_to_wait(breaker, seconds, now_s, max_rest_s=self._max_rest_s),
        )

    def _judge(self, old: Job, worker_id: WorkerId, job: Job) -> None:
        """Decide what became of an attempt that had not joined."""
        if job.attempt == old.attempt and job.worker_id == worker_id and job.state not in OVER:
            return
        if job.state in OVER:
            self._set(worker_id, lambda breaker: rules.withdrawn(breaker, job.job_id))
        elif old.state in _UNDECIDED:
            now_s = self._clock.monotonic()
            self._set(
                worker_id,
                lambda breaker: rules.failed(breaker, job.job_id, now_s, max_rest_s=self._max_rest_s),
            )

    def _set(self, worker_id: WorkerId | None, change: Callable[[Breaker], Breaker]) -> None:
        worker = self._registry.find(worker_id)
        if worker is None:
            return
        now_s = self._clock.monotonic()
        before, worker.breaker = worker.breaker, change(worker.breaker)
        after = worker.breaker
        if after.rests_until is not None and after.rests_until != before.rests_until:
            rest_s = after.rests_until - now_s
            log.warning("worker_rests", worker_id=worker_id, failures=after.failures, rest_s=round(rest_s, 1))
            asyncio.get_running_loop().call_later(
                rest_s + _AFTER_S, self._wake, worker.registration.service_id
            )
        elif before.rests_s(now_s) is not None and after.rests_s(now_s) is None:
            self._wake(worker.registration.service_id)
