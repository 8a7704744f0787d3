"""Uploads that nobody closes: closed once their sender is silent for too long, and not a moment before."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from orchestrator.core.catalog import UPLOAD, CatalogRecord
from orchestrator.core.errors import IllegalTransitionError
from orchestrator.core.ids import RecordingId, SessionId
from orchestrator.core.recording import RecordingStatus
from orchestrator.recording_settings import RecordingSettings
from orchestrator.service.new_session import NewSession
from tests.fakes.assembly import assembly
from tests.fakes.kept_recordings import Kept, id_of
from vault.core.ids import RecordingId as StoredId
from vault.errors import StoreError
from vault.verification import check_recording

S = RecordingStatus
HOUR = RecordingSettings(upload_idle_s=3600, retention_days=1)


@pytest.fixture
async def kept() -> AsyncIterator[Kept]:
    async with assembly() as running:
        kept = Kept(running=running, settings=HOUR)
        yield kept
        kept.keeping.close()


async def send(kept: Kept, number: int, index: int = 0) -> RecordingId:
    created = await kept.running.sessions.create(NewSession(user_identity="anna", required_services=()))
    recording_id = id_of(number)
    known = None
    if index:
        known = (await kept.catalog.entry(recording_id)).record.session_id
    await kept.keeping.uploads.put(known or created.session.id, recording_id, index, b"bytes")
    return recording_id


async def test_what_was_sent_is_completed_retained_and_deleted_at_last(kept: Kept) -> None:
    recording_id = await send(kept, 1)
    kept.running.clock.advance(3601)
    assert await kept.keeping.idle_uploads.sweep() == 1
    entry = await kept.catalog.entry(recording_id)
    assert (entry.status, entry.ended_at) == (S.COMPLETED, kept.running.clock.now())
    assert entry.record.detail == "nobody closed it: no chunk came for 3601 s"
    stored = StoredId(recording_id)
    checked = check_recording(kept.chunks.files(stored), kept.keys.public_key, recording_id=stored)
    assert checked.report.exit_code == 0
    assert (await kept.keeping.uploads.finish(recording_id)).manifest.root  # its sender is told the same
    with pytest.raises(IllegalTransitionError, match="takes no more chunks"):
        await send(kept, 1, index=1)
    kept.running.clock.advance(86_401)
    assert await kept.keeping.retention.sweep() == 1
    await kept.custodian.sweep()
    assert not kept.files(recording_id)


async def test_without_the_sweep_it_would_run_for_ever(kept: Kept) -> None:
    recording_id = await send(kept, 1)
    kept.running.clock.advance(365 * 86_400)
    assert await kept.keeping.retention.sweep() == 0
    with pytest.raises(IllegalTransitionError, match="close it"):
        await kept.custodian.delete(recording_id, by="anna")


async def test_each_chunk_begins_the_time_anew(kept: Kept) -> None:
    recording_id = await send(kept, 1)
    for index in (1, 2, 3):
        kept.running.clock.advance(3599)
        assert await kept.keeping.idle_uploads.sweep() == 0
        await send(kept, 1, index)
    again = kept.restarted()  # when the last one came is not forgotten
    kept.running.clock.advance(3599)
    assert await again.keeping.idle_uploads.sweep() == 0
    kept.running.clock.advance(2)
    assert await again.keeping.idle_uploads.sweep() == 1
    assert (await kept.catalog.entry(recording_id)).status is S.COMPLETED
    again.keeping.close()


async def test_a_chunk_that_came_after_the_look_keeps_it_open(kept: Kept) -> None:
    recording_id = await send(kept, 1)
    kept.running.clock.advance(3601)
    since = kept.running.clock.now()
    await send(kept, 1, index=1)
    assert not await kept.keeping.uploads.close_idle(recording_id, since=since)
    assert (await kept.catalog.entry(recording_id)).status is S.RECORDING


async def test_recordings_of_recorders_are_not_closed(kept: Kept) -> None:
    running = await kept.record(1, status=S.RECORDING)
    kept.running.clock.advance(7200)
    assert await kept.keeping.idle_uploads.sweep() == 0
    assert (await kept.catalog.entry(running)).status is S.RECORDING


async def test_one_that_cannot_be_closed_does_not_keep_the_others(kept: Kept) -> None:
    damaged, good = await send(kept, 2), await send(kept, 1)
    name = next(name for name in kept.files(damaged) if "chunk-" in name)
    files = kept.files(damaged)
    files[name] = bytes([files[name][0] ^ 1]) + files[name][1:]
    kept.running.clock.advance(3601)
    assert await kept.keeping.idle_uploads.sweep() == 1
    assert (await kept.catalog.entry(good)).status is S.COMPLETED
    assert (await kept.catalog.entry(damaged)).status is S.FAILED


async def test_a_store_that_is_away_is_asked_again(kept: Kept) -> None:
    recording_id = await send(kept, 1)
    kept.running.clock.advance(3601)

    def away(name: str) -> None:
        raise StoreError("no answer")

    kept.chunks.before_put = away
    assert await kept.keeping.idle_uploads.sweep() == 0
    kept.chunks.before_put = lambda name: None
    assert await kept.keeping.idle_uploads.sweep() == 1
    assert (await kept.catalog.entry(recording_id)).status is S.COMPLETED


async def test_one_whose_first_chunk_was_never_stored_has_failed(kept: Kept) -> None:
    record = CatalogRecord(recording_id=id_of(1), session_id=SessionId("s"), status=S.RECORDING, mode=UPLOAD)
    await kept.catalog.save(record)
    kept.running.clock.advance(3601)
    await kept.keeping.idle_uploads.sweep()
    entry = await kept.catalog.entry(id_of(1))
    assert (entry.status, entry.record.detail) == (S.FAILED, "nobody closed it: no chunk came for 3601 s")
