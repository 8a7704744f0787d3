"""Recordings on a real directory: held, measured, deleted; damage and foreign names are left alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.core.catalog import CatalogEntry, CatalogRecord, Custody, Deletion, Hold
from orchestrator.core.errors import IllegalTransitionError, RecordingHeldError, SettingsError
from orchestrator.core.ids import RecordingId, SessionId
from orchestrator.core.recording import RecordingStatus
from orchestrator.service.stored_recordings import ChunkPlace, StoredRecordings, open_chunk_place
from tests.fakes.clock import START, FakeClock
from tests.fakes.recordings import RECORDING, make_key_ring, write_recording
from vault.adapters.dir_store import DirChunkStore

KEYS = make_key_ring()
HOLD = Hold(by="legal", reason="case 7", since=START + timedelta(seconds=3))
DELETION = Deletion(cause="asked", by="anna", asked_at=START)


@pytest.fixture
async def stored(tmp_path: Path) -> AsyncIterator[StoredRecordings]:
    chunks = DirChunkStore(tmp_path)
    place = ChunkPlace(chunks=chunks, url=tmp_path.as_uri(), open_keys=lambda: KEYS, make_keys=lambda: KEYS)
    made = StoredRecordings(place=place, clock=FakeClock())
    yield made
    made.close()


def entry(recording_id: str = RECORDING, store: str = "") -> CatalogEntry:
    record = CatalogRecord(
        recording_id=RecordingId(recording_id),
        session_id=SessionId("s1"),
        status=RecordingStatus.COMPLETED,
        store=store,
    )
    return CatalogEntry(number=1, record=record, custody=Custody(), started_at=START, ended_at=START)


async def test_a_recording_is_held_measured_released_and_deleted(
    stored: StoredRecordings, tmp_path: Path
) -> None:
    write_recording(DirChunkStore(tmp_path), KEYS)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert await stored.bytes_of(entry()) == sum(path.stat().st_size for path in files)
    assert await stored.hold_of(entry()) is None
    await stored.place_hold(entry(), HOLD)
    assert await stored.hold_of(entry(store=stored.url)) == HOLD
    with pytest.raises(RecordingHeldError):
        await stored.delete(entry(), DELETION)
    assert all(path.exists() for path in files)
    await stored.release_hold(entry(), by="legal", reason="closed")
    assert await stored.hold_of(entry()) is None
    await stored.delete(entry(), DELETION)
    await stored.delete(entry(), DELETION)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_what_was_never_stored_is_nothing(stored: StoredRecordings) -> None:
    for one in (entry(), entry("rec1"), entry("../../etc")):
        await stored.place_hold(one, HOLD)
        assert await stored.hold_of(one) is None
        assert await stored.bytes_of(one) == 0
        await stored.delete(one, DELETION)


async def test_a_recording_of_another_key_is_not_ours_to_destroy(
    stored: StoredRecordings, tmp_path: Path
) -> None:
    write_recording(DirChunkStore(tmp_path), make_key_ring(7))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(IllegalTransitionError, match="is left as it is: "):
        await stored.delete(entry(), DELETION)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_chunk_store_that_cannot_be_used_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SettingsError, match=r"chunk_store cannot be used: .*set AWS_ACCESS_KEY_ID"):
        open_chunk_place("s3://bucket/prefix", open_keys=lambda: KEYS, make_keys=lambda: KEYS)
