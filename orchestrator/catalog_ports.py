"""What the catalog of recordings needs from outside: where it is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from orchestrator.core.catalog import CatalogEntry, CatalogRecord, Custody
from orchestrator.core.events import RegistryEvent
from orchestrator.core.ids import RecordingId, SessionId
from orchestrator.core.recording import RecordingStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogPage:
    """Recordings, the newest first, and how many there are in all that the filters leave."""

    entries: tuple[CatalogEntry, ...]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What all recordings take: bytes in the stores, and how many there are by status word."""

    used_bytes: int = 0
    counts: dict[str, int] = field(default_factory=dict)


class CatalogStore(Protocol):
    """Keeps what is known of recordings, those of sessions written by `SessionStore.commit`.

    What a call returned from survives as in `SessionStore`. Every method may raise `StoreError` (worth trying
    again). Adapters: memory_catalog, sqlite_catalog. Suite: tests/contracts/test_catalog_store.py.
    """

    async def save(
        self, record: CatalogRecord, *, started_at: datetime | None = None, ended_at: datetime | None = None
    ) -> None:
        """Insert or replace what a maker reports, as `SessionStore.commit` does for sessions.

        Args:
            record: what is known; its custody stays as it is, that of a new one is empty.
            started_at, ended_at: of a new one, else now, and now if it is ended; the first end stays.
        """

    async def entry(self, recording_id: RecordingId) -> CatalogEntry:
        """Give a recording.

        Raises:
            RecordingNotFoundError: there is none.
        """

    async def entries(
        self,
        *,
        limit: int,
        before: int | None = None,
        session_id: SessionId | None = None,
        status: RecordingStatus | None = None,
    ) -> CatalogPage:
        """Give recordings with a number below ``before``, the newest first; None filters nothing."""

    async def save_custody(
        self, recording_id: RecordingId, custody: Custody, events: Sequence[RegistryEvent] = ()
    ) -> None:
        """Replace the custody of a recording and append events, in one operation.

        Raises:
            VersionConflictError: the stored version is not ``custody.version - 1``. Nothing was written.
            RecordingNotFoundError: there is no such recording.
        """

    async def forget(self, recording_id: RecordingId, events: Sequence[RegistryEvent] = ()) -> None:
        """Remove a recording and append events, in one operation; of a missing one nothing is said."""

    async def say(self, *events: RegistryEvent) -> None:
        """Append events that belong to no recording."""

    async def being_deleted(self, limit: int) -> list[CatalogEntry]:
        """Give recordings whose deletion is asked for and not done, the longest known first."""

    async def deletable(
        self, *, ended_before: datetime, limit: int, status: RecordingStatus | None = None
    ) -> list[CatalogEntry]:
        """Give recordings that ended before a moment, are not held and not to go yet, oldest end first."""

    async def unmeasured(self, limit: int) -> list[CatalogEntry]:
        """Give recordings that are ended and whose bytes in the store nobody looked up."""

    async def usage(self) -> Usage:
        """Give what all of them take."""
