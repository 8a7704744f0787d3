"""The time of a durable store: a clock that was set back between two starts makes no deadline late."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.adapters.sqlite_store import SqliteSessionStore
from orchestrator.core.ids import InstanceId
from orchestrator.core.session import Deadline
from orchestrator.ports import SessionStore
from tests.contracts.session_changes import first_change
from tests.fakes.clock import START, FakeClock
from tests.invariants.history import History
from tests.invariants.simulation.durable import Durable

STEP = timedelta(minutes=5)
Life = Callable[[], AbstractAsyncContextManager[SessionStore]]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["sqlite", "simulation"])
def life(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Life:
    """Give what opens one store anew each time, as another process would."""
    disk = Durable(clock, History(), lambda: clock.seconds)

    @asynccontextmanager
    async def opened() -> AsyncIterator[SessionStore]:
        store: SessionStore
        own = FakeClock(clock.wall)
        own.seconds, own.boot = clock.seconds, clock.boot
        if request.param == "sqlite":
            store = SqliteSessionStore(tmp_path / "store.db", clock=own, instance_id=InstanceId("me"))
        else:
            disk.taken_by(InstanceId("me"), own, lambda head: None)
            store = disk
        await store.open()
        yield store
        await store.close()

    return opened


async def test_a_clock_set_back_between_two_starts_sets_no_deadline_back(
    life: Life, clock: FakeClock
) -> None:
    change = first_change()
    due = {"client": Deadline(arming=9, due=START + timedelta(seconds=30))}
    async with life() as store:
        await store.commit(replace(change, session=replace(change.session, deadlines=due)))
        assert await store.due_sessions(9) == []
    clock.advance(31)
    clock.wall -= STEP
    assert clock.now() < due["client"].due  # by the clock alone it would be late by the step
    async with life() as store:
        assert await store.due_sessions(9) == [change.session.id]
        assert store.now() == START + timedelta(seconds=31)


async def test_it_goes_on_with_the_clock_and_over_all_further_starts(life: Life, clock: FakeClock) -> None:
    begun = []
    for _ in range(3):
        async with life() as store:
            begun.append(store.now() - START)
        clock.advance(10)
        clock.wall -= STEP
    assert begun == [timedelta(), timedelta(seconds=10), timedelta(seconds=20)]


async def test_a_clock_set_forward_is_followed_and_then_not_back(life: Life, clock: FakeClock) -> None:
    async with life() as store:
        assert store.now() == START
    clock.wall += STEP
    async with life() as store:
        assert store.now() == START + STEP
    clock.wall -= STEP
    async with life() as store:
        assert store.now() == START + STEP
