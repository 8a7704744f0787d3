"""Holds and deletes recordings: what was decided is durable first, then done, and finished after a crash.

A hold stands in the catalog and, signed, beside the recording, so that no program destroys what is held. A
deletion is an intent in the catalog until nothing of the recording is left in the chunk store; the catalog's
row stays as its tombstone. Source: recording.md §4; docs/CATALOG.md.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import structlog

from orchestrator.catalog_ports import CatalogStore
from orchestrator.core.catalog import (
    CatalogEntry,
    Custody,
    Deletion,
    DeletionCause,
    Hold,
    check_deletable,
)
from orchestrator.core.errors import (
    IllegalTransitionError,
    OrchestratorError,
    RecordingHeldError,
    RecordingNotFoundError,
    SessionNotFoundError,
)
from orchestrator.core.events import RecordingDeleted
from orchestrator.core.ids import RecordingId
from orchestrator.core.triggers import RecordingDeletionDone
from orchestrator.ports import Clock
from orchestrator.service.sessions import Sessions
from orchestrator.service.stored_recordings import StoredRecordings

log = structlog.get_logger(__name__)

_SWEEP_S: Final = 30.0  # how often deletions that something was in the way of are tried again
_AT_ONCE: Final = 1000  # deletions looked at in one sweep


class Custodian:
    """Keeps recordings from being deleted, and deletes them.

    Args:
        catalog: where both are decided.
        sessions: whose recordings they are.
        stored: where they lie.
        clock: gives moments.
        forget: drops what is kept in memory of a recording that is deleted.
    """

    def __init__(
        self,
        *,
        catalog: CatalogStore,
        sessions: Sessions,
        stored: StoredRecordings,
        clock: Clock,
        forget: Callable[[RecordingId], None],
    ) -> None:
        self._catalog = catalog
        self._sessions = sessions
        self._stored = stored
        self._clock = clock
        self._forget = forget
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._wake = asyncio.Event()
        self._endings: dict[RecordingId, asyncio.Event] = {}  # somebody waits for them

    # --- what callers ask ---

    async def delete(
        self, recording_id: RecordingId, *, by: str, cause: DeletionCause = "asked", is_purge: bool = False
    ) -> CatalogEntry:
        """Decide that a recording is deleted; it is so durably when this returns, and carried out by `run`.

        Args:
            recording_id: which.
            by: who wants it.
            cause: why.
            is_purge: the catalog forgets it too.

        Raises:
            RecordingNotFoundError: there is none.
            RecordingHeldError: it is under legal hold, in the catalog or beside the recording.
            IllegalTransitionError: it is still being made, or nobody can tell whether it is held.
            CustodyError: the store or the keys cannot be reached.
        """
        async with self._lock(recording_id):
            entry = await self._catalog.entry(recording_id)
            check_deletable(entry)
            deletion = entry.custody.deletion
            if deletion is None:
                await self._adopt_hold(entry)
                deletion = Deletion(cause=cause, by=by, asked_at=self._clock.now(), is_purge=is_purge)
                entry = await self._save(entry, replace(entry.custody, deletion=deletion))
            elif is_purge and not deletion.is_purge:
                again = replace(deletion, is_purge=True, done_at=None)
                entry = await self._save(entry, replace(entry.custody, deletion=again))
        self._wake.set()
        return entry

    async def until_deleted(self, recording_id: RecordingId, within_s: float) -> CatalogEntry | None:
        """Wait for the end of a deletion, shortly; gives the recording as it is by then, None once purged."""
        ending = self._endings.setdefault(recording_id, asyncio.Event())
        try:
            entry = await self._catalog.entry(recording_id)
            if entry.custody.is_being_deleted:
                async with asyncio.timeout(within_s):
                    await ending.wait()
            return await self._catalog.entry(recording_id)
        except RecordingNotFoundError:
            return None
        except TimeoutError:
            return entry
        finally:
            self._endings.pop(recording_id, None)

    async def hold(self, recording_id: RecordingId, *, by: str, reason: str) -> CatalogEntry:
        """Put a recording under legal hold, also one that is still being made; one that is held stays so.

        Raises:
            RecordingNotFoundError: there is none.
            IllegalTransitionError: too late, it is deleted or being deleted.
            CustodyError: the catalog holds it, and the store or the keys cannot be reached: repeat.
        """
        async with self._lock(recording_id):
            entry = await self._catalog.entry(recording_id)
            if entry.custody.deletion is not None:
                word = "deleted" if entry.custody.is_deleted else "being deleted"
                raise IllegalTransitionError(
                    f"recording {recording_id} is {word}; it cannot be held any more"
                )
            hold = entry.custody.hold
            if hold is None:
                hold = Hold(by=by, reason=reason, since=self._clock.now())
                entry = await self._save(entry, replace(entry.custody, hold=hold))
            await self._stored.place_hold(entry, hold)
            return entry

    async def release(self, recording_id: RecordingId, *, by: str, reason: str) -> CatalogEntry:
        """End a legal hold; a recording that is not held stays so. Raises as `hold`."""
        async with self._lock(recording_id):
            entry = await self._catalog.entry(recording_id)
            if entry.custody.deletion is None:
                await self._stored.release_hold(entry, by=by, reason=reason)
            if entry.custody.hold is None:
                return entry
            return await self._save(entry, replace(entry.custody, hold=None))

    async def measure(self, recording_id: RecordingId) -> None:
        """Look up what an ended recording takes in the store, and see that its hold stands beside it.

        Raises:
            IllegalTransitionError, CustodyError: as `hold`.
        """
        async with self._lock(recording_id):
            entry = await self._catalog.entry(recording_id)
            if entry.custody.deletion is not None or entry.custody.stored_bytes is not None:
                return
            if entry.custody.hold is not None:
                await self._stored.place_hold(entry, entry.custody.hold)
            used = await self._stored.bytes_of(entry)
            await self._save(entry, replace(entry.custody, stored_bytes=used))

    # --- deletions, carried out ---

    async def run(self) -> None:
        """Carry out deletions until cancelled; what something is in the way of is tried again."""
        while True:
            self._wake.clear()
            try:
                await self.sweep()
            except OrchestratorError as error:
                log.warning("deletions_not_read", error=str(error))
            try:
                async with asyncio.timeout(_SWEEP_S):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def sweep(self) -> None:
        """Carry out every deletion that is asked for, one after the other.

        Raises:
            StoreError: the catalog refused.
        """
        for entry in await self._catalog.being_deleted(_AT_ONCE):
            try:
                await self._carry_out(entry.id)
            except OrchestratorError as error:
                await self._note(entry.id, str(error))

    async def _carry_out(self, recording_id: RecordingId) -> None:
        async with self._lock(recording_id):
            entry = await self._catalog.entry(recording_id)
            deletion = entry.custody.deletion
            if deletion is None or deletion.done_at is not None:
                return
            try:
                await self._stored.delete(entry, deletion)
            except RecordingHeldError:
                # Held beside the recording since it was asked for: that comes first.
                entry = await self._save(entry, replace(entry.custody, deletion=None))
                await self._adopt_hold(entry)
                return
            self._forget(recording_id)
            await self._finish(entry, deletion)
        if recording_id in self._endings:
            self._endings[recording_id].set()
        log.info("recording_deleted", recording_id=recording_id, cause=deletion.cause)

    async def _finish(self, entry: CatalogEntry, deletion: Deletion) -> None:
        """Tell the session, then the catalog; a crash in between tells the session nothing twice."""
        events: tuple[RecordingDeleted, ...] = ()
        if not await self._tell_session(entry, deletion.cause):
            session_id = entry.record.session_id
            events = (RecordingDeleted(session_id=session_id, recording_id=entry.id, cause=deletion.cause),)
        if deletion.is_purge:
            await self._catalog.forget(entry.id, events)
            return
        done = replace(deletion, done_at=self._clock.now(), detail="")
        custody = replace(entry.custody, deletion=done, version=entry.custody.version + 1)
        await self._catalog.save_custody(entry.id, custody, events)

    async def _tell_session(self, entry: CatalogEntry, cause: DeletionCause) -> bool:
        """Move the session's facet; False when no session here has this recording."""
        try:
            session = await self._sessions.get(entry.record.session_id)
        except SessionNotFoundError:
            return False
        own = (*session.earlier_recordings, session.recording)
        if not any(recording is not None and recording.recording_id == entry.id for recording in own):
            return False
        await self._sessions.apply(session.id, RecordingDeletionDone(recording_id=entry.id, cause=cause))
        return True

    async def _note(self, recording_id: RecordingId, reason: str) -> None:
        """Write down what is in the way of a deletion, once."""
        try:
            entry = await self._catalog.entry(recording_id)
            deletion = entry.custody.deletion
            if deletion is not None and deletion.detail != reason:
                log.warning("recording_not_deleted", recording_id=recording_id, reason=reason)
                noted = replace(deletion, detail=reason)
                await self._save(entry, replace(entry.custody, deletion=noted))
        except OrchestratorError as error:
            log.warning("deletion_not_noted", recording_id=recording_id, error=str(error))

    async def _adopt_hold(self, entry: CatalogEntry) -> None:
        """Take over a hold that another program placed beside the recording.

        Raises:
            RecordingHeldError: there is one.
        """
        hold = await self._stored.hold_of(entry)
        if hold is not None:
            log.warning("recording_is_held", recording_id=entry.id, by=hold.by)
            check_deletable(await self._save(entry, replace(entry.custody, hold=hold)))

    async def _save(self, entry: CatalogEntry, custody: Custody) -> CatalogEntry:
        custody = replace(custody, version=entry.custody.version + 1)
        await self._catalog.save_custody(entry.id, custody)
        return replace(entry, custody=custody)

    def _lock(self, recording_id: RecordingId) -> asyncio.Lock:
        """Give what lets one at a time change a recording."""
        return self._locks.setdefault(recording_id, asyncio.Lock())
