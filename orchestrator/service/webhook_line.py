"""The line to one target of outgoing webhooks: says what is sent, and waits while it is to be left alone.

Also sends dead letters once more, those that somebody asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import structlog

from orchestrator.core.errors import StoreError
from orchestrator.core.events import FeedEvent
from orchestrator.core.ids import SessionId
from orchestrator.core.webhook_targets import (
    GAP,
    Held,
    Lane,
    RetryPolicy,
    SendOutcome,
    WebhookTarget,
    event_body,
    gap_body,
    gap_message_id,
    message_id,
)
from orchestrator.ports import Clock, SessionStore, position_of
from orchestrator.webhook_ports import WebhookSender, WebhookStore

LETTERS: Final = 4  # dead letters in memory at once
POLL_S: Final = 1.0

Outcome = Literal["delivered", "failed", "given_up"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CourierParts:
    """What every courier and its line stand on; ``count`` is told each delivery's outcome."""

    store: SessionStore
    webhooks: WebhookStore
    sender: WebhookSender
    clock: Clock
    policy: RetryPolicy
    count: Callable[[Outcome], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One delivery: its stable id, its body, and whose it is."""

    id: str
    name: str
    lane: Lane
    body: bytes


class Line:
    """Sends to one target.

    Args:
        target: who.
        parts: what it stands on.
        disable: called when the receiver answered 410.
    """

    def __init__(self, target: WebhookTarget, parts: CourierParts, disable: Callable[[], None]) -> None:
        self.target = target
        self._parts = parts
        self._disable = disable
        self._left_alone_until = 0.0  # by the monotonic clock
        self._queued = asyncio.Event()
        self.active = asyncio.Event()  # cleared while the target is paused or disabled
        self.apply(target)

    def apply(self, target: WebhookTarget) -> None:
        """Take over a changed registration."""
        self.target = target
        if target.status == "active":
            self.active.set()
        else:
            self.active.clear()

    def call_now(self) -> None:
        """Leave the target alone no longer."""
        self._left_alone_until = 0.0

    def redeliver(self) -> None:
        """Say that dead letters were queued."""
        self._queued.set()

    async def send(self, message: Message) -> SendOutcome:
        """Wait until the target may be called, then send once."""
        while True:
            await self.active.wait()
            wait_s = self._left_alone_until - self._parts.clock.monotonic()
            if wait_s <= 0:
                break
            await asyncio.sleep(min(wait_s, POLL_S))
        outcome = await self._parts.sender.send(self.target, message_id=message.id, body=message.body)
        self._parts.count("delivered" if outcome.is_delivered else "failed")
        if outcome.pause_s:
            until = self._parts.clock.monotonic() + outcome.pause_s
            self._left_alone_until = max(self._left_alone_until, until)
        if outcome.is_gone and self.active.is_set():
            self.active.clear()
            self._disable()
        return outcome

    async def send_queued(self) -> None:
        """Send dead letters that were queued, each once, until cancelled."""
        while True:
            self._queued.clear()
            await self.active.wait()
            try:
                is_more = await self._send_letters()
            except StoreError as error:
                log.warning("dead_letters_not_sent", webhook_id=self.target.id, error=str(error))
                await asyncio.sleep(POLL_S)
                continue
            if not is_more:
                await self._queued.wait()

    async def _send_letters(self) -> bool:
        webhooks = self._parts.webhooks
        page = await webhooks.dead_letters(self.target.id, limit=LETTERS, queued_only=True)
        for letter in page.letters:
            lane = letter.session_id
            message = Message(id=letter.message_id, name=letter.name, lane=lane, body=letter.body)
            outcome = await self.send(message)
            await webhooks.finish_dead_letter(letter, reason=None if outcome.is_delivered else outcome.reason)
        return bool(page.letters)

    def message(self, generation: int, event: FeedEvent) -> Message:
        """Give the delivery of an event."""
        return Message(
            id=message_id(self.target.id, generation, event.seq),
            name=event.name,
            lane=lane_of(event),
            body=event_body(event, position_of(generation, event.seq)),
        )

    def gap_message(self, generation: int, lane: Lane, held: Held) -> Message:
        """Give the delivery that tells of events that were forgotten."""
        to = position_of(generation, held.seq - 1)
        body = gap_body(lane, held.gap, to, self._parts.store.now())
        return Message(id=gap_message_id(self.target.id, lane, held.gap), name=GAP, lane=lane, body=body)


def lane_of(event: FeedEvent) -> Lane:
    """Give what an event is in order with."""
    return None if event.session_id is None else SessionId(event.session_id)
