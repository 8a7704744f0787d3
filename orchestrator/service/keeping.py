"""Everything that keeps recordings, wired to each other: custody, retention, quota, uploads, remains."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

from orchestrator.catalog_ports import CatalogStore
from orchestrator.core.ids import RecordingId
from orchestrator.ports import Clock
from orchestrator.recording_settings import RecordingSettings
from orchestrator.service.adoption import Adoption
from orchestrator.service.custodian import Custodian
from orchestrator.service.idle_uploads import IdleUploads
from orchestrator.service.quota import Quota
from orchestrator.service.remains import Remains
from orchestrator.service.retention import Retention
from orchestrator.service.sessions import Sessions
from orchestrator.service.stored_recordings import ChunkPlace, StoredRecordings
from orchestrator.service.uploads import Uploads


class Keeping:
    """What `[recording]` says of keeping recordings, carried out.

    Args:
        catalog: which there are.
        sessions: whose they are; they ask the quota before a recording begins.
        place: where they lie.
        clock: gives moments and chance.
        settings: for how long, and how much.
        forget: drops what is kept in memory of a recording that is deleted.
    """

    def __init__(
        self,
        *,
        catalog: CatalogStore,
        sessions: Sessions,
        place: ChunkPlace,
        clock: Clock,
        settings: RecordingSettings,
        forget: Callable[[RecordingId], None],
    ) -> None:
        days = settings.retention_days
        self.kept = None if days is None else timedelta(days=days)
        self.stored = StoredRecordings(place=place, clock=clock)
        self.seal = self.stored.seal
        self.custodian = Custodian(
            catalog=catalog, sessions=sessions, stored=self.stored, clock=clock, forget=forget
        )
        self.retention = Retention(catalog=catalog, custodian=self.custodian, clock=clock, kept=self.kept)
        self.quota = Quota(
            catalog=catalog,
            custodian=self.custodian,
            clock=clock,
            quota_bytes=None if settings.disk_quota is None else int(settings.disk_quota),
            policy=settings.quota_policy,
        )
        sessions.recording_refusal = self.quota.refusal
        self.uploads = Uploads(
            catalog=catalog, sessions=sessions, place=place, clock=clock, refusal=self.quota.refusal
        )
        self.idle_uploads = IdleUploads(
            catalog=catalog,
            uploads=self.uploads,
            clock=clock,
            idle=timedelta(seconds=settings.upload_idle_s),
        )
        self.remains = Remains(catalog=catalog, stored=self.stored, clock=clock)
        self.adoption = Adoption(catalog=catalog, sessions=sessions, place=place)

    async def run(self) -> None:
        """Run every loop until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            loops = (self.custodian, self.retention, self.quota, self.idle_uploads, self.remains)
            for work in (loop.run for loop in loops):
                tasks.create_task(work(), name=work.__qualname__)

    def close(self) -> None:
        """Stop; what is not finished is, after the next start."""
        self.stored.close()
        self.uploads.close()
        self.adoption.close()
