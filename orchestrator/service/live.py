"""The open sessions of this instance in memory: the records as last committed, and who waits for a change.

A cache with a rule: it only ever moves to a higher version. Whoever steps from it commits at the expected
version, so a record that is behind costs a reload and nothing else (`doubts.py`).
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from orchestrator.core.ids import JobId, RoomName, SessionId
from orchestrator.core.session import Session

Observer = Callable[[Session | None, Session], None]


class LiveSessions:
    """Open sessions by id, by room name and by job."""

    def __init__(self) -> None:
        self._sessions: dict[SessionId, Session] = {}
        self._by_room: dict[RoomName, SessionId] = {}
        self._locks: weakref.WeakValueDictionary[SessionId, asyncio.Lock] = weakref.WeakValueDictionary()
        self._waiters: dict[SessionId, set[asyncio.Event]] = {}
        self._observers: list[Observer] = []

    def observe(self, observer: Observer) -> None:
        """Have ``observer(before, after)`` called after every commit; it must be quick and must not raise."""
        self._observers.append(observer)

    def lock(self, session_id: SessionId) -> asyncio.Lock:
        """Give the lock that orders this instance's steps of one session."""
        return self._locks.setdefault(session_id, asyncio.Lock())

    def get(self, session_id: SessionId) -> Session | None:
        """Give the record of an open session, or None."""
        return self._sessions.get(session_id)

    def of_room(self, room_name: str) -> Session | None:
        """Give the open session that holds this room name, or None."""
        session_id = self._by_room.get(RoomName(room_name))
        return self._sessions.get(session_id) if session_id is not None else None

    def of_job(self, job_id: str) -> Session | None:
        """Give the open session that a job belongs to, or None."""
        return self._sessions.get(SessionId(JobId(job_id).rpartition("-")[0]))

    def all(self) -> list[Session]:
        """Give all open sessions, oldest first."""
        return list(self._sessions.values())

    def put(self, session: Session) -> None:
        """Take over a committed record and tell observers and waiters."""
        before = self._sessions.get(session.id)
        if before is not None and before.version >= session.version:
            return
        if session.is_open or session.is_name_held:
            self._sessions[session.id] = session
            self._by_room[session.room_name] = session.id
        else:
            self._sessions.pop(session.id, None)
            if self._by_room.get(session.room_name) == session.id:
                del self._by_room[session.room_name]
        for waiter in self._waiters.get(session.id, ()):
            waiter.set()
        for observer in self._observers:
            observer(before, session)

    @contextmanager
    def changes(self, session_id: SessionId) -> Iterator[asyncio.Event]:
        """Give an event that is set at every commit of the session; the waiter clears it before it looks."""
        waiter = asyncio.Event()
        self._waiters.setdefault(session_id, set()).add(waiter)
        try:
            yield waiter
        finally:
            waiters = self._waiters[session_id]
            waiters.discard(waiter)
            if not waiters:
                del self._waiters[session_id]
