"""What every actor of the simulation stands on: the loop, the seed's random numbers, the history."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from datetime import datetime, timedelta
from typing import Any

from tests.fakes.clock import START
from tests.invariants.history import Fault, History, Unhandled
from tests.invariants.simulation.virtual_loop import VirtualLoop


class Stage:
    """Time, chance and record keeping of one run."""

    def __init__(self, loop: VirtualLoop, seed: int, history: History) -> None:
        self.loop = loop
        self.rng = random.Random(seed)
        self.history = history
        self.skew_s = 0.0  # how far the machine's clock is off
        self._outside: Context = copy_context()  # made where nobody owns anything
        self._tasks: set[asyncio.Task[Any]] = set()

    def time(self) -> float:
        """Give the virtual seconds since the start."""
        return self.loop.time()

    def wall(self) -> datetime:
        """Give what the machine's clock shows."""
        return START + timedelta(seconds=self.time() + self.skew_s)

    def between(self, low: float, high: float) -> float:
        """Give a number of a range."""
        return low + (high - low) * self.rng.random()

    def chance(self, probability: float) -> bool:
        """Decide something that happens so often."""
        return probability > 0 and self.rng.random() < probability

    def later(self, delay_s: float, act: Callable[[], None]) -> None:
        """Do something in the world, whoever asked for it and may be dead by then."""
        self.loop.call_at(self.time() + delay_s, act, context=self._outside)

    def spawn(self, work: Coroutine[Any, Any, None], name: str = "") -> asyncio.Task[None]:
        """Let an actor of the world act; an actor that fails is a mistake of the simulation."""
        task = self.loop.create_task(work, name=name, context=self._outside)
        self._tasks.add(task)
        task.add_done_callback(self._acted)
        return task

    def fault(self, kind: str, detail: str = "") -> None:
        """Write down that something is broken now."""
        self.history.add(Fault(at=self.time(), kind=kind, detail=detail))

    def unhandled(self, instance: str, error: BaseException) -> None:
        """Write down what the product should not have raised."""
        self.history.add(Unhandled(at=self.time(), instance=instance, what=repr(error)))

    def _acted(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            raise AssertionError(f"the simulation's own {task.get_name()} failed") from error
