"""Deletes recordings that are past `[recording] retention_days`; what is held is not touched."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import structlog

from orchestrator.catalog_ports import CatalogStore
from orchestrator.core.errors import CustodyError, OrchestratorError
from orchestrator.ports import Clock
from orchestrator.service.custodian import Custodian

log = structlog.get_logger(__name__)

SWEEP_S: Final = 3600.0
_FIRST_S: Final = 60.0  # after the start, so that nothing goes before an operator can stop a wrong setting
_AT_ONCE: Final = 100  # recordings in one look; there are as many looks as it takes
_JITTER: Final = 0.1


class Retention:
    """Looks every hour for what is past its time.

    Args:
        catalog: what there is.
        custodian: who deletes.
        clock: gives moments and chance.
        kept: how long after its end; None: for ever.
    """

    def __init__(
        self, *, catalog: CatalogStore, custodian: Custodian, clock: Clock, kept: timedelta | None
    ) -> None:
        self._catalog = catalog
        self._custodian = custodian
        self._clock = clock
        self.kept = kept

    async def run(self) -> None:
        """Sweep until cancelled."""
        pause_s = _FIRST_S
        while self.kept is not None:
            await asyncio.sleep(pause_s * (1 + _JITTER * self._clock.random()))
            pause_s = SWEEP_S
            try:
                await self.sweep()
            except OrchestratorError as error:
                log.warning("retention_not_swept", error=str(error))

    async def sweep(self) -> int:
        """Ask for the deletion of everything that is past its time; give how many were.

        Raises:
            StoreError: the catalog refused; the next sweep goes on.
        """
        if self.kept is None:
            return 0
        count = 0
        refused: set[str] = set()
        ended_before = self._clock.now() - self.kept
        while True:
            due = await self._catalog.deletable(ended_before=ended_before, limit=_AT_ONCE + len(refused))
            due = [entry for entry in due if entry.id not in refused]
            for entry in due:
                try:
                    await self._custodian.delete(entry.id, by="retention", cause="retention")
                    count += 1
                except CustodyError as error:
                    log.warning("retention_not_swept", error=str(error))
                    return count  # the store is away: the next sweep goes on
                except OrchestratorError as error:
                    refused.add(entry.id)
                    log.warning("recording_retained", recording_id=entry.id, reason=str(error))
            if not due:
                return count
