"""What callers and operators ask for beside sessions: removals, drains, webhooks; planned as faults are.

To add one: a function that takes the world and asks (in a task of its own), and an entry in `OPERATIONS`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

from orchestrator.core.ids import Identity, WorkerId
from orchestrator.wiring import Orchestrator
from tests.invariants.outgoing_records import Subscribed, Temper
from tests.invariants.simulation.receivers import URL

if TYPE_CHECKING:
    from tests.invariants.simulation.faults import FaultAt
    from tests.invariants.simulation.world import World

TRIES: Final = 5
_T = TypeVar("_T")
Work = Callable[[Orchestrator], Coroutine[Any, Any, _T]]


async def _ask(world: World, what: str, work: Work[_T], *, detail: str) -> _T | None:
    """Ask until there is an answer; a refusal is one."""
    for _ in range(TRIES):
        before = world.caller.refused
        answer = await world.caller.ask("operator", what, work, subject=lambda _: detail, detail=detail)
        if answer is not None or world.caller.refused > before or world.is_healed:
            return answer
        await asyncio.sleep(world.stage.between(0.3, 1.0))
    return None


def _remove(*, is_barred: bool) -> Callable[[World, FaultAt], None]:
    def act(world: World, fault: FaultAt) -> None:
        if not world.sessions:
            return
        session_id, identity = world.sessions[int(fault.luck * len(world.sessions))]
        world.stage.spawn(
            _removed(
                world,
                lambda orchestrator: orchestrator.sessions.remove(
                    session_id, Identity(identity), is_barred=is_barred
                ),
                detail=f"{session_id} {identity} {'barred' if is_barred else ''}",
            )
        )

    return act


async def _removed(world: World, work: Work[Any], *, detail: str) -> None:
    await _ask(world, "remove", work, detail=detail)


def _drain(world: World, fault: FaultAt) -> None:
    workers = world.workers()
    world.stage.spawn(_drained(world, workers[int(fault.luck * len(workers))], fault.for_s / 3))


async def _drained(world: World, worker: Any, deadline_s: float) -> None:
    worker.drain_by_operator()
    work: Work[Any] = lambda orchestrator: orchestrator.drains.drain(WorkerId(worker.name), deadline_s)  # noqa: E731
    await _ask(world, "drain", work, detail=f"{worker.name} {deadline_s}")
    worker.drain_by_operator()  # one that started anew meanwhile may drain all the same


def _subscribe(temper: Temper) -> Callable[[World, FaultAt], None]:
    def act(world: World, fault: FaultAt) -> None:
        world.stage.spawn(_subscribed(world, temper))

    return act


async def _subscribed(world: World, temper: Temper) -> None:
    target = await _ask(
        world, "subscribe", lambda orchestrator: orchestrator.outgoing.register(URL + temper), detail=temper
    )
    if target is not None:
        world.history.add(Subscribed(at=world.stage.time(), target=target.id, temper=temper))


OPERATIONS: Final[dict[str, Callable[[World, FaultAt], None]]] = {
    "client removed": _remove(is_barred=False),
    "client barred": _remove(is_barred=True),
    "worker drained by its operator": _drain,
    "steady receiver": _subscribe("steady"),
    "moody receiver": _subscribe("moody"),
    "hanging receiver": _subscribe("hanging"),
}
