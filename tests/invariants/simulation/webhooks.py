"""LiveKit's webhooks as they were measured: in order per room, five tries, dropped when old; and worse."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from orchestrator.core.ids import RoomName
from orchestrator.ports import Notice
from tests.invariants.simulation.stage import Stage
from tests.invariants.simulation.weather import Weather

TRIES_S: Final = (0.0, 1.0, 3.0, 7.0, 15.0)  # after the first
TOO_OLD_S: Final = 30.0


class WebhookSender:
    """Sends notices to whoever is the orchestrator. ``is_on`` False: every one of them is lost."""

    def __init__(
        self, stage: Stage, weather: Weather, post: Callable[[Notice], Awaitable[bool]], *, is_on: bool
    ) -> None:
        self._stage = stage
        self._weather = weather
        self._post = post
        self._is_on = is_on
        self._queues: dict[RoomName, deque[tuple[float, Notice]]] = {}

    def send(self, notice: Notice) -> None:
        """Put a notice in its room's queue; one that is late overtakes or is overtaken."""
        stage, weather = self._stage, self._weather
        if not self._is_on or stage.chance(weather.hook_lost):
            return
        for _ in range(2 if stage.chance(weather.hook_twice) else 1):
            if weather.hook_late_s > 1.0:
                late_s = stage.between(0.0, weather.hook_late_s)
                stage.later(late_s, lambda: self._begin(notice))
            else:
                self._begin(notice)

    def _begin(self, notice: Notice) -> None:
        name = notice.room_name
        is_idle = name not in self._queues
        self._queues.setdefault(name, deque()).append((self._stage.time(), notice))
        if is_idle:
            self._stage.spawn(self._deliver(name), f"webhooks of {name}")

    async def _deliver(self, name: RoomName) -> None:
        queue = self._queues[name]
        while queue:
            born, notice = queue.popleft()
            for wait_s in TRIES_S:
                await asyncio.sleep(wait_s + 0.001)
                if self._stage.time() - born > TOO_OLD_S or await self._post(notice):
                    break
        del self._queues[name]
