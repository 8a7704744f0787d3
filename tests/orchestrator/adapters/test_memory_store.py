"""What only the memory store promises: each is a generation and a deployment of its own."""

from __future__ import annotations

from orchestrator.adapters.memory_store import MemorySessionStore
from orchestrator.core.ids import InstanceId
from tests.contracts.session_changes import first_change
from tests.fakes.clock import FakeClock


async def test_a_new_store_is_another_generation() -> None:
    clock = FakeClock()
    one = MemorySessionStore(clock=clock, instance_id=InstanceId("a"))
    await one.commit(first_change())
    clock.advance(1)
    two = MemorySessionStore(clock=clock, instance_id=InstanceId("b"))
    generations = [(await store.feed_after(0, session_id=None, limit=1)).generation for store in (one, two)]
    assert generations[0] < generations[1]
    assert await one.deployment_id() != await two.deployment_id()
    assert await two.open_sessions() == []
