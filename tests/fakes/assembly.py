"""A whole orchestrator over fakes: memory store, rooms and workers of the test, a clock that stands still.

Its loops do not run: a test sweeps deadlines, compares rooms and runs commands itself, so nothing happens
behind its back except what commits start (commands, offers); `settled` waits for those.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from orchestrator.adapters.livekit_tokens import LivekitTokens
from orchestrator.adapters.memory_webhooks import MemoryWebhooks
from orchestrator.core.ids import InstanceId, ServiceId, SessionId, WorkerId
from orchestrator.core.session import Session
from orchestrator.core.triggers import DeadlineReached
from orchestrator.core.workers import Registration
from orchestrator.settings import Settings
from orchestrator.wiring import Orchestrator, Parts
from tests.fakes.clock import FakeClock
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.receivers import FakeSender
from tests.fakes.rooms import FakeRooms
from tests.fakes.workers import FakeCaller

SECRET = "a-secret-of-tests-with-32-letters-or-more"


class Assembly(Orchestrator):
    """An orchestrator with its fakes at hand."""

    def __init__(self, parts: Parts, settings: Settings, rooms: FakeRooms, caller: FakeCaller) -> None:
        super().__init__(parts, settings)
        self.fake_rooms = rooms
        self.caller = caller
        self._next: Assembly | None = None

    @property
    def clock(self) -> FakeClock:
        """The clock, to be advanced."""
        assert isinstance(self.parts.clock, FakeClock)
        return self.parts.clock

    @property
    def store(self) -> FaultyStore:
        """The store, and the ways in which it fails."""
        assert isinstance(self.parts.store, FaultyStore)
        return self.parts.store

    async def restarted(self) -> Assembly:
        """Crash, whatever is under way, and start again over the same store, LiveKit and workers."""
        under_way = asyncio.all_tasks() - {asyncio.current_task()}
        for task in under_way:
            task.cancel()
        if under_way:
            await asyncio.wait(under_way, timeout=5)
        instance = InstanceId(f"{self.parts.instance}+")
        self.store.taken_over_by(instance)
        parts = replace(self.parts, instance=instance)
        self._next = Assembly(parts, self.settings, self.fake_rooms, self.caller)
        await self._next.open()
        return self._next

    async def close(self) -> None:
        """Close this one and those that were started after it."""
        if self._next is not None:
            await self._next.close()
        await super().close()

    async def settled(self) -> None:
        """Wait until what commits started is through."""
        for _ in range(200):
            await asyncio.sleep(0)
            if not self.commands.running and not self.dispatch.busy and not self.sessions.busy:
                return
        raise AssertionError("commands or offers did not come to rest")

    async def now(self, session_id: str) -> Session:
        """Give the session once everything is at rest."""
        await self.settled()
        return await self.sessions.get(SessionId(session_id))

    async def after(self, seconds: float, session_id: str) -> Session:
        """Let time pass, fire what is due, carry out what rested."""
        self.clock.advance(seconds)
        await self.deadlines.sweep()
        self.commands.submit(tuple(await self.parts.store.claim_commands(100)))
        return await self.now(session_id)

    async def fire(self, session_id: str, name: str) -> Session:
        """Fire one armed deadline as if its time had come."""
        session = await self.now(session_id)
        arming = session.deadlines[name].arming
        await self.sessions.apply(session.id, DeadlineReached(name=name, arming=arming))
        return await self.now(session_id)

    async def add_push_worker(self, service_id: str, worker_id: str = "", **fields: Any) -> None:
        """Register a push worker."""
        name = worker_id or service_id
        await self.registry.register(
            Registration(
                worker_id=WorkerId(name),
                service_id=ServiceId(service_id),
                endpoint=f"http://127.0.0.1:9/{name}",
                registered_at=self.sessions.now(),
                seen_at=self.sessions.now(),
                **fields,
            )
        )
        self.dispatch.wake(ServiceId(service_id))


@asynccontextmanager
async def assembly(**sections: Any) -> AsyncIterator[Assembly]:
    """Make one; sections are those of the settings file."""
    clock = FakeClock()
    instance = InstanceId("instance-1")
    store = FaultyStore(clock=clock, instance_id=instance)
    rooms = FakeRooms(deployment_id=await store.deployment_id())
    caller = FakeCaller()
    parts = Parts(
        store=store,
        catalog=store.catalog,
        rooms=rooms,
        tokens=LivekitTokens(api_key="key", api_secret=SECRET, ttl_s=300),
        caller=caller,
        webhooks=MemoryWebhooks(),
        sender=FakeSender(),
        clock=clock,
        instance=instance,
        connect_url="ws://127.0.0.1:7880",
    )
    made = Assembly(parts, Settings(**sections), rooms, caller)
    await made.open()
    try:
        yield made
    finally:
        await made.close()
