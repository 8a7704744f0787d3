"""Outgoing webhooks: who is registered, and a courier for each, which delivers on its own.

A target that hangs keeps its own courier busy and nobody else's.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from orchestrator.core.errors import StoreError, WebhookLimitError, WebhookNotFoundError
from orchestrator.core.webhook_targets import Progress, RetryPolicy, TargetId, WebhookTarget
from orchestrator.ports import Clock, SessionStore
from orchestrator.service.courier import Courier
from orchestrator.service.webhook_line import CourierParts, Outcome
from orchestrator.webhook_ports import DeadLetterPage, WebhookSender, WebhookStore

GONE: Final = "the receiver answered 410 Gone; register it again, or resume"
_HEAD: Final = 2**62  # beyond every number of the feed

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetView:
    """A registration and where it stands.

    Attributes:
        held_sessions: how many are held back because a delivery failed.
        lag_events: events of the feed since the oldest that it may lack.
    """

    target: WebhookTarget
    held_sessions: int
    lag_events: int


class OutgoingWebhooks:
    """All targets: `open`, then `run` as a task of its owner, and `notify` at every commit.

    Args:
        store: the feed.
        webhooks: registrations, progress and dead letters.
        sender: how deliveries leave.
        clock: jitter and durations.
        policy: when a delivery is tried again, and when it is given up.
        max_targets: registrations at most.
    """

    def __init__(
        self,
        *,
        store: SessionStore,
        webhooks: WebhookStore,
        sender: WebhookSender,
        clock: Clock,
        policy: RetryPolicy,
        max_targets: int,
    ) -> None:
        self._clock = clock
        self._max_targets = max_targets
        self._head = 0
        self._couriers: dict[TargetId, Courier] = {}
        self._running: dict[TargetId, asyncio.Task[None]] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._changing = asyncio.Lock()  # of registrations: one change at a time
        self.outcomes: Counter[Outcome] = Counter()
        self._parts = CourierParts(
            store=store, webhooks=webhooks, sender=sender, clock=clock, policy=policy, count=self._count
        )

    async def open(self) -> None:
        """Take over the registrations.

        Raises:
            StoreError: the store refused, or did not answer within its deadline.
        """
        self._head = (await self._start()).cursor
        for target, progress in await self._parts.webhooks.targets():
            self._couriers[target.id] = self._courier(target, progress)

    async def run(self) -> None:
        """Deliver to everybody until cancelled; then each saves how far it is."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                for courier in self._couriers.values():
                    self._begin(courier)
                await asyncio.Event().wait()
        finally:
            self._tasks = None

    def notify(self, head_seq: int) -> None:
        """Say that the feed's head is now here. Called on the event loop after each group of commits."""
        self._head = head_seq
        for courier in self._couriers.values():
            courier.wake()

    async def register(
        self, url: str, *, events: Sequence[str] | None = None, secret: str | None = None
    ) -> WebhookTarget:
        """Register a target, which gets what is committed from now on.

        Args:
            url: checked by the caller.
            events: names of the feed; None for all.
            secret: signs the deliveries; None: a new one is made.

        Raises:
            WebhookLimitError: there are `max_targets`.
            StoreError: worth trying again.
        """
        async with self._changing:
            if len(self._couriers) >= self._max_targets:
                raise WebhookLimitError(
                    f"there are {len(self._couriers)} webhooks, as [webhooks] max_targets says; delete one"
                )
            target = WebhookTarget(
                id=TargetId(f"wh_{self._clock.new_id().replace('-', '')}"),
                url=url,
                events=None if events is None else tuple(sorted(set(events))),
                secret=secret or self._parts.sender.new_secret(),
                created_at=self._parts.store.now(),
            )
            start = await self._start()
            await self._parts.webhooks.add_target(target, start)
            courier = self._couriers[target.id] = self._courier(target, start)
            self._begin(courier)
        log.info("webhook_registered", webhook_id=target.id)
        return target

    async def delete(self, target_id: str) -> WebhookTarget:
        """Forget a target and its dead letters; what is under way to it is broken off.

        Raises:
            WebhookNotFoundError: there is none of this id.
        """
        async with self._changing:
            courier = self._find(target_id)
            target = courier.line.target
            await self._parts.webhooks.delete_target(target.id)
            del self._couriers[target.id]
            running = self._running.pop(target.id, None)
            if running is not None:
                running.cancel()
        log.info("webhook_deleted", webhook_id=target.id)
        return target

    async def pause(self, target_id: str) -> TargetView:
        """Send a target nothing until it is resumed; its events wait in the feed.

        Raises:
            WebhookNotFoundError: there is none of this id.
        """
        async with self._changing:
            courier = self._find(target_id)
            await self._change(replace(courier.line.target, status="paused", reason="paused by its owner"))
        return self._view(courier)

    async def resume(self, target_id: str) -> TargetView:
        """Go on with a target that was paused or disabled, and try at once whatever failed.

        Raises:
            WebhookNotFoundError: there is none of this id.
        """
        async with self._changing:
            courier = self._find(target_id)
            await self._change(replace(courier.line.target, status="active", reason=""))
            courier.retry_now()
        return self._view(courier)

    def all(self) -> list[TargetView]:
        """Give all targets, the first registered first."""
        return [self._view(courier) for courier in self._couriers.values()]

    def find(self, target_id: str) -> TargetView:
        """Give one.

        Raises:
            WebhookNotFoundError: there is none of this id.
        """
        return self._view(self._find(target_id))

    async def dead_letters(self, target_id: str, *, after: int, limit: int) -> DeadLetterPage:
        """Give deliveries that were given up.

        Raises:
            WebhookNotFoundError: there is no target of this id.
        """
        target = self._find(target_id).line.target
        return await self._parts.webhooks.dead_letters(target.id, after=after, limit=limit)

    async def redeliver(self, target_id: str, letter_id: int | None) -> int:
        """Have one dead letter, or (None) all, sent once more; give how many.

        Raises:
            WebhookNotFoundError: there is no target, or no dead letter, of this id.
        """
        courier = self._find(target_id)
        count = await self._parts.webhooks.queue_dead_letters(courier.line.target.id, letter_id)
        if not count and letter_id is not None:
            raise WebhookNotFoundError(f"webhook {target_id[:64]!r} has no dead letter {letter_id}")
        courier.line.redeliver()
        return count

    async def _start(self) -> Progress:
        page = await self._parts.store.feed_after(_HEAD, session_id=None, limit=1)
        return Progress(generation=page.generation, cursor=page.head_seq)

    def _courier(self, target: WebhookTarget, progress: Progress) -> Courier:
        return Courier(target, progress, parts=self._parts, disable=lambda: self._disable(target.id))

    def _begin(self, courier: Courier) -> None:
        if self._tasks is not None:
            target_id = courier.line.target.id
            self._running[target_id] = self._tasks.create_task(courier.run(), name=target_id)

    def _find(self, target_id: str) -> Courier:
        courier = self._couriers.get(TargetId(target_id))
        if courier is None:
            raise WebhookNotFoundError(f"there is no webhook {target_id[:64]!r}")
        return courier

    async def _change(self, target: WebhookTarget) -> None:
        await self._parts.webhooks.save_target(target)
        if target.id in self._couriers:
            self._couriers[target.id].line.apply(target)

    def _disable(self, target_id: TargetId) -> None:
        """Take over an answer 410; the courier has stopped by itself."""
        log.warning("webhook_disabled", webhook_id=target_id)
        if self._tasks is not None:
            self._tasks.create_task(self._keep_disabled(target_id))

    async def _keep_disabled(self, target_id: TargetId) -> None:
        async with self._changing:
            courier = self._couriers.get(target_id)
            if courier is None or courier.line.active.is_set():
                return  # deleted or resumed meanwhile
            target = replace(courier.line.target, status="disabled", reason=GONE)
            courier.line.apply(target)
            try:
                await self._parts.webhooks.save_target(target)
            except StoreError as error:  # after a restart it is told again by the next 410
                log.warning("webhook_not_saved", webhook_id=target_id, error=str(error))

    def _view(self, courier: Courier) -> TargetView:
        lag = max(0, self._head + 1 - courier.first_missing)
        return TargetView(target=courier.line.target, held_sessions=courier.held, lag_events=lag)

    def _count(self, outcome: Outcome) -> None:
        self.outcomes[outcome] += 1
