"""Holding and deleting recordings: decided durably, finished after a crash, refused while somebody holds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from orchestrator.core.errors import (
    CustodyError,
    IllegalTransitionError,
    RecordingHeldError,
    RecordingNotFoundError,
)
from orchestrator.core.ids import RecordingId
from orchestrator.core.recording import RecordingStatus
from orchestrator.core.triggers import RecordingControlAsked
from orchestrator.service.new_session import NewSession
from tests.fakes.assembly import assembly
from tests.fakes.kept_recordings import Kept, id_of
from vault.core.ids import RecordingId as StoredId
from vault.custody import is_held, place_hold
from vault.errors import StoreError

S = RecordingStatus


@pytest.fixture
async def kept() -> AsyncIterator[Kept]:
    async with assembly() as running:
        kept = Kept(running=running)
        yield kept
        kept.keeping.close()


def stop_the_store(kept: Kept, after: int) -> None:
    """Let the store fail for good at the ``after``-th removal of a file."""
    count, delete = 0, type(kept.chunks).delete

    def failing(recording_id: StoredId, name: str) -> None:
        nonlocal count
        count += 1
        if count > after:
            raise StoreError("it is away")
        delete(kept.chunks, recording_id, name)

    kept.chunks.delete = failing  # type: ignore[method-assign]


async def test_a_deletion_is_decided_durably_and_then_done(kept: Kept) -> None:
    recording_id = await kept.record()
    asked = await kept.custodian.delete(recording_id, by="anna")
    assert asked.custody.is_being_deleted
    assert kept.files(recording_id)
    again = await kept.custodian.delete(recording_id, by="bob")
    assert again.custody.deletion == asked.custody.deletion
    await kept.custodian.sweep()
    entry = await kept.catalog.entry(recording_id)
    assert kept.files(recording_id) == {}
    assert (entry.status, entry.used_bytes) == (S.DELETED, 0)
    assert entry.record.checkpoints  # the proof's heads stay
    assert entry.custody.deletion is not None
    assert (entry.custody.deletion.by, entry.custody.deletion.cause) == ("anna", "asked")
    assert kept.forgotten == [recording_id]
    assert await kept.events() == ["recording_deleted"]
    await kept.custodian.delete(recording_id, by="anna")
    await kept.custodian.sweep()
    assert await kept.events() == ["recording_deleted"]


async def test_a_purge_takes_the_row_too_also_of_what_is_deleted(kept: Kept) -> None:
    first, second = await kept.record(1), await kept.record(2)
    await kept.custodian.delete(first, by="anna", is_purge=True)
    await kept.custodian.delete(second, by="anna")
    await kept.custodian.sweep()
    with pytest.raises(RecordingNotFoundError):
        await kept.catalog.entry(first)
    await kept.custodian.delete(second, by="anna", is_purge=True)
    await kept.custodian.sweep()
    with pytest.raises(RecordingNotFoundError):
        await kept.catalog.entry(second)
    assert not kept.files(first)
    assert not kept.files(second)


async def test_a_deletion_that_was_cut_short_anywhere_is_finished_by_the_next_start(kept: Kept) -> None:
    # Every removal of a file is a place to die at; the control below shows that such a death leaves files.
    for cut in range(1, 30):
        recording_id = await kept.record(cut)
        files = len(kept.files(recording_id))
        await kept.custodian.delete(recording_id, by="anna")
        stop_the_store(kept, after=cut)
        await kept.custodian.sweep()
        del kept.chunks.delete
        left = kept.files(recording_id)
        entry = await kept.catalog.entry(recording_id)
        assert entry.custody.deletion is not None
        if cut <= files:
            assert left
            assert entry.custody.is_being_deleted
            assert "it is away" in entry.custody.deletion.detail
            assert not any("key-record" in name for name in left) or cut < 2
        await kept.restarted().custodian.sweep()
        assert kept.files(recording_id) == {}
        entry = await kept.catalog.entry(recording_id)
        assert entry.custody.is_deleted
        assert entry.custody.deletion is not None
        assert entry.custody.deletion.detail == ""
    assert set(await kept.events()) == {"recording_deleted"}


async def test_a_session_is_told_once_and_before_the_catalog(kept: Kept) -> None:
    running = kept.running
    created = await running.sessions.create(
        NewSession(user_identity="anna", required_services=(), record=True)
    )
    session = await running.now(created.session.id)
    assert session.recording is not None
    await running.sessions.apply(session.id, RecordingControlAsked(op="stop"))
    recording_id = session.recording.recording_id
    assert (await kept.catalog.entry(recording_id)).status is S.FAILED
    await kept.custodian.delete(recording_id, by="anna")
    # The catalog refuses the last step, as after a crash in between.
    save, calls = kept.catalog.save_custody, 0

    async def failing(*args: object, **named: object) -> None:
        nonlocal calls
        calls += 1
        raise CustodyError("the catalog is away")

    kept.catalog.save_custody = failing  # type: ignore[method-assign]
    await kept.custodian.sweep()
    kept.catalog.save_custody = save  # type: ignore[method-assign]
    assert calls
    session = await running.now(session.id)
    assert session.recording is not None
    assert session.recording.status is S.DELETED
    await kept.restarted().custodian.sweep()
    assert (await kept.catalog.entry(recording_id)).custody.is_deleted
    assert (await kept.events()).count("recording_deleted") == 1


async def test_what_is_still_made_is_not_deleted(kept: Kept) -> None:
    recording_id = await kept.record(status=S.RECORDING)
    with pytest.raises(IllegalTransitionError, match="stop it and wait until it is completed"):
        await kept.custodian.delete(recording_id, by="anna")
    with pytest.raises(RecordingNotFoundError):
        await kept.custodian.delete(id_of(9), by="anna")


async def test_a_hold_stands_in_the_catalog_and_beside_the_recording(kept: Kept) -> None:
    recording_id = await kept.record()
    entry = await kept.custodian.hold(recording_id, by="legal", reason="case 7")
    again = await kept.custodian.hold(recording_id, by="bob", reason="another")
    assert entry.custody.hold == again.custody.hold
    files = kept.chunks.files(StoredId(recording_id))
    assert is_held(files, kept.keys.public_key, recording_id=StoredId(recording_id))
    with pytest.raises(RecordingHeldError, match=r"by 'legal' since .* \(case 7\)"):
        await kept.custodian.delete(recording_id, by="anna")
    await kept.custodian.release(recording_id, by="legal", reason="case closed")
    await kept.custodian.release(recording_id, by="legal", reason="case closed")
    assert not is_held(files, kept.keys.public_key, recording_id=StoredId(recording_id))
    await kept.custodian.delete(recording_id, by="anna")
    await kept.custodian.sweep()
    assert kept.files(recording_id) == {}
    with pytest.raises(IllegalTransitionError, match="is deleted; it cannot be held any more"):
        await kept.custodian.hold(recording_id, by="legal", reason="too late")


def held_by_hand(kept: Kept, recording_id: RecordingId) -> None:
    stored = StoredId(recording_id)
    place_hold(
        kept.chunks, kept.keys, recording_id=stored, by="cli", reason="case 9", at_us=1_800_000_000_000_000
    )


async def test_a_hold_that_another_program_placed_counts_and_is_taken_over(kept: Kept) -> None:
    recording_id = await kept.record()
    held_by_hand(kept, recording_id)
    with pytest.raises(RecordingHeldError, match=r"by 'cli' since 2027-.* \(case 9\)"):
        await kept.custodian.delete(recording_id, by="anna")
    hold = (await kept.catalog.entry(recording_id)).custody.hold
    assert hold is not None
    assert hold.by == "cli"


async def test_a_hold_that_comes_after_the_intent_ends_the_deletion(kept: Kept) -> None:
    recording_id = await kept.record()
    await kept.custodian.delete(recording_id, by="anna")
    with pytest.raises(IllegalTransitionError, match="is being deleted"):
        await kept.custodian.hold(recording_id, by="legal", reason="late")
    held_by_hand(kept, recording_id)
    before = dict(kept.files(recording_id))
    await kept.custodian.sweep()
    custody = (await kept.catalog.entry(recording_id)).custody
    assert custody.deletion is None
    assert custody.hold is not None
    assert custody.hold.by == "cli"
    assert kept.files(recording_id) == before


async def test_a_running_recording_can_be_held_before_anything_is_stored(kept: Kept) -> None:
    recording_id = await kept.record(status=S.RECORDING, used=0)
    entry = await kept.custodian.hold(recording_id, by="legal", reason="case 7")
    assert entry.custody.hold is not None
    await kept.record(status=S.COMPLETED)  # it was made to its end meanwhile
    await kept.custodian.measure(recording_id)
    stored = StoredId(recording_id)
    assert is_held(kept.chunks.files(stored), kept.keys.public_key, recording_id=stored)
    entry = await kept.catalog.entry(recording_id)
    assert entry.used_bytes == sum(map(len, kept.files(recording_id).values()))


async def test_a_store_that_is_away_refuses_the_deletion_and_names_itself(kept: Kept) -> None:
    recording_id = await kept.record()

    def away(recording_id: StoredId) -> None:
        raise StoreError("no answer")

    kept.chunks.files = away  # type: ignore[method-assign,assignment]
    with pytest.raises(CustodyError, match="chunk_store file:///store does not answer: no answer"):
        await kept.custodian.delete(recording_id, by="anna")
    assert (await kept.catalog.entry(recording_id)).custody.deletion is None


async def test_a_recording_in_another_store_is_left_and_the_store_named(kept: Kept) -> None:
    recording_id = await kept.record(used=7)
    entry = await kept.catalog.entry(recording_id)
    await kept.catalog.save(replace(entry.record, store="file:///elsewhere"))
    with pytest.raises(
        CustodyError, match="lies in file:///elsewhere, and this orchestrator reads file:///store"
    ):
        await kept.custodian.delete(recording_id, by="anna")


async def test_without_its_keys_nothing_is_deleted(kept: Kept) -> None:
    recording_id = await kept.record()
    before = dict(kept.files(recording_id))
    await kept.custodian.delete(recording_id, by="anna")
    other = Kept(running=kept.running, chunks=kept.chunks)
    other.keys = type(kept.keys)(
        kept.keys._directory, keks={}, signing_key=None, public_key=kept.keys.public_key
    )
    await other.custodian.sweep()
    assert kept.files(recording_id) == before
    deletion = (await kept.catalog.entry(recording_id)).custody.deletion
    assert deletion is not None
    assert "the keys ([encryption] key_dir) cannot be used" in deletion.detail


async def test_a_caller_waits_for_the_end_but_not_for_ever(kept: Kept) -> None:
    recording_id = await kept.record()
    await kept.custodian.delete(recording_id, by="anna")
    waited = await kept.custodian.until_deleted(recording_id, 0.01)
    assert waited is not None
    assert waited.custody.is_being_deleted
    await kept.custodian.sweep()
    waited = await kept.custodian.until_deleted(recording_id, 5)
    assert waited is not None
    assert waited.custody.is_deleted
