"""The catalog of tests and of trying things out: in this process's memory, nothing survives it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice

from orchestrator.adapters.catalog_json import decode_custody, decode_record, encode
from orchestrator.catalog_ports import CatalogPage, Usage
from orchestrator.core.catalog import CatalogEntry, CatalogRecord, Custody
from orchestrator.core.errors import RecordingNotFoundError, VersionConflictError
from orchestrator.core.events import RegistryEvent
from orchestrator.core.ids import RecordingId, SessionId
from orchestrator.core.recording import RecordingStatus


class MemoryCatalog:
    """Implements `CatalogStore` without a single await, which makes every method atomic.

    Args:
        now: the store's time.
        append: appends events that belong to no session to the store's feed.
    """

    def __init__(
        self, *, now: Callable[[], datetime], append: Callable[[Sequence[RegistryEvent]], None]
    ) -> None:
        self._now = now
        self._append = append
        self._entries: dict[RecordingId, CatalogEntry] = {}  # in the order of their numbers
        self._last = 0

    def write(
        self, record: CatalogRecord, *, started_at: datetime | None = None, ended_at: datetime | None = None
    ) -> None:
        """Insert or replace what a maker reports."""
        record = decode_record(encode(record))
        old = self._entries.get(record.recording_id)
        ended = (ended_at or self._now()) if record.is_ended else None
        if old is not None:
            entry = replace(old, record=record, ended_at=old.ended_at or ended)
        else:
            self._last += 1
            entry = CatalogEntry(
                number=self._last,
                record=record,
                custody=Custody(),
                started_at=started_at or self._now(),
                ended_at=ended,
            )
        self._entries[record.recording_id] = entry

    async def save(
        self, record: CatalogRecord, *, started_at: datetime | None = None, ended_at: datetime | None = None
    ) -> None:
        """Insert or replace what a maker reports."""
        self.write(record, started_at=started_at, ended_at=ended_at)

    async def entry(self, recording_id: RecordingId) -> CatalogEntry:
        """Give a recording."""
        try:
            return self._entries[recording_id]
        except KeyError:
            raise RecordingNotFoundError(recording_id) from None

    async def entries(
        self,
        *,
        limit: int,
        before: int | None = None,
        session_id: SessionId | None = None,
        status: RecordingStatus | None = None,
    ) -> CatalogPage:
        """Give recordings, the newest first."""
        found = [
            entry
            for entry in reversed(self._entries.values())
            if session_id in (None, entry.record.session_id) and status in (None, entry.status)
        ]
        page = (entry for entry in found if before is None or entry.number < before)
        return CatalogPage(entries=tuple(islice(page, limit)), total=len(found))

    async def save_custody(
        self, recording_id: RecordingId, custody: Custody, events: Sequence[RegistryEvent] = ()
    ) -> None:
        """Replace the custody of a recording and append events."""
        entry = await self.entry(recording_id)
        if entry.custody.version != custody.version - 1:
            raise VersionConflictError(f"recording {recording_id} was changed by somebody else meanwhile")
        self._entries[recording_id] = replace(entry, custody=decode_custody(encode(custody)))
        self._append(events)

    async def forget(self, recording_id: RecordingId, events: Sequence[RegistryEvent] = ()) -> None:
        """Remove a recording from the catalog."""
        if self._entries.pop(recording_id, None) is not None:
            self._append(events)

    async def say(self, *events: RegistryEvent) -> None:
        """Append events."""
        self._append(events)

    async def being_deleted(self, limit: int) -> list[CatalogEntry]:
        """Give recordings whose deletion is not done."""
        return [e for e in self._entries.values() if e.custody.is_being_deleted][:limit]

    async def deletable(
        self, *, ended_before: datetime, limit: int, status: RecordingStatus | None = None
    ) -> list[CatalogEntry]:
        """Give recordings that ended before a moment and may go, oldest end first."""
        found = [
            (entry.ended_at, entry.number, entry)
            for entry in self._entries.values()
            if entry.ended_at is not None
            and entry.ended_at < ended_before
            and status in (None, entry.status)
            and entry.custody.hold is None
            and entry.custody.deletion is None
        ]
        return [entry for _, _, entry in sorted(found, key=lambda one: one[:2])[:limit]]

    async def unmeasured(self, limit: int) -> list[CatalogEntry]:
        """Give ended recordings whose bytes nobody looked up."""
        return [
            entry
            for entry in self._entries.values()
            if entry.ended_at is not None
            and entry.custody.stored_bytes is None
            and entry.custody.deletion is None
        ][:limit]

    async def usage(self) -> Usage:
        """Give what all of them take."""
        return Usage(
            used_bytes=sum(entry.used_bytes for entry in self._entries.values()),
            counts=Counter(entry.status.value for entry in self._entries.values()),
        )
