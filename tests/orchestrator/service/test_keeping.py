"""Keeping as a whole: its loops, and retention and quota on a real directory beside a real database."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ByteSize

from orchestrator.adapters.sqlite_store import SqliteSessionStore
from orchestrator.core.catalog import CatalogRecord
from orchestrator.core.ids import InstanceId, SessionId
from orchestrator.core.recording import RecordingStatus
from orchestrator.recording_settings import RecordingSettings
from orchestrator.service.keeping import Keeping
from orchestrator.service.stored_recordings import ChunkPlace
from tests.fakes.assembly import assembly
from tests.fakes.clock import START, FakeClock
from tests.fakes.kept_recordings import Kept, id_of, stored_size
from tests.fakes.recordings import make_key_ring, write_recording
from tests.orchestrator.web.world import until
from vault.adapters.dir_store import DirChunkStore
from vault.core.ids import RecordingId as StoredId


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


@asynccontextmanager
async def real(
    tmp_path: Path, settings: RecordingSettings
) -> AsyncIterator[tuple[Keeping, SqliteSessionStore]]:
    """Give keeping over a directory and a SQLite file, with four recordings, a day between their ends."""
    keys, chunks, clock = make_key_ring(), DirChunkStore(tmp_path / "recordings"), FakeClock()
    store = SqliteSessionStore(tmp_path / "store.db", clock=clock, instance_id=InstanceId("me"))
    await store.open()
    place = ChunkPlace(chunks=chunks, url="file:///store", open_keys=lambda: keys, make_keys=lambda: keys)
    async with assembly() as running:
        keeping = Keeping(
            catalog=store.catalog,
            sessions=running.sessions,
            place=place,
            clock=clock,
            settings=settings,
            forget=lambda recording_id: None,
        )
        for day in range(4):
            write_recording(chunks, keys, recording_id=StoredId(id_of(day)))
            record = CatalogRecord(
                recording_id=id_of(day), session_id=SessionId("s"), status=RecordingStatus.COMPLETED
            )
            await store.catalog.save(record, ended_at=START - timedelta(days=4 - day))
        yield keeping, store
        keeping.close()
    await store.close()


def sizes(tmp_path: Path) -> dict[str, int]:
    """Give what is on the disk, by recording."""
    found: Counter[str] = Counter()
    for path in (tmp_path / "recordings").rglob("*"):
        if path.is_file():
            found[path.relative_to(tmp_path / "recordings").parts[0]] += path.stat().st_size
    return dict(found)


async def test_retention_frees_a_real_disk(tmp_path: Path) -> None:
    async with real(tmp_path, RecordingSettings(retention_days=2.5)) as (keeping, store):
        await keeping.quota.look()
        assert keeping.quota.usage.used_bytes == sum(sizes(tmp_path).values())
        await keeping.custodian.hold(id_of(0), by="legal", reason="case")
        assert await keeping.retention.sweep() == 1
        await keeping.custodian.sweep()
        assert set(sizes(tmp_path)) == {id_of(0), id_of(2), id_of(3)}
        await keeping.quota.look()
        assert keeping.quota.usage.counts == {"completed": 3, "deleted": 1}
        events = (await store.feed_after(0, session_id=None, limit=9)).events
        assert [(event.name, b'"cause":"retention"' in event.data) for event in events] == [
            ("recording_deleted", True)
        ]


@pytest.mark.parametrize(("policy", "left"), [("refuse", 4), ("delete_oldest", 2)])
async def test_a_quota_frees_a_real_disk_only_if_that_is_wanted(
    tmp_path: Path, policy: str, left: int
) -> None:
    settings = RecordingSettings(disk_quota=ByteSize(stored_size() * 5 // 2), quota_policy=policy)  # type: ignore[arg-type]
    async with real(tmp_path, settings) as (keeping, _):
        await keeping.quota.look()
        assert keeping.quota.refusal()
        await keeping.custodian.sweep()
        assert set(sizes(tmp_path)) == {id_of(day) for day in range(4 - left, 4)}
        await keeping.quota.look()
        assert bool(keeping.quota.refusal()) is (policy == "refuse")
