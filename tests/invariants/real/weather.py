"""Faults of the whole system, drawn by a seed: one after the other, some lasting beside the next."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final

from tests.invariants.real.fleet import WorkerProcess
from tests.invariants.real.real_system import RealSystem, start_livekit
from tests.invariants.real.tcp_proxy import TcpProxy

_PAUSE_S: Final = (0.5, 2.5)  # from one fault to the next
_FROZEN_S: Final = (1.0, 12.0)
_AWAY_S: Final = (0.2, 2.0)
_STUCK_S: Final = (0.5, 3.0)
_LATENCY_S: Final = 0.1


class Weather:
    """Breaks one running system; `said` tells what was done when, in seconds since the beginning."""

    def __init__(self, running: RealSystem, seed: int) -> None:
        self.said: list[str] = []
        self._running = running
        self._chance = random.Random(seed)
        self._lasting: set[asyncio.Task[None]] = set()
        self._began_at = time.monotonic()
        self._faults: tuple[tuple[int, Callable[[], Awaitable[None]]], ...] = (
            (5, self._kill_worker),
            (4, self._freeze_worker),
            (3, self._break_door),
            (2, self._break_media_door),
            (2, self._kill_orchestrator),
            (2, self._kill_livekit),
        )

    async def blow(self, seconds: float) -> None:
        """Draw faults for so long, each kind once before any repeats by its weight."""
        until = time.monotonic() + seconds
        first = [fault for _, fault in self._faults]
        self._chance.shuffle(first)
        weights = [weight for weight, _ in self._faults]
        while time.monotonic() < until:
            await asyncio.sleep(self._chance.uniform(*_PAUSE_S))
            if first:
                await first.pop()()
            else:
                await self._chance.choices([fault for _, fault in self._faults], weights)[0]()

    async def clear(self) -> None:
        """Heal everything: who is frozen wakes, who is dead is started, all connections work."""
        if self._lasting:
            await asyncio.wait(self._lasting, timeout=_FROZEN_S[1] + 5)
        for task in self._lasting:
            task.result()  # a fault that failed is the test's own mistake
        await self._running.door.heal()
        await self._running.media_door.heal()
        for worker in self._running.fleet.workers:
            worker.wake()
            if not worker.is_alive:
                worker.start(self._running.door.url)
        self._say("healed")

    # --- faults ---

    async def _kill_worker(self) -> None:
        worker = self._worker()
        if worker is not None:
            self._say(f"kill {worker.worker_id}")
            worker.kill()
            self._beside(self._start_later(worker))

    async def _freeze_worker(self) -> None:
        worker = self._worker()
        if worker is not None:
            seconds = self._chance.uniform(*_FROZEN_S)
            self._say(f"freeze {worker.worker_id} for {seconds:.1f} s")
            worker.freeze()
            self._beside(self._wake_later(worker, seconds))

    async def _break_door(self) -> None:
        await self._break(self._running.door, "door")

    async def _break_media_door(self) -> None:
        await self._break(self._running.media_door, "media door")

    async def _kill_orchestrator(self) -> None:
        away_s = self._chance.uniform(*_AWAY_S)
        self._say(f"kill the orchestrator for {away_s:.1f} s")
        self._running.system.kill()
        await asyncio.sleep(away_s)
        await self._running.system.start()

    async def _kill_livekit(self) -> None:
        away_s = self._chance.uniform(*_AWAY_S)
        self._say(f"kill LiveKit for {away_s:.1f} s")
        self._running.system.media.kill()
        await asyncio.sleep(away_s)
        await start_livekit(self._running.system.media)

    async def _break(self, proxy: TcpProxy, name: str) -> None:
        kind = self._chance.choice(("cut", "reset", "half-open", "pause", "refuse", "slow"))
        seconds = self._chance.uniform(*_STUCK_S)
        self._say(f"{name}: {kind}")
        match kind:
            case "cut":
                proxy.cut()
            case "reset":
                proxy.reset()
            case "half-open":
                proxy.half_open()
            case "pause":
                proxy.pause()
                await asyncio.sleep(seconds)
                proxy.resume()
            case "refuse":
                await proxy.refuse()
                proxy.cut()
                await asyncio.sleep(seconds)
                await proxy.accept()
            case _:
                proxy.latency_s = _LATENCY_S
                await asyncio.sleep(seconds)
                proxy.latency_s = 0.0

    # --- what lasts ---

    async def _start_later(self, worker: WorkerProcess) -> None:
        await asyncio.sleep(self._chance.uniform(*_AWAY_S))
        worker.start(self._running.door.url)

    async def _wake_later(self, worker: WorkerProcess, seconds: float) -> None:
        await asyncio.sleep(seconds)
        worker.wake()

    def _beside(self, work: Awaitable[None]) -> None:
        self._lasting.add(asyncio.ensure_future(work))

    def _worker(self) -> WorkerProcess | None:
        """Choose one that runs, while two of its kind do: what nobody can take is another test."""
        running = [w for w in self._running.fleet.workers if w.is_alive and not w.is_frozen]
        free = [w for w in running if sum(o.is_push == w.is_push for o in running) > 1]
        return self._chance.choice(free) if free else None

    def _say(self, what: str) -> None:
        self.said.append(f"{time.monotonic() - self._began_at:5.1f} {what}")
