"""Closes uploads whose senders are gone, so that they too are verified, retained and deleted some day."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import structlog

from orchestrator.catalog_ports import CatalogStore
from orchestrator.core.catalog import UPLOAD, CatalogEntry
from orchestrator.core.errors import OrchestratorError
from orchestrator.core.recording import RecordingStatus
from orchestrator.ports import Clock
from orchestrator.service.uploads import Uploads
from vault.errors import VaultError

log = structlog.get_logger(__name__)

_SWEEP_S: Final = 60.0
_AT_ONCE: Final = 100  # recordings in one look at the catalog


class IdleUploads:
    """Looks every minute for uploads that got no chunk for too long.

    Args:
        catalog: what there is.
        uploads: which close them.
        clock: gives moments.
        idle: how long is too long.
    """

    def __init__(self, *, catalog: CatalogStore, uploads: Uploads, clock: Clock, idle: timedelta) -> None:
        self._catalog = catalog
        self._uploads = uploads
        self._clock = clock
        self._idle = idle

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            try:
                await self.sweep()
            except OrchestratorError as error:
                log.warning("idle_uploads_not_swept", error=str(error))

    async def sweep(self) -> int:
        """Close what is idle for too long, one after the other; give how many were closed.

        One that cannot be closed does not keep the others; it is tried again at the next sweep.

        Raises:
            StoreError: the catalog refused.
        """
        count = 0
        since = self._clock.now() - self._idle
        for entry in await self._open_uploads():
            if entry.idle_since >= since:
                continue
            try:
                is_closed = await self._uploads.close_idle(entry.id, since=since)
            except (OrchestratorError, VaultError) as error:
                log.warning("upload_not_closed", recording_id=entry.id, reason=str(error))
                continue
            if is_closed:
                log.info("upload_closed", recording_id=entry.id, idle_since=entry.idle_since.isoformat())
            count += is_closed
        return count

    async def _open_uploads(self) -> list[CatalogEntry]:
        found: list[CatalogEntry] = []
        before: int | None = None
        while True:
            page = await self._catalog.entries(
                limit=_AT_ONCE, before=before, status=RecordingStatus.RECORDING
            )
            found += [entry for entry in page.entries if entry.record.mode == UPLOAD]
            if len(page.entries) < _AT_ONCE:
                return found
            before = page.entries[-1].number
