"""Retention: what is past its time goes, what is held or runs or is young stays, whatever is in the way."""

from __future__ import annotations

from datetime import timedelta

from orchestrator.core.recording import RecordingStatus
from orchestrator.recording_settings import RecordingSettings
from tests.fakes.assembly import assembly
from tests.fakes.clock import START
from tests.fakes.kept_recordings import Kept, id_of
from vault.core.ids import RecordingId as StoredId
from vault.errors import StoreError

WEEK = RecordingSettings(retention_days=7)
S = RecordingStatus


async def test_what_is_past_its_time_is_deleted_and_nothing_else() -> None:
    async with assembly() as running:
        kept = Kept(running=running, settings=WEEK)
        old, held = await kept.record(1), await kept.record(2)
        failed = await kept.record(3, status=S.FAILED)
        runs = await kept.record(4, status=S.RECORDING)
        await kept.custodian.hold(held, by="legal", reason="case")
        assert await kept.keeping.retention.sweep() == 0
        running.clock.advance(6 * 86400)
        young = await kept.record(5)
        running.clock.advance(86400 + 1)
        assert await kept.keeping.retention.sweep() == 2
        assert await kept.keeping.retention.sweep() == 0
        await kept.custodian.sweep()
        for recording_id in (old, failed):
            entry = await kept.catalog.entry(recording_id)
            assert entry.custody.deletion is not None
            assert (entry.status, entry.custody.deletion.cause) == (S.DELETED, "retention")
            assert kept.files(recording_id) == {}
        for recording_id in (held, runs, young):
            assert (await kept.catalog.entry(recording_id)).custody.deletion is None
            assert kept.files(recording_id)
        kept.keeping.close()


async def test_one_that_cannot_go_does_not_keep_the_others() -> None:
    async with assembly() as running:
        kept = Kept(running=running, settings=WEEK)
        for number in range(1, 4):
            await kept.record(number, ended_at=START - timedelta(days=9))
        kept.files(id_of(1))["custody-0000000001"] = b"damaged"  # nobody can tell whether it is held
        assert await kept.keeping.retention.sweep() == 2
        await kept.custodian.sweep()
        assert [bool(kept.files(id_of(number))) for number in (1, 2, 3)] == [True, False, False]
        kept.keeping.close()


async def test_a_store_that_is_away_loses_nothing_and_is_asked_again() -> None:
    async with assembly() as running:
        kept = Kept(running=running, settings=WEEK)
        await kept.record(1, ended_at=START - timedelta(days=9))
        files = kept.chunks.files

        def away(recording_id: StoredId) -> None:
            raise StoreError("no answer")

        kept.chunks.files = away  # type: ignore[method-assign,assignment]
        assert await kept.keeping.retention.sweep() == 0
        kept.chunks.files = files  # type: ignore[method-assign]
        assert await kept.keeping.retention.sweep() == 1
        kept.keeping.close()


async def test_without_a_setting_everything_is_kept() -> None:
    async with assembly() as running:
        kept = Kept(running=running)
        await kept.record(1, ended_at=START - timedelta(days=9000))
        assert await kept.keeping.retention.sweep() == 0
        await kept.keeping.retention.run()  # and ends: there is nothing to do
        kept.keeping.close()
