"""What a seed breaks, when, and for how long; drawn once, before the run, so that a plan can be read.

To add a fault: write a function that takes the world and breaks something (and, with `later`, mends it),
and put it into `KINDS`. `World._heal` must undo whatever may still be broken at the end.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.invariants.simulation.operations import OPERATIONS
from tests.invariants.simulation.pull_worker import PullWorker
from tests.invariants.simulation.runs import Temper

if TYPE_CHECKING:
    from tests.invariants.simulation.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Hired:
    """A worker of the plan."""

    service_id: str
    is_push: bool
    temper: Temper


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultAt:
    """One fault or operation: its name in `KINDS` or `OPERATIONS`, when, how long, a number in [0, 1)."""

    kind: str
    at_s: float
    for_s: float
    luck: float

    def act(self, world: World) -> None:
        """Break it."""
        world.stage.fault(self.kind, f"for {self.for_s:.2f} s, luck {self.luck:.2f}")
        (KINDS.get(self.kind) or OPERATIONS[self.kind])(world, self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run before it begins."""

    clients: int
    workers: tuple[Hired, ...]
    faults: tuple[FaultAt, ...]
    faulty_s: float
    has_webhooks: bool = True
    is_shuffled: bool = False
    operations: tuple[FaultAt, ...] = ()


def plan_of(seed: int) -> Plan:
    """Draw the plan of a seed."""
    rng = random.Random(f"plan {seed}")
    faulty_s = rng.uniform(8.0, 28.0)
    some = rng.sample(sorted(KINDS), k=rng.randint(1, 5))  # a few kinds often say more than all at once
    faults = [
        FaultAt(
            kind=rng.choice(some),
            at_s=rng.uniform(0.5, faulty_s - 0.5),
            for_s=rng.choice((rng.uniform(0.05, 1.0), rng.uniform(1.0, 6.0), rng.uniform(4.0, 25.0))),
            luck=rng.random(),
        )
        for _ in range(rng.randint(1, 8))
    ]
    services = ["asr", "tts"][: rng.randint(1, 2)]
    return Plan(
        clients=rng.randint(1, 4),
        workers=tuple(_hired(rng, service) for service in services for _ in range(rng.randint(1, 2))),
        faults=tuple(sorted(faults, key=lambda fault: fault.at_s)),
        faulty_s=faulty_s,
        has_webhooks=rng.random() < 0.75,
        is_shuffled=rng.random() < 0.5,
        operations=_operations(seed, faulty_s),
    )


def _operations(seed: int, faulty_s: float) -> tuple[FaultAt, ...]:
    rng = random.Random(f"operations {seed}")
    return tuple(
        FaultAt(
            kind=rng.choice(list(OPERATIONS)),
            at_s=rng.uniform(1.0, faulty_s - 0.5),
            for_s=rng.uniform(0.0, 15.0),
            luck=rng.random(),
        )
        for _ in range(rng.choice((0, 1, 2, 3, 4)))
    )


def _hired(rng: random.Random, service_id: str) -> Hired:
    is_push = rng.random() < 0.4
    return Hired(
        service_id=service_id,
        is_push=is_push,
        temper=Temper(
            refuses=rng.choice((0.0, 0.0, 0.3)),
            silent=rng.choice((0.0, 0.0, 0.0, 0.2)),
            slow_s=rng.choice((0.05, 0.4, 1.5)),
            manual_ready=not is_push and rng.random() < 0.2,
            capacity=rng.choice((1, 2, 4, None)),
        ),
    )


# --- the kinds ---


def _weather(**bad: Any) -> Callable[[World, FaultAt], None]:
    """Make a fault of bad weather that passes by itself; numbers are the worst, the luck scales them."""

    def act(world: World, fault: FaultAt) -> None:
        weather = world.weather
        for name, value in bad.items():
            old = getattr(weather, name)
            setattr(weather, name, value if isinstance(value, bool) else max(old, value * (0.3 + fault.luck)))
        world.stage.later(fault.for_s, lambda: _pass(world, tuple(bad)))

    return act


def _pass(world: World, names: tuple[str, ...]) -> None:
    fine = type(world.weather)()
    for name in names:
        setattr(world.weather, name, getattr(fine, name))


def _crash(world: World, fault: FaultAt) -> None:
    if not world.is_healed:
        world.restart_s = 0.2 + fault.for_s / 4
    if world.process is not None and not world.is_healed:
        world.process.die("killed")


def _crash_between(world: World, fault: FaultAt) -> None:
    world.restart_s = 0.2 + fault.for_s / 4
    if world.process is not None:
        world.process.crashes.calls_left = 1 + int(fault.luck * 40)


def _crash_again(world: World, fault: FaultAt) -> None:
    """Die at every start, a little later each time."""
    _crash(world, fault)
    for number in range(1, 4):
        world.stage.later(number * (0.3 + fault.for_s / 8), lambda: _crash(world, fault))


def _restart(world: World, fault: FaultAt) -> None:
    if world.process is not None:
        world.stage.spawn(world.process.stop(), "stop")


def _clock(world: World, fault: FaultAt) -> None:
    world.stage.skew_s = 300.0 if fault.luck < 0.5 else -300.0


def _clock_and_crash(world: World, fault: FaultAt) -> None:
    _clock(world, fault)
    _crash(world, fault)


def _livekit_restart(world: World, fault: FaultAt) -> None:
    world.livekit.restart()
    if fault.luck < 0.5:
        _weather(rooms_down=True)(world, fault)


def _livekit_lag(world: World, fault: FaultAt) -> None:
    world.livekit.lag_p = 0.15 + fault.luck / 2

    def pass_over() -> None:
        world.livekit.lag_p = 0.0

    world.stage.later(fault.for_s, pass_over)


def _room_closed(world: World, fault: FaultAt) -> None:
    rooms = world.livekit.list_rooms(())
    ours = [room for room in rooms if room.session_id]
    if ours:
        world.livekit.delete_room(ours[int(fault.luck * len(ours))].name, by="livekit")


def _some_pull_worker(world: World, fault: FaultAt) -> PullWorker | None:
    workers = world.pull_workers
    return workers[int(fault.luck * len(workers))] if workers else None


def _worker_killed(world: World, fault: FaultAt) -> None:
    workers = world.workers()
    worker = workers[int(fault.luck * len(workers))]
    worker.kill(is_seen=fault.for_s < 4)
    world.stage.later(fault.for_s, worker.start)


def _worker_frozen(world: World, fault: FaultAt) -> None:
    workers = world.workers()
    worker = workers[int(fault.luck * len(workers))]
    worker.freeze()
    world.stage.later(fault.for_s, worker.thaw)


def _worker_cut_off(world: World, fault: FaultAt) -> None:
    worker = _some_pull_worker(world, fault)
    if worker is not None:
        worker.partition()
        world.stage.later(fault.for_s, worker.rejoin_network)


def _worker_drains(world: World, fault: FaultAt) -> None:
    worker = _some_pull_worker(world, fault)
    if worker is not None:
        worker.drain()
        world.stage.later(fault.for_s, worker.stop_draining)


def _readers_cut(world: World, fault: FaultAt) -> None:
    for reader in world.readers:
        reader.cut()


KINDS: Final[dict[str, Callable[[World, FaultAt], None]]] = {
    "crash": _crash,
    "crash between awaits": _crash_between,
    "crash again and again": _crash_again,
    "restart": _restart,
    "clock jumps": _clock,
    "clock jumps, then crash": _clock_and_crash,
    "store fails": _weather(store_fails=0.5),
    "store forgets to answer": _weather(store_forgets=0.4),
    "store is slow": _weather(store_slow_s=1.5),
    "livekit restarts": _livekit_restart,
    "livekit is down": _weather(rooms_down=True),
    "livekit loses calls": _weather(rooms_lost=0.5),
    "livekit is done but silent": _weather(rooms_done=0.5),
    "livekit is done late": _weather(rooms_late=0.4),
    "livekit is slow": _weather(rooms_slow_s=1.8),
    "livekit lists lag": _livekit_lag,
    "livekit closes a room": _room_closed,
    "webhooks lost": _weather(hook_lost=0.8),
    "webhooks twice": _weather(hook_twice=0.7),
    "webhooks late": _weather(hook_late_s=8.0),
    "push calls unanswered": _weather(call_unknown=0.6),
    "requests lost": _weather(http_lost=0.3),
    "worker killed": _worker_killed,
    "worker frozen": _worker_frozen,
    "worker cut off": _worker_cut_off,
    "worker drains": _worker_drains,
    "readers cut": _readers_cut,
}
