"""An event loop whose clock jumps to the next timer, so that a minute of the system takes milliseconds.

Nothing waits and nothing is read from outside: what happens depends on the program and its seed alone.
Everything an orchestrator of the simulation does runs under its `OWNER`; killing an owner drops whatever is
ready or scheduled for it, and whatever would wake it later: not one more line of it runs.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from asyncio.events import Handle, TimerHandle
from collections import deque
from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import Any, Final, TypeVarTuple, Unpack

MOST_TURNS: Final = 20_000  # without time passing
MOST_TURNS_PER_S: Final = 20_000  # of virtual time, over a whole run; 500 are usual
_Ts = TypeVarTuple("_Ts")
OWNER: ContextVar[str] = ContextVar("owner", default="")  # "" for the world outside of the system


class NothingLeftError(Exception):
    """Nobody is ready and no timer is set: the simulation would stand still for ever."""


class StandsStillError(Exception):
    """Callbacks go on and on and no time passes, or next to none: something waits for itself."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs callbacks in virtual time.

    Args:
        shuffle: orders callbacks that are ready at the same moment; None keeps the order they came in.
    """

    _ready: deque[Handle]
    _scheduled: list[TimerHandle]

    def __init__(self, shuffle: random.Random | None = None) -> None:
        super().__init__()
        self._selector = self  # `select` is where a real loop would wait
        self._shuffle = shuffle
        self._now_s = 0.0
        self._turns = 0  # of the loop since time last passed
        self.all_turns = 0
        self.dead: set[str] = set()
        self.tasks: dict[str, list[asyncio.Task[Any]]] = {}  # by owner; kept, so that none is collected early
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        """Give the virtual seconds since the start."""
        return self._now_s

    def kill(self, owner: str) -> None:
        """Drop everything of an owner, for ever."""
        self.dead.add(owner)
        for handle in (*self._ready, *self._scheduled):
            if self._is_dead(handle):
                handle.cancel()

    def call_soon(
        self, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts, context: Context | None = None
    ) -> Handle:
        """Put a callback in line, unless its owner is dead."""
        handle = Handle(callback, args, self, context)
        if self.dead and self._is_dead(handle):
            handle.cancel()
        else:
            self._ready.append(handle)
        return handle

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> TimerHandle:
        """Set a timer, unless its owner is dead."""
        timer = TimerHandle(when, callback, args, self, context)
        if self.dead and self._is_dead(timer):
            timer.cancel()
        else:
            heapq.heappush(self._scheduled, timer)
            timer._scheduled = True  # type: ignore[attr-defined]  # as asyncio's own loop notes it
        return timer

    def select(self, timeout: float | None) -> list[Any]:
        """Jump instead of waiting."""
        if timeout is None:
            raise NothingLeftError
        self._turns = self._turns + 1 if timeout < 1e-9 else 0
        if self._turns > MOST_TURNS:
            raise StandsStillError(f"{MOST_TURNS} turns of the loop at {self._now_s:.6f} s")
        self.all_turns += 1
        if self.all_turns > MOST_TURNS_PER_S * (self._now_s + 1.0):
            raise StandsStillError(f"{self.all_turns} turns of the loop in the first {self._now_s:.6f} s")
        self._now_s += timeout
        if self._shuffle is not None and len(self._ready) > 1:
            handles = list(self._ready)
            self._shuffle.shuffle(handles)
            self._ready.clear()
            self._ready.extend(handles)
        return []

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, work: Any, context: Context | None = None
    ) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, context=context)
        owner = OWNER.get() if context is None else context.get(OWNER, "")
        self.tasks.setdefault(owner, []).append(task)
        return task

    def _is_dead(self, handle: Handle) -> bool:
        context: Context = handle._context  # type: ignore[attr-defined]  # whose it is stands nowhere else
        return context.get(OWNER, "") in self.dead

    def _process_events(self, event_list: list[Any]) -> None:
        """There is nothing outside to hear of."""

    def _write_to_self(self) -> None:
        """Nobody sleeps, so nobody is woken."""
