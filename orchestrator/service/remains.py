"""Empties deleted recordings again into which something came later: a frozen recorder wakes and goes on.

What it puts is part of no recording any more, but takes room; one that had just begun leaves a wrapped key.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from orchestrator.catalog_ports import CatalogStore
from orchestrator.core.errors import OrchestratorError, RecordingNotFoundError
from orchestrator.core.ids import RecordingId
from orchestrator.ports import Clock
from orchestrator.service.stored_recordings import StoredRecordings

log = structlog.get_logger(__name__)

SWEEP_S: Final = 3600.0
_FIRST_S: Final = 120.0  # after the start, which has enough to do
_JITTER: Final = 0.1


class Remains:
    """Looks every hour which recordings the chunk store has, and whether they are deleted ones.

    Args:
        catalog: which are deleted.
        stored: where they lay.
        clock: gives chance.
    """

    def __init__(self, *, catalog: CatalogStore, stored: StoredRecordings, clock: Clock) -> None:
        self._catalog = catalog
        self._stored = stored
        self._clock = clock

    async def run(self) -> None:
        """Sweep until cancelled."""
        pause_s = _FIRST_S
        while True:
            await asyncio.sleep(pause_s * (1 + _JITTER * self._clock.random()))
            pause_s = SWEEP_S
            try:
                await self.sweep()
            except OrchestratorError as error:
                log.warning("remains_not_swept", error=str(error))

    async def sweep(self) -> int:
        """Empty every deleted recording of which something is there; give how many files were removed.

        One that is held, or that nobody can tell of whether it is, stays as it is.

        Raises:
            CustodyError: the chunk store does not answer.
            StoreError: the catalog refused; the next sweep goes on.
        """
        count = 0
        for name in await self._stored.names():
            try:
                entry = await self._catalog.entry(RecordingId(name))
            except RecordingNotFoundError:
                continue
            deletion = entry.custody.deletion
            if deletion is None or deletion.done_at is None:
                continue
            try:
                removed = await self._stored.sweep_remains(entry, deletion)
            except OrchestratorError as error:
                log.warning("remains_left", recording_id=entry.id, reason=str(error))
                continue
            if removed:
                log.info("remains_removed", recording_id=entry.id, files=removed)
            count += removed
        return count
