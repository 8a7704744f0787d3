"""Uploads over the service: entered as they are acknowledged, bounded in memory, closed, deleted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from pydantic import ByteSize

from orchestrator.core.errors import (
    IllegalTransitionError,
    QuotaExceededError,
    RecordingNotFoundError,
    SessionNotFoundError,
)
from orchestrator.core.ids import SessionId
from orchestrator.core.recording import RecordingStatus
from orchestrator.recording_settings import RecordingSettings
from orchestrator.service import uploads as uploads_module
from orchestrator.service.new_session import NewSession
from tests.fakes.assembly import assembly
from tests.fakes.kept_recordings import Kept, id_of
from vault.core.ids import RecordingId as StoredId
from vault.errors import IntegrityError, StoreError
from vault.uploads import Place
from vault.verification import check_recording

S = RecordingStatus


@pytest.fixture
async def kept() -> AsyncIterator[Kept]:
    async with assembly() as running:
        kept = Kept(running=running)
        yield kept
        kept.keeping.close()


async def session_of(kept: Kept) -> SessionId:
    created = await kept.running.sessions.create(NewSession(user_identity="anna", required_services=()))
    return (await kept.running.now(created.session.id)).id


async def test_an_upload_is_entered_as_it_is_acknowledged_and_closed(kept: Kept) -> None:
    session_id, uploads = await session_of(kept), kept.keeping.uploads
    first = await uploads.put(session_id, None, 0, b"zero")
    recording_id = first.entry.id
    await uploads.put(session_id, recording_id, 1, b"one")
    again = await uploads.put(session_id, recording_id, 1, b"one")
    assert not again.part.is_new
    entry = await kept.catalog.entry(recording_id)
    assert (entry.status, entry.record.mode, entry.record.session_id) == (S.RECORDING, "upload", session_id)
    assert [(c.attempt, c.size) for c in entry.record.checkpoints] == [(1, 3)]
    assert entry.record.stats == {"bytes": 7.0, "chunks": 2.0}
    assert await uploads.read(recording_id, 1, 2) == b"one"
    proven = await uploads.finish(recording_id)
    assert await uploads.finish(recording_id) == proven
    entry = await kept.catalog.entry(recording_id)
    assert (entry.status, entry.ended_at) == (S.COMPLETED, kept.running.clock.now())
    assert [(c.size, c.root, c.is_closed) for c in entry.record.checkpoints] == [
        (4, proven.manifest.attempts[0].root, True)
    ]
    stored = StoredId(recording_id)
    checked = check_recording(kept.chunks.files(stored), kept.keys.public_key, recording_id=stored)
    assert checked.report.exit_code == 0
    assert proven.notes[1].startswith(f"greenroom/recording/{recording_id}/1\n4\n")


async def test_what_an_upload_refuses(kept: Kept) -> None:
    session_id, uploads = await session_of(kept), kept.keeping.uploads
    with pytest.raises(SessionNotFoundError):
        await uploads.put(SessionId("nobody"), id_of(1), 0, b"x")
    with pytest.raises(RecordingNotFoundError):
        await uploads.finish(id_of(1))
    await uploads.put(session_id, id_of(1), 0, b"x")
    with pytest.raises(IllegalTransitionError, match="holds other bytes"):
        await uploads.put(session_id, id_of(1), 0, b"y")
    with pytest.raises(IllegalTransitionError, match="is no upload of session other"):
        await uploads.put(SessionId("other"), id_of(1), 1, b"x")
    made = await kept.record(2, status=S.RECORDING)
    with pytest.raises(IllegalTransitionError, match="is no upload of session"):
        await uploads.put(session_id, made, 0, b"x")
    with pytest.raises(IllegalTransitionError, match="its recorder closes it: stop it first"):
        await uploads.finish(made)
    with pytest.raises(IllegalTransitionError, match=r"close it \(POST …/storage/merkle\)"):
        await kept.custodian.delete(id_of(1), by="anna")
    await uploads.finish(id_of(1))
    with pytest.raises(IllegalTransitionError, match="takes no more chunks"):
        await uploads.put(session_id, id_of(1), 1, b"x")
    assert not (await uploads.put(session_id, id_of(1), 0, b"x")).part.is_new
    await kept.custodian.delete(id_of(1), by="anna")
    for _ in range(2):
        with pytest.raises(IllegalTransitionError, match="deleted"):
            await uploads.put(session_id, id_of(1), 0, b"x")
        with pytest.raises(IllegalTransitionError, match="deleted"):
            await uploads.finish(id_of(1))
        await kept.custodian.sweep()
    assert kept.files(id_of(1)) == {}


async def test_after_a_restart_or_a_failure_the_upload_goes_on_under_another_attempt(kept: Kept) -> None:
    session_id = await session_of(kept)
    await kept.keeping.uploads.put(session_id, id_of(1), 0, b"zero")
    again = kept.restarted().keeping.uploads
    assert (await again.put(session_id, id_of(1), 1, b"one")).part.place == Place(2, 1)

    def full(name: str) -> None:
        raise StoreError("full")

    kept.chunks.before_put = full
    with pytest.raises(StoreError):
        await again.put(session_id, id_of(1), 2, b"two")
    kept.chunks.before_put = lambda name: None
    assert (await again.put(session_id, id_of(1), 2, b"two")).part.place == Place(3, 1)
    entry = await kept.catalog.entry(id_of(1))
    assert [(c.attempt, c.size) for c in entry.record.checkpoints] == [(1, 2), (2, 2), (3, 2)]
    proven = await again.finish(id_of(1))
    assert [a.attempt for a in proven.manifest.attempts] == [1, 2, 3]
    again.close()


async def test_chunks_that_come_together_are_all_stored_and_none_twice(kept: Kept) -> None:
    session_id, uploads = await session_of(kept), kept.keeping.uploads
    results = await asyncio.gather(
        *(uploads.put(session_id, id_of(1), index % 10, b"%d" % (index % 10)) for index in range(30))
    )
    assert sum(result.part.is_new for result in results) == 10
    assert len({result.part.place for result in results}) == 10
    entry = await kept.catalog.entry(id_of(1))
    assert [(c.attempt, c.size) for c in entry.record.checkpoints] == [(1, 11)]


async def test_what_is_kept_in_memory_is_bounded(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads_module, "MAX_OPEN", 2)
    session_id, uploads = await session_of(kept), kept.keeping.uploads
    for number in (1, 2, 3, 1):
        await uploads.put(session_id, id_of(number), number, b"x")
    assert len(uploads._opened) == 2
    assert not (await uploads.put(session_id, id_of(2), 2, b"x")).part.is_new
    await uploads.finish(id_of(1))
    assert (await kept.catalog.entry(id_of(1))).status is S.COMPLETED


async def test_an_upload_that_is_damaged_fails_and_can_be_deleted(kept: Kept) -> None:
    session_id, uploads = await session_of(kept), kept.keeping.uploads
    await uploads.put(session_id, id_of(1), 0, b"x")
    kept.files(id_of(1))["1/chunk-0000000001"] = b"damaged"
    with pytest.raises(IntegrityError):
        await kept.restarted().keeping.uploads.finish(id_of(1))
    entry = await kept.catalog.entry(id_of(1))
    assert entry.status is S.FAILED
    assert "1/chunk-0000000001" in entry.record.detail
    await kept.custodian.delete(id_of(1), by="anna")
    await kept.custodian.sweep()
    assert kept.files(id_of(1)) == {}


async def test_an_upload_whose_first_chunk_was_never_stored_is_failed_and_no_longer_in_the_way(
    kept: Kept,
) -> None:
    session_id, uploads = await session_of(kept), kept.keeping.uploads

    def full(name: str) -> None:
        raise StoreError("full")

    kept.chunks.before_put = full
    with pytest.raises(StoreError):
        await uploads.put(session_id, id_of(1), 0, b"zero")
    with pytest.raises(IllegalTransitionError, match="holds no chunk; it is failed now"):
        await uploads.finish(id_of(1))
    assert (await kept.catalog.entry(id_of(1))).status is S.FAILED
    await kept.custodian.delete(id_of(1), by="anna")


async def test_over_the_quota_no_upload_begins_and_those_that_run_go_on() -> None:
    async with assembly() as running:
        kept = Kept(running=running, settings=RecordingSettings(disk_quota=ByteSize(100)))
        session_id, uploads = await session_of(kept), kept.keeping.uploads
        await uploads.put(session_id, id_of(1), 0, bytes(101))
        await kept.keeping.quota.look()
        await uploads.put(session_id, id_of(1), 1, b"x")
        with pytest.raises(QuotaExceededError):
            await uploads.put(session_id, id_of(2), 0, b"x")
        kept.keeping.close()
