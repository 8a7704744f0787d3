"""A feed that a test writes, and couriers over it that can crash: what the tests of deliveries stand on."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from orchestrator.adapters.memory_store import MemorySessionStore
from orchestrator.adapters.memory_webhooks import MemoryWebhooks
from orchestrator.core.events import ClientJoined, MicroserviceRegistered
from orchestrator.core.ids import Identity, InstanceId, RoomName, SessionId, WorkerId
from orchestrator.core.step import Opening, open_session
from orchestrator.core.webhook_targets import DeadLetter, Progress, RetryPolicy, TargetId, WebhookTarget
from orchestrator.ports import Change
from orchestrator.service import courier, webhook_line
from orchestrator.service.courier import Courier
from orchestrator.service.webhook_line import CourierParts, Outcome
from tests.fakes.clock import START, FakeClock
from tests.fakes.receivers import SECRET, FakeSender
from tests.orchestrator.web.world import until

TARGET = WebhookTarget(
    id=TargetId("wh_1"),
    url="https://x.example",
    events=("client_joined", "microservice_registered"),
    secret=SECRET,
    created_at=START,
)


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses that stand on the real clock."""
    monkeypatch.setattr(courier, "POLL_S", 0.01)
    monkeypatch.setattr(courier, "REST_S", 0.0)
    monkeypatch.setattr(courier, "SAVE_S", 0.0)
    monkeypatch.setattr(webhook_line, "POLL_S", 0.01)


class Stage:
    """A store, a receiver, and one target from the feed's beginning on."""

    def __init__(self, target: WebhookTarget = TARGET) -> None:
        self.clock = FakeClock()
        self.store = MemorySessionStore(
            clock=self.clock, instance_id=InstanceId("i"), on_commit=lambda head: self.wake()
        )
        self.webhooks = MemoryWebhooks()
        self.sender = FakeSender()
        self.outcomes: Counter[Outcome] = Counter()
        self.disabled = 0
        self.target = target
        self.courier: Courier | None = None
        self._running: asyncio.Future[None] | None = None

    @property
    def parts(self) -> CourierParts:
        """What couriers stand on."""
        return CourierParts(
            store=self.store,
            webhooks=self.webhooks,
            sender=self.sender,
            clock=self.clock,
            policy=RetryPolicy(),
            count=lambda outcome: self.outcomes.update([outcome]),
        )

    def wake(self) -> None:
        """Say that something was committed."""
        if self.courier is not None:
            self.courier.wake()

    async def start(self) -> Courier:
        """Start a courier from what is saved; at first from the beginning of the feed."""
        generation = (await self.store.feed_after(0, session_id=None, limit=1)).generation
        await self.webhooks.add_target(self.target, Progress(generation=generation, cursor=0))
        progress = await self.saved()
        self.courier = Courier(self.target, progress, parts=self.parts, disable=self._disable)
        self._running = asyncio.ensure_future(self.courier.run())
        return self.courier

    async def saved(self) -> Progress:
        """Give the progress as a restart finds it."""
        ((_, progress),) = await self.webhooks.targets()
        return progress

    async def crash(self) -> None:
        """End the courier as a kill does: nothing is saved on the way out."""
        kept = await self.saved()
        await self.stop()
        await self.webhooks.save_progress(self.target.id, kept)

    async def stop(self) -> None:
        """End the courier as a shutdown does."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running}, timeout=5)
            if not self._running.cancelled():
                self._running.result()
        self.courier = self._running = None

    async def open_session(self, name: str) -> None:
        """Commit a session."""
        opening = Opening(
            session_id=SessionId(name), room_name=RoomName(f"room-{name}"), user_identity=Identity("u")
        )
        decision = open_session(opening, self.clock.now())
        await self.store.commit(Change(session=decision.session, events=decision.events))

    async def say(self, name: str, count: int = 1) -> None:
        """Commit events of a session that the target wants; they say their number in their session."""
        session = await self.store.load(SessionId(name))
        events = tuple(
            ClientJoined(session_id=name, user_identity=str(session.events + 1 + number))
            for number in range(count)
        )
        after = replace(session, version=session.version + 1, events=session.events + count)
        await self.store.commit(Change(session=after, events=events))

    async def say_of_none(self, name: str) -> None:
        """Commit an event that belongs to no session."""
        event = MicroserviceRegistered(service_id=name, worker_id=name)
        await self.store.delete_worker(WorkerId(name), (event,))

    def got(self, name: str | None) -> list[int]:
        """Give the numbers of a session's events as they arrived."""
        return [got.number for got in self.sender.got if got.session_id == name]

    def first_got(self, name: str) -> list[int]:
        """Give them without repeats."""
        return list(dict.fromkeys(self.got(name)))

    async def until_got(self, name: str, last: int) -> None:
        """Wait until a session's event arrived."""
        await until(lambda: last in self.got(name))

    async def until_failed(self, name: str, tries: int = 1) -> None:
        """Wait until a session is held back after so many tries of one event."""

        def is_noted() -> bool:
            held = self.courier.progress.held.get(name) if self.courier is not None else None
            return held is not None and held.tries == tries

        await until(is_noted)

    async def letters(self) -> tuple[DeadLetter, ...]:
        """Give the dead letters."""
        return (await self.webhooks.dead_letters(self.target.id, limit=999)).letters

    def _disable(self) -> None:
        self.disabled += 1
