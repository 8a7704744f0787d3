"""Sessions whose last commit failed and may have been written all the same: memory does not know any more.

Whoever goes on from what memory has would miss a deadline that only the store shows, or believe a session
gone. So the record is loaded again before its next use, and by the deadline sweep when nobody uses it.
"""

from __future__ import annotations

import asyncio

from orchestrator.core.errors import SessionNotFoundError, StoreError
from orchestrator.core.ids import SessionId
from orchestrator.core.session import Session
from orchestrator.ports import Change, CommandRow, SessionStore
from orchestrator.service.live import LiveSessions


class Doubts:
    """Gives records as last committed, from memory where that is certain."""

    def __init__(self, *, store: SessionStore, live: LiveSessions) -> None:
        self._store = store
        self._live = live
        self._doubtful: dict[SessionId, None] = {}

    async def commit(self, change: Change, *, is_patient: bool = False) -> tuple[CommandRow, ...]:
        """Do what the store's `commit` does; trust memory no longer when nobody knows whether it is through.

        Raises:
            VersionConflictError, RoomNameTakenError, FencedError, KeyTakenError: nothing was written.
            StoreError: it may have been written.
        """
        try:
            return await self._store.commit(change, is_patient=is_patient)
        except (StoreError, asyncio.CancelledError):
            self._doubtful[change.session.id] = None
            raise

    async def latest(self, session_id: SessionId) -> Session:
        """Give the session as last committed.

        Raises:
            SessionNotFoundError: there is none.
            StoreError: it had to be loaded, and the store refused.
        """
        if session_id in self._doubtful:
            return await self.reload(session_id)
        return self._live.get(session_id) or await self._store.load(session_id)

    async def reload(self, session_id: SessionId) -> Session:
        """Take over what the store has; observers are told what they missed."""
        session = await self._store.load(session_id)
        self._doubtful.pop(session_id, None)
        self._live.put(session)
        return session

    async def settle(self) -> None:
        """Load every doubtful session again, so that it goes on though nobody asks for it.

        Raises:
            StoreError: the store refused; those that are left stay doubtful.
        """
        for session_id in tuple(self._doubtful):
            try:
                await self.reload(session_id)
            except SessionNotFoundError:
                self._doubtful.pop(session_id, None)  # the commit that was to create it was not written
