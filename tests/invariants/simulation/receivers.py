"""Receivers of outgoing webhooks in the simulation, and the ports that one instance reaches them by.

What a receiver took it has taken, whatever its sender heard; the registrations outlive the instances.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from orchestrator.adapters.memory_webhooks import MemoryWebhooks
from orchestrator.core.errors import StoreError
from orchestrator.core.webhook_targets import DeadLetter, Progress, SendOutcome, TargetId, WebhookTarget
from tests.fakes.receivers import OK, REFUSED, SECRET, SILENT
from tests.invariants.outgoing_records import Delivered, Temper
from tests.invariants.simulation.outside import Crashes
from tests.invariants.simulation.stage import Stage
from tests.invariants.simulation.weather import Weather

SEND_TIMEOUT_S: Final = 2.0
URL: Final = "http://127.0.0.1:9/"  # the temper of who listens there follows


class Receivers:
    """Everybody who gets webhooks, by their address."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.is_healed = False

    def take(self, target: WebhookTarget, message_id: str, body: bytes) -> SendOutcome:
        """Take a delivery or not, and answer; the answer SILENT is none."""
        temper: Any = target.url.removeprefix(URL)
        if self._is_bad(temper) and self._stage.chance(0.5):
            return REFUSED if temper == "moody" and self._stage.chance(0.5) else SILENT
        told: dict[str, Any] = msgspec.json.decode(body)
        self._stage.history.add(
            Delivered(
                at=self._stage.time(),
                target=target.id,
                message_id=message_id,
                position=told["position"],
                session_id=told["session_id"],
                number=told["number"],
            )
        )
        return SILENT if self._is_bad(temper) and self._stage.chance(0.5) else OK

    def _is_bad(self, temper: Temper) -> bool:
        return temper == "moody" and not self.is_healed


class SimSender:
    """Implements `WebhookSender`: the way of one instance to the receivers."""

    def __init__(self, stage: Stage, receivers: Receivers, crashes: Crashes) -> None:
        self._stage, self._receivers, self._crashes = stage, receivers, crashes

    async def send(self, target: WebhookTarget, *, message_id: str, body: bytes) -> SendOutcome:
        """POST a delivery; a receiver that hangs holds it up to the deadline."""
        await self._crashes.passing()
        stage = self._stage
        answer: asyncio.Future[SendOutcome] = stage.loop.create_future()

        def arrive() -> None:
            if target.url == URL + "hanging":
                return
            outcome = self._receivers.take(target, message_id, body)
            if outcome is not SILENT and not answer.done():
                answer.set_result(outcome)

        stage.later(stage.between(0.001, 0.03), arrive)
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                outcome = await answer
        except TimeoutError:
            return SILENT
        await self._crashes.passing()
        return outcome

    def new_secret(self) -> str:
        """Give always the same."""
        return SECRET


class SimWebhooks(MemoryWebhooks):
    """Implements `WebhookStore`: what an instance left is there for the next, and its disk can be unwell."""

    def __init__(self, stage: Stage, weather: Weather) -> None:
        super().__init__()
        self._stage, self._weather = stage, weather

    async def add_target(self, target: WebhookTarget, start: Progress) -> None:
        """Insert a registration."""
        await self._before()
        await super().add_target(target, start)
        self._after()

    async def save_progress(
        self, target_id: TargetId, progress: Progress, given_up: Sequence[DeadLetter] = ()
    ) -> None:
        """Replace how far a target is."""
        await self._before()
        await super().save_progress(target_id, progress, given_up)
        self._after()

    async def _before(self) -> None:
        await asyncio.sleep(self._stage.between(0.0002, self._weather.store_slow_s))
        if self._stage.chance(self._weather.store_fails):
            raise StoreError("the store is not well")

    def _after(self) -> None:
        if self._stage.chance(self._weather.store_forgets):
            raise StoreError("the store did not answer")
