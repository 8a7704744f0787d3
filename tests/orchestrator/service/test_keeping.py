"""The loops of keeping: what was asked before a crash is done after it, and what ended is measured."""

from __future__ import annotations

import asyncio

from orchestrator.recording_settings import RecordingSettings
from tests.fakes.assembly import assembly
from tests.fakes.kept_recordings import Kept
from tests.orchestrator.web.world import until


async def test_the_loops_delete_what_is_asked_for_and_measure_what_ended() -> None:
    async with assembly() as running:
        kept = Kept(running=running, settings=RecordingSettings(retention_days=1))
        gone, stays = await kept.record(1), await kept.record(2)
        await kept.custodian.delete(gone, by="anna")  # and the process died before it was carried out
        again = kept.restarted()
        loops = asyncio.ensure_future(again.keeping.run())
        await until(lambda: not kept.files(gone))
        await again.keeping.quota.look()
        assert again.keeping.quota.usage.counts["completed"] == 1
        entry = await kept.catalog.entry(stays)
        assert entry.custody.stored_bytes == sum(map(len, kept.files(stays).values()))
        late = await kept.record(3)
        await again.custodian.delete(late, by="anna")
        entry_late = await again.custodian.until_deleted(late, 5)
        assert entry_late is not None
        assert entry_late.custody.is_deleted
        loops.cancel()
        await asyncio.wait({loops})
        again.keeping.close()
        kept.keeping.close()
