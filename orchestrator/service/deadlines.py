"""Acts on deadlines when they are due, from the store, so that none lives in memory only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final, Protocol

import structlog

from orchestrator.core.errors import OrchestratorError, RoomServerError, SessionNotFoundError, StoreError
from orchestrator.core.ids import SessionId
from orchestrator.core.triggers import DeadlineReached
from orchestrator.ports import Clock, SessionStore
from orchestrator.service.sessions import Sessions

log = structlog.get_logger(__name__)

SWEEP_S: Final = 0.2  # a deadline is late by at most this and one commit (after a failure: the pause)
_BATCH: Final = 100
_LOOK_AGAIN_S: Final = 2.0  # after LiveKit did not answer a fresh look, or the store refused
_NEED_LOOK: Final = ("client", "create")  # the deadlines that are judged by LiveKit's lists


class Looker(Protocol):
    """Whoever can ask LiveKit about a room."""

    async def look(self, session_id: SessionId) -> None:
        """Bring the view of a room in line with LiveKit's list, absences confirmed."""

    async def find_room(self, session_id: SessionId) -> None:
        """Commit that a session's room was created, if LiveKit has it and our record does not say so."""


class DeadlineSweeper:
    """Fires due deadlines until cancelled; no session waits for another one's look at LiveKit."""

    def __init__(self, *, sessions: Sessions, store: SessionStore, clock: Clock, looker: Looker) -> None:
        self._sessions = sessions
        self._store = store
        self._clock = clock
        self._looker = looker
        self._resting: dict[SessionId, float] = {}  # until when a session that failed is left alone
        self._looking: dict[SessionId, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Sweep for ever."""
        try:
            while True:
                try:
                    await self._begin()
                except StoreError as error:
                    log.warning("deadline_sweep_failed", error=str(error))
                await asyncio.sleep(SWEEP_S)
        finally:
            for task in self._looking.values():
                task.cancel()

    async def sweep(self) -> None:
        """Fire everything that is due now, and wait until it is done."""
        await self._begin()
        if self._looking:
            await asyncio.wait(set(self._looking.values()))

    async def _begin(self) -> None:
        await self._sessions.doubts.settle()
        now = self._clock.monotonic()
        self._resting = {key: until for key, until in self._resting.items() if until > now}
        # Those that are passed over come first in the list: they must not use up the batch.
        limit = _BATCH + len(self._resting) + len(self._looking)
        due = [s for s in await self._store.due_sessions(limit) if s not in self._resting]
        await asyncio.gather(*(self._fire(session_id) for session_id in due))

    async def _fire(self, session_id: SessionId) -> None:
        """Fire what is due; what depends on LiveKit is done beside, because LiveKit may be slow or down."""
        async with self._guarded(session_id):
            session = await self._sessions.get(session_id)
            now = self._store.now()
            for name, deadline in sorted(session.deadlines.items(), key=lambda item: item[1].due):
                if deadline.due > now:
                    break
                trigger = DeadlineReached(name=name, arming=deadline.arming)
                if name not in _NEED_LOOK:
                    await self._sessions.apply(session_id, trigger)
                elif session_id not in self._looking:
                    task = asyncio.ensure_future(self._look_and_fire(session_id, trigger))
                    self._looking[session_id] = task
                    task.add_done_callback(partial(self._looked, session_id))

    async def _look_and_fire(self, session_id: SessionId, trigger: DeadlineReached) -> None:
        async with self._guarded(session_id):
            if trigger.name == "client":
                await self._looker.look(session_id)  # nobody is thrown out on an old view
            else:
                # The store may have refused all the time since the room was made and its caller answered.
                with suppress(RoomServerError):  # a room that nobody can ask for was not made in time
                    await self._looker.find_room(session_id)
            await self._sessions.apply(session_id, trigger)

    def _looked(self, session_id: SessionId, _: asyncio.Task[None]) -> None:
        self._looking.pop(session_id, None)

    @asynccontextmanager
    async def _guarded(self, session_id: SessionId) -> AsyncIterator[None]:
        """Let no session's failure reach the others; it is left alone for a while."""
        try:
            yield
        except SessionNotFoundError:
            return
        except RoomServerError:
            self._rest(session_id)
        except OrchestratorError as error:
            self._rest(session_id)
            log.warning("deadline_not_fired", session_id=session_id, error=str(error))
        except Exception:
            self._rest(session_id)
            log.exception("deadline_not_fired", session_id=session_id)

    def _rest(self, session_id: SessionId) -> None:
        self._resting[session_id] = self._clock.monotonic() + _LOOK_AGAIN_S
