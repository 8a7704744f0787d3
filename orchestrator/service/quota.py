"""Watches what all recordings take against `[recording] disk_quota`, says so, and acts as the policy says.

Nothing that is wanted as evidence goes by itself: over the quota new recordings are refused, unless the
policy is `delete_oldest`; then the oldest completed ones that nobody holds make room.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final, Literal

import structlog

from orchestrator.catalog_ports import CatalogStore, Usage
from orchestrator.core.catalog import CatalogEntry, QuotaLevel, QuotaStand, to_free
from orchestrator.core.errors import OrchestratorError
from orchestrator.core.events import RecordingQuota
from orchestrator.core.recording import RecordingStatus
from orchestrator.ports import Clock
from orchestrator.service.custodian import Custodian

log = structlog.get_logger(__name__)

LOOK_S: Final = 5.0  # recordings report every ten seconds
_AT_ONCE: Final = 100
_LATER: Final = timedelta(days=1)  # beyond every end that there is


class Quota:
    """What recordings take, and whether more of them may begin.

    Args:
        catalog: what there is.
        custodian: who measures and deletes.
        clock: gives moments.
        quota_bytes: what they may take; None: as much as there is.
        policy: what happens above it.
    """

    def __init__(
        self,
        *,
        catalog: CatalogStore,
        custodian: Custodian,
        clock: Clock,
        quota_bytes: int | None,
        policy: Literal["refuse", "delete_oldest"],
    ) -> None:
        self._catalog = catalog
        self._custodian = custodian
        self._clock = clock
        self._quota_bytes = quota_bytes
        self._policy = policy
        self._said: QuotaLevel = "ok"
        self._unmeasured: dict[str, str] = {}  # why, of recordings that could not be looked up
        self.usage = Usage()

    @property
    def stand(self) -> QuotaStand:
        """What recordings took at the last look."""
        return QuotaStand(used_bytes=self.usage.used_bytes, quota_bytes=self._quota_bytes)

    def refusal(self) -> str:
        """Say why no recording may begin now; "" when one may."""
        return self.stand.refusal()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look()
            except OrchestratorError as error:
                log.warning("quota_not_looked_at", error=str(error))
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Measure what ended, add up, say when a mark is passed, make room where the policy wants it.

        Raises:
            StoreError: the catalog refused.
        """
        for entry in await self._catalog.unmeasured(_AT_ONCE + len(self._unmeasured)):
            await self._measure(entry)
        self.usage = await self._catalog.usage()
        stand = self.stand
        if stand.level != self._said:
            log.warning("recording_quota", stand=stand.level, used_bytes=stand.used_bytes)
            await self._catalog.say(
                RecordingQuota(
                    level=stand.level,
                    used_bytes=stand.used_bytes,
                    quota_bytes=stand.quota_bytes or 0,
                )
            )
            self._said = stand.level
        if stand.excess_bytes and self._policy == "delete_oldest":
            await self._make_room(stand.excess_bytes)

    async def _measure(self, entry: CatalogEntry) -> None:
        try:
            await self._custodian.measure(entry.id)
            self._unmeasured.pop(entry.id, None)
        except OrchestratorError as error:
            if self._unmeasured.get(entry.id) != str(error):
                log.warning("recording_not_measured", recording_id=entry.id, reason=str(error))
            self._unmeasured[entry.id] = str(error)

    async def _make_room(self, excess_bytes: int) -> None:
        going = sum(entry.used_bytes for entry in await self._catalog.being_deleted(10 * _AT_ONCE))
        oldest = await self._catalog.deletable(
            ended_before=self._clock.now() + _LATER, limit=_AT_ONCE, status=RecordingStatus.COMPLETED
        )
        for entry in to_free(oldest, excess_bytes=excess_bytes - going):
            try:
                await self._custodian.delete(entry.id, by="quota", cause="quota")
            except OrchestratorError as error:
                log.warning("recording_keeps_its_room", recording_id=entry.id, reason=str(error))
