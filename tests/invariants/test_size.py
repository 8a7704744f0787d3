"""I14: sessions that came and went leave nothing behind in an orchestrator that runs on."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable
from types import FunctionType, ModuleType

import pytest

from orchestrator.core.session import Session
from orchestrator.service.new_session import NewSession
from tests.invariants.checks.size import check_i14
from tests.invariants.history import History, Sampled
from tests.invariants.simulation.clients import Client
from tests.invariants.simulation.faults import Hired, Plan
from tests.invariants.simulation.process import Process
from tests.invariants.simulation.runs import Temper
from tests.invariants.simulation.world import Naive, World, silent_log

IS_FULL = os.environ.get("GREENROOM_FULL") == "1"
SESSIONS = 10_000 if IS_FULL else 700
# What has a bound of its own is full by then: the feed's ring, and with webhooks the SIDs that have left.
FROM = 4_500 if IS_FULL else 350
BATCH = 50
BATCH_S = 25.0

PLAN = Plan(
    clients=0,
    workers=(
        Hired(service_id="asr", is_push=False, temper=Temper(capacity=None)),
        Hired(service_id="tts", is_push=True, temper=Temper(capacity=None)),
    ),
    faults=(),
    faulty_s=BATCH_S * SESSIONS / BATCH,
    has_webhooks=IS_FULL,
)


class _Crowd(World):
    """A world of many short sessions."""

    async def come_and_go(self) -> None:
        """Let sessions come and go in batches, and measure between them."""
        self._people()
        self.stage.spawn(self._supervise(), "supervisor")
        await asyncio.sleep(5.0)
        for done in range(BATCH, SESSIONS + 1, BATCH):
            for number in range(done - BATCH, done):
                client = Client(
                    self.stage,
                    f"client-{number}",
                    caller=self.caller,
                    livekit=self.livekit,
                    granted=self.granted,
                    on_session=lambda session_id, client: None,
                )
                request = NewSession(user_identity=client.name, required_services=("asr", "tts"))
                begins_s = self.stage.between(0.0, 3.0)
                self.stage.spawn(client.live(request, begins_s=begins_s, stays_s=2.0, ends=True))
            await asyncio.sleep(BATCH_S)
            if done >= FROM:
                self._sample(done)

    def _sample(self, sessions: int) -> None:
        assert self.process is not None
        own = self.loop.tasks[self.process.instance]
        own[:] = [task for task in own if not task.done()]
        self.history.add(
            Sampled(at=self.stage.time(), sessions=sessions, tasks=len(own), objects=_reachable(self.process))
        )


def _reachable(process: Process) -> int:
    """Count what an orchestrator holds, its ports and the loop aside."""
    seen: set[int] = set()
    waiting: list[object] = [process.orchestrator]
    count = 0
    while waiting:
        thing = waiting.pop()
        is_machinery = isinstance(
            thing, type | ModuleType | FunctionType | asyncio.Future | asyncio.AbstractEventLoop
        )
        is_outside = type(thing).__module__.startswith("tests.")
        if id(thing) in seen or is_machinery or is_outside:
            continue
        seen.add(id(thing))
        count += 1
        waiting.extend(gc.get_referents(thing))
    return count


def history_of(change: Callable[[Process], None] | None = None) -> History:
    world = _Crowd(1, PLAN, Naive(change=change))
    try:
        with silent_log():
            world.loop.run_until_complete(world.loop.create_task(world.come_and_go()))
    finally:
        world.close()
        world.loop.close()
    assert world.errors == []
    return world.history


@pytest.mark.timeout(3600 if IS_FULL else 300)
def test_nothing_grows_with_the_sessions_that_came_and_went() -> None:
    history = history_of()
    assert len(list(history.of(Sampled))) >= 5
    assert check_i14(history) == []


@pytest.mark.timeout(3600 if IS_FULL else 300)
def test_an_orchestrator_that_keeps_what_is_over_is_caught() -> None:
    def keeps_all(process: Process) -> None:
        live = process.orchestrator.sessions.live

        def keep(before: Session | None, after: Session) -> None:
            live._waiters.setdefault(after.id, set())

        live.observe(keep)

    assert [violation.invariant for violation in check_i14(history_of(keeps_all))] == ["I14"]
