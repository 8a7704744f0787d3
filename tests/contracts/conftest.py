"""The session stores that the suites run against."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.adapters.memory_store import MemorySessionStore
from orchestrator.adapters.sqlite_store import SqliteSessionStore
from orchestrator.core.ids import InstanceId
from orchestrator.ports import SessionStore
from tests.contracts.session_changes import LEASE_S, World
from tests.fakes.clock import FakeClock


@pytest.fixture(params=["memory", "sqlite"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    clock = FakeClock()
    heads: list[int] = []
    me = InstanceId("me")
    store: SessionStore
    if request.param == "memory":
        store = MemorySessionStore(clock=clock, instance_id=me, lease_s=LEASE_S, on_commit=heads.append)
    else:
        store = SqliteSessionStore(
            tmp_path / "store.db", clock=clock, instance_id=me, lease_s=LEASE_S, on_commit=heads.append
        )
    await store.open()
    yield World(store, clock, heads)
    await store.close()
