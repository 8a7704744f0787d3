"""Adoption: what our key signed and the catalog does not know is entered once, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.core.catalog import CatalogEntry
from orchestrator.core.recording import RecordingStatus
from orchestrator.service.new_session import NewSession
from tests.fakes.assembly import assembly
from tests.fakes.kept_recordings import STORE, Kept, id_of
from tests.fakes.recordings import (
    WALL_START_US,
    make_key_ring,
    open_writer,
    write_recording,
    write_seconds,
)
from vault.core.ids import RecordingId as StoredId
from vault.custody import place_hold
from vault.errors import StoreError

S = RecordingStatus
STARTED = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=WALL_START_US)


@pytest.fixture
async def kept() -> AsyncIterator[Kept]:
    async with assembly() as running:
        kept = Kept(running=running)
        yield kept
        kept.keeping.close()


def stored(number: int) -> StoredId:
    return StoredId(id_of(number))


async def entry(kept: Kept, number: int) -> CatalogEntry:
    return await kept.catalog.entry(id_of(number))


async def test_a_complete_recording_is_entered_as_its_manifest_says(kept: Kept) -> None:
    manifest = write_recording(kept.chunks, kept.keys, recording_id=stored(1))
    assert await kept.keeping.adoption.look() == 1
    assert await kept.keeping.adoption.look() == 0
    found = await entry(kept, 1)
    assert (found.status, found.record.session_id, found.record.mode) == (
        S.COMPLETED,
        "session-1",
        "passthrough",
    )
    assert [(c.size, c.root) for c in found.record.checkpoints] == [
        (a.size, a.root) for a in manifest.attempts
    ]
    assert (found.started_at, found.ended_at) == (STARTED, STARTED + timedelta(seconds=3))
    assert (found.record.store, found.record.stats["duration_s"]) == (STORE, 3.0)
    await kept.keeping.quota.look()
    assert (await entry(kept, 1)).used_bytes == sum(map(len, kept.files(id_of(1)).values()))


async def test_what_a_killed_recorder_left_is_entered_as_failed_and_can_be_deleted(kept: Kept) -> None:
    writer = open_writer(kept.chunks, kept.keys, recording_id=stored(1))
    write_seconds(writer)
    checkpoint = writer.checkpoint()
    assert checkpoint is not None
    assert await kept.keeping.adoption.look() == 1
    found = await entry(kept, 1)
    assert (found.status, found.ended_at) == (S.FAILED, kept.running.clock.now())
    assert "without a manifest" in found.record.detail
    assert [c.size for c in found.record.checkpoints] == [checkpoint.head.size]
    await kept.custodian.delete(id_of(1), by="anna")
    await kept.custodian.sweep()
    assert kept.files(id_of(1)) == {}
    assert await kept.events() == ["recording_deleted"]  # though no session here knows it


async def test_a_hold_comes_with_its_recording(kept: Kept) -> None:
    write_recording(kept.chunks, kept.keys, recording_id=stored(1))
    place_hold(
        kept.chunks, kept.keys, recording_id=stored(1), by="legal", reason="case 7", at_us=WALL_START_US
    )
    await kept.keeping.adoption.look()
    hold = (await entry(kept, 1)).custody.hold
    assert hold is not None
    assert (hold.by, hold.reason, hold.since) == ("legal", "case 7", STARTED)


async def test_what_is_not_ours_or_nothing_is_left_alone(kept: Kept) -> None:
    write_recording(kept.chunks, make_key_ring(5), recording_id=stored(1))  # another's key
    write_recording(kept.chunks, kept.keys, recording_id=stored(2))
    kept.files(id_of(2))["manifest"] = b"damaged"
    open_writer(kept.chunks, kept.keys, recording_id=stored(3))  # nothing acknowledged
    kept.chunks.recordings[stored(4)] = {}
    write_recording(kept.chunks, kept.keys, recording_id=stored(5))
    assert await kept.keeping.adoption.look() == 1
    assert [e.id for e in (await kept.catalog.entries(limit=9)).entries] == [id_of(5)]


async def test_what_is_known_stays_as_it_is(kept: Kept) -> None:
    runs = await kept.record(1, status=S.RECORDING)
    gone = await kept.record(2)
    await kept.custodian.delete(gone, by="anna")
    before = [(await entry(kept, number)) for number in (1, 2)]
    assert await kept.keeping.adoption.look() == 0
    assert [(await entry(kept, number)) for number in (1, 2)] == before
    assert (await kept.catalog.entry(runs)).status is S.RECORDING


async def test_open_sessions_of_a_version_without_a_catalog_are_entered(kept: Kept) -> None:
    created = await kept.running.sessions.create(
        NewSession(user_identity="anna", required_services=(), record=True)
    )
    session = await kept.running.now(created.session.id)
    assert session.recording is not None
    await kept.catalog.forget(session.recording.recording_id)
    await kept.keeping.adoption.look()
    found = await kept.catalog.entry(session.recording.recording_id)
    assert (found.status, found.ended_at) == (S.STARTING, None)


async def test_a_store_that_is_away_is_asked_again(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.service.adoption._AGAIN_S", 0.01)
    write_recording(kept.chunks, kept.keys, recording_id=stored(1))
    listed, asked = kept.chunks.list_recordings, []

    def away() -> list[StoredId]:
        asked.append(True)
        if len(asked) < 3:
            raise StoreError("no answer")
        return listed()

    kept.chunks.list_recordings = away  # type: ignore[method-assign]
    await kept.keeping.adoption.run()
    assert len(asked) == 3
    assert (await entry(kept, 1)).status is S.COMPLETED
