"""Acts on deadlines when they are due, from the store, so that none lives in memory only."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

import structlog

from orchestrator.core.errors import OrchestratorError, RoomServerError, SessionNotFoundError, StoreError
from orchestrator.core.ids import SessionId
from orchestrator.core.triggers import DeadlineReached
from orchestrator.ports import Clock, SessionStore
from orchestrator.service.sessions import Sessions

log = structlog.get_logger(__name__)

SWEEP_S: Final = 0.2  # a deadline is late by at most this and one commit
_BATCH: Final = 100
_LOOK_AGAIN_S: Final = 2.0  # after LiveKit did not answer a fresh look


class Looker(Protocol):
    """Whoever can ask LiveKit who is in a room."""

    async def look(self, session_id: SessionId) -> None:
        """Bring the view of a room in line with LiveKit's list, absences confirmed."""


class DeadlineSweeper:
    """Fires due deadlines until cancelled."""

    def __init__(self, *, sessions: Sessions, store: SessionStore, clock: Clock, looker: Looker) -> None:
        self._sessions = sessions
        self._store = store
        self._clock = clock
        self._looker = looker
        self._resting: dict[SessionId, float] = {}  # until when a session whose look failed is left alone

    async def run(self) -> None:
        """Sweep for ever."""
        while True:
            try:
                await self.sweep()
            except StoreError as error:
                log.warning("deadline_sweep_failed", error=str(error))
            await asyncio.sleep(SWEEP_S)

    async def sweep(self) -> None:
        """Fire everything that is due now."""
        now = self._clock.monotonic()
        self._resting = {key: until for key, until in self._resting.items() if until > now}
        due = [s for s in await self._store.due_sessions(_BATCH) if s not in self._resting]
        await asyncio.gather(*(self._fire(session_id) for session_id in due))

    async def _fire(self, session_id: SessionId) -> None:
        try:
            session = await self._sessions.get(session_id)
            for name, deadline in sorted(session.deadlines.items(), key=lambda item: item[1].due):
                if deadline.due <= self._store.now():
                    if name == "client":
                        await self._looker.look(session_id)  # nobody is thrown out on an old view
                    trigger = DeadlineReached(name=name, arming=deadline.arming)
                    await self._sessions.apply(session_id, trigger)
        except SessionNotFoundError:
            return
        except RoomServerError:
            self._resting[session_id] = self._clock.monotonic() + _LOOK_AGAIN_S
        except OrchestratorError as error:
            self._resting[session_id] = self._clock.monotonic() + _LOOK_AGAIN_S
            log.warning("deadline_not_fired", session_id=session_id, error=str(error))
