"""The store of tests and of trying things out: everything in this process's memory, nothing survives it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice

from orchestrator.adapters.memory_catalog import MemoryCatalog
from orchestrator.adapters.session_json import decode_session, encode_session
from orchestrator.core.errors import (
    FencedError,
    KeyTakenError,
    RoomNameTakenError,
    SessionNotFoundError,
    VersionConflictError,
)
from orchestrator.core.events import Event, FeedEvent, RegistryEvent, encode_data, name_of
from orchestrator.core.ids import InstanceId, RoomName, SessionId, WorkerId
from orchestrator.core.request_keys import KEPT, BoundKey, KeyScope, RequestKey
from orchestrator.core.session import Session
from orchestrator.core.workers import Registration
from orchestrator.ports import Change, Clock, CommandRow, FeedPage


@dataclass(slots=True, kw_only=True)
class _Claimed:
    """A command row; ``available_at`` is the lease's end while claimed, the pause's end after a failure."""

    row: CommandRow
    owner: InstanceId
    available_at: datetime


class MemorySessionStore:
    """Implements `SessionStore` without a single await, which makes every method atomic.

    Args:
        clock: the store's time.
        instance_id: who claims commands.
        lease_s: how long a claim holds.
        on_commit: called with the new head of the feed after each commit that appended events.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        instance_id: InstanceId,
        lease_s: float = 10.0,
        on_commit: Callable[[int], None] | None = None,
    ) -> None:
        self._clock = clock
        self._instance_id = instance_id
        self._lease_s = lease_s
        self._on_commit = on_commit
        self._sessions: dict[SessionId, tuple[Session, bytes]] = {}
        self._names: dict[RoomName, SessionId] = {}
        self._commands: dict[int, _Claimed] = {}
        self._workers: dict[WorkerId, Registration] = {}
        self._keys: dict[KeyScope, tuple[BoundKey, datetime]] = {}  # with the moment of their binding
        self._feed: list[FeedEvent] = []  # without holes: the number says the place
        self._head = 0
        self._last_command = 0
        self._deployment_id = clock.new_id()
        self.catalog = MemoryCatalog(now=self.now, append=self._append_registry)
        # Another one for every store that is made: positions of the last one do not fit this one.
        self._generation = int(clock.now().timestamp())

    async def open(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    def now(self) -> datetime:
        """Give the clock's time."""
        return self._clock.now()

    async def commit(self, change: Change, *, is_patient: bool = False) -> tuple[CommandRow, ...]:
        """Write a change in one atomic operation."""
        session = change.session
        record = encode_session(session)
        events = [(name_of(event), encode_data(event)) for event in change.events]
        stored = self._sessions.get(session.id)
        version = stored[0].version if stored else 0
        if version != session.version - 1:
            raise VersionConflictError(
                f"session {session.id} is at version {version}, not {session.version - 1}"
            )
        for row in change.finished:
            if not self._is_current(row):
                raise FencedError(
                    f"a command of session {session.id} was finished or claimed by another instance"
                )
        if session.is_name_held and self._names.get(session.room_name, session.id) != session.id:
            raise RoomNameTakenError(session.room_name)
        self._check_key(change.key)

        if stored and self._names.get(stored[0].room_name) == session.id:
            del self._names[stored[0].room_name]
        if session.is_name_held:
            self._names[session.room_name] = session.id
        self._sessions[session.id] = (session, record)
        for row in change.finished:
            self._commands.pop(row.id, None)
        self._bind(change.key, session.id)
        if change.freed_key is not None:
            self._free(change.freed_key, session.id)
        for recording in change.recordings:
            self.catalog.write(recording)
        lease_end = self.now() + timedelta(seconds=self._lease_s)
        rows = []
        for command in change.commands:
            self._last_command += 1
            row = CommandRow(id=self._last_command, session_id=session.id, command=command, fence=1)
            self._commands[row.id] = _Claimed(row=row, owner=self._instance_id, available_at=lease_end)
            rows.append(row)
        first = session.events - len(events) + 1
        self._append([(session.id, first + i, name, data) for i, (name, data) in enumerate(events)])
        return tuple(rows)

    async def load(self, session_id: SessionId) -> Session:
        """Give the session as last committed."""
        try:
            return decode_session(self._sessions[session_id][1])
        except KeyError:
            raise SessionNotFoundError(session_id) from None

    async def open_sessions(self) -> list[Session]:
        """Give all sessions that are open, oldest first."""
        return [decode_session(record) for session, record in self._sessions.values() if session.is_open]

    async def due_sessions(self, limit: int) -> list[SessionId]:
        """Give sessions with a due deadline, the earliest first."""
        now = self.now()
        due = [
            (session.next_due, session.id)
            for session, _ in self._sessions.values()
            if session.next_due is not None and session.next_due <= now
        ]
        return [session_id for _, session_id in sorted(due, key=lambda pair: pair[0])[:limit]]

    async def claim_commands(self, limit: int, *, all_orphaned: bool = False) -> list[CommandRow]:
        """Claim commands whose lease lapsed or whose pause is over."""
        now = self.now()
        free = [
            claimed
            for claimed in self._commands.values()
            if claimed.available_at <= now or (all_orphaned and claimed.owner != self._instance_id)
        ]
        free.sort(key=lambda claimed: (claimed.available_at, claimed.row.id))
        for claimed in free[:limit]:
            claimed.row = replace(claimed.row, fence=claimed.row.fence + 1)
            claimed.owner = self._instance_id
            claimed.available_at = now + timedelta(seconds=self._lease_s)
        return [claimed.row for claimed in free[:limit]]

    async def postpone_command(self, row: CommandRow, delay_s: float) -> None:
        """Give the claim back and let the row rest."""
        if self._is_current(row):
            claimed = self._commands[row.id]
            claimed.row = replace(claimed.row, tries=claimed.row.tries + 1)
            claimed.available_at = self.now() + timedelta(seconds=delay_s)

    async def finish_command(self, row: CommandRow) -> None:
        """Remove a row."""
        if self._is_current(row):
            del self._commands[row.id]

    async def feed_after(self, seq: int, *, session_id: SessionId | None, limit: int) -> FeedPage:
        """Give events with a number above ``seq``."""
        oldest = self._feed[0].seq if self._feed else self._head + 1
        newer = islice(self._feed, min(max(0, seq + 1 - oldest), len(self._feed)), None)
        wanted = (event for event in newer if session_id in (None, event.session_id))
        return FeedPage(
            events=tuple(islice(wanted, limit)),
            generation=self._generation,
            oldest_seq=oldest,
            head_seq=self._head,
        )

    async def trim_feed(self, before: datetime) -> int:
        """Forget events older than ``before``."""
        kept = next((i for i, event in enumerate(self._feed) if event.at >= before), len(self._feed))
        del self._feed[:kept]
        return kept

    async def save_worker(
        self, worker: Registration, events: Sequence[RegistryEvent] = (), *, key: RequestKey | None = None
    ) -> None:
        """Insert or replace a registration."""
        self._check_key(key)
        self._workers[worker.worker_id] = worker
        self._bind(key, worker.worker_id)
        self._append_registry(events)

    async def delete_worker(self, worker_id: WorkerId, events: Sequence[RegistryEvent] = ()) -> None:
        """Forget a registration."""
        self._workers.pop(worker_id, None)
        self._append_registry(events)

    async def workers(self) -> list[Registration]:
        """Give all registrations."""
        return list(self._workers.values())

    async def bound_key(self, scope: KeyScope) -> BoundKey | None:
        """Give what a key was bound to."""
        return self._bound(scope)

    async def forget_keys(self) -> int:
        """Drop keys that are free by their age."""
        old = [scope for scope in self._keys if self._bound(scope) is None]
        for scope in old:
            del self._keys[scope]
        return len(old)

    async def deployment_id(self) -> str:
        """Give the id made with the store."""
        return self._deployment_id

    def _is_current(self, row: CommandRow) -> bool:
        claimed = self._commands.get(row.id)
        return claimed is not None and claimed.row.fence == row.fence

    def _bound(self, scope: KeyScope) -> BoundKey | None:
        bound, at = self._keys.get(scope, (None, self.now()))
        return bound if at > self.now() - KEPT else None

    def _check_key(self, key: RequestKey | None) -> None:
        if key is not None and self._bound(key.scope) is not None:
            raise KeyTakenError("another request with this key was faster")

    def _bind(self, key: RequestKey | None, target: str) -> None:
        if key is not None:
            self._keys[key.scope] = (BoundKey(fingerprint=key.fingerprint, target=target), self.now())

    def _free(self, scope: KeyScope, target: str) -> None:
        bound = self._bound(scope)
        if bound is not None and bound.target == target:
            del self._keys[scope]

    def _append_registry(self, events: Sequence[Event]) -> None:
        self._append([(None, 0, name_of(event), encode_data(event)) for event in events])

    def _append(self, events: Sequence[tuple[SessionId | None, int, str, bytes]]) -> None:
        now = self.now()
        for session_id, number, name, data in events:
            self._head += 1
            self._feed.append(
                FeedEvent(seq=self._head, session_id=session_id, number=number, name=name, data=data, at=now)
            )
        if events and self._on_commit is not None:
            self._on_commit(self._head)
