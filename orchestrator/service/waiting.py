"""Waits for sessions on behalf of callers: until the room is there, until the session is ready."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from orchestrator.core.errors import ServicesTimeoutError
from orchestrator.core.ids import SessionId
from orchestrator.core.session import Session
from orchestrator.core.states import RoomStatus
from orchestrator.ports import Clock
from orchestrator.service.live import LiveSessions

_LOOK_S: Final = 0.5  # a commit whose answer was lost wakes nobody: look all the same


class SessionWaits:
    """Waits; every one has an end.

    Args:
        live: tells of commits.
        load: gives a session as last committed.
        clock: measures the waits.
    """

    def __init__(
        self, *, live: LiveSessions, load: Callable[[SessionId], Awaitable[Session]], clock: Clock
    ) -> None:
        self._live = live
        self._load = load
        self._clock = clock

    async def until_ready(self, session_id: SessionId, wait_s: float) -> Session:
        """Wait for Ready, at most ``wait_s``; give the session as it then is.

        Raises:
            ServicesTimeoutError: `strict` ended it.
        """
        session = await self._until(
            session_id, wait_s, lambda now: now.room_status in (RoomStatus.READY, RoomStatus.ACTIVE)
        )
        if not session.is_live and session.end_reason == "services_timeout":
            raise ServicesTimeoutError(session_id, session.missing_services)
        return session

    async def until_created(self, session_id: SessionId, wait_s: float) -> Session:
        """Wait until the room is there or is given up, at most ``wait_s``; give the session as it then is."""
        return await self._until(session_id, wait_s, lambda now: now.room_status is not RoomStatus.CREATING)

    async def _until(
        self, session_id: SessionId, wait_s: float, is_there: Callable[[Session], bool]
    ) -> Session:
        deadline = self._clock.monotonic() + wait_s
        with self._live.changes(session_id) as changed:
            while True:
                changed.clear()
                session = await self._load(session_id)
                left = deadline - self._clock.monotonic()
                if is_there(session) or not session.is_live or left <= 0:
                    return session
                try:
                    await asyncio.wait_for(changed.wait(), min(left, _LOOK_S))
                except TimeoutError:
                    continue
