"""What comes into a deleted recording is removed again; what is held or was never deleted is not."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from orchestrator.core.errors import CustodyError
from orchestrator.core.ids import RecordingId
from tests.fakes.assembly import assembly
from tests.fakes.kept_recordings import Kept
from vault.core.ids import RecordingId as StoredId
from vault.custody import place_hold
from vault.errors import StoreError


@pytest.fixture
async def kept() -> AsyncIterator[Kept]:
    async with assembly() as running:
        kept = Kept(running=running)
        yield kept
        kept.keeping.close()


async def deleted(kept: Kept, number: int) -> tuple[RecordingId, dict[str, bytes]]:
    """Delete a recording; gives what it had."""
    recording_id = await kept.record(number)
    files = dict(kept.files(recording_id))
    await kept.custodian.delete(recording_id, by="anna")
    await kept.custodian.sweep()
    assert not kept.files(recording_id)
    return recording_id, files


def put(kept: Kept, recording_id: RecordingId, files: dict[str, bytes]) -> None:
    """Put files as a recorder does that does not know of the deletion."""
    for name, data in files.items():
        kept.chunks.put(StoredId(recording_id), name, data)


def only(files: dict[str, bytes], *words: str) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if any(word in name for word in words)}


@pytest.mark.parametrize(
    "words",
    [("chunk-",), ("chunk-", "checkpoint-"), ("key-record-", "chunk-"), ("manifest",), ("",)],
    ids=["chunks", "with checkpoints", "with a key", "a manifest", "everything"],
)
async def test_what_a_recorder_puts_after_the_deletion_goes_too(kept: Kept, words: tuple[str, ...]) -> None:
    recording_id, files = await deleted(kept, 1)
    late = only(files, *words)
    assert late
    put(kept, recording_id, late)
    await kept.custodian.sweep()
    assert kept.files(recording_id) == late  # nothing else removes it
    assert await kept.keeping.remains.sweep() == len(late)
    assert not kept.files(recording_id)
    assert await kept.keeping.remains.sweep() == 0


async def test_what_is_not_deleted_is_not_touched(kept: Kept) -> None:
    stays = await kept.record(1)
    before = dict(kept.files(stays))
    unknown = StoredId("99999999-0b0a-4908-8706-050403020100")
    kept.chunks.put(unknown, "1/chunk-0000000000", b"x")
    assert await kept.keeping.remains.sweep() == 0
    assert kept.files(stays) == before
    assert kept.chunks.recordings[unknown]


async def test_a_copy_that_was_put_back_under_a_hold_stays(kept: Kept) -> None:
    held, files = await deleted(kept, 1)
    other, others = await deleted(kept, 2)
    put(kept, held, files)
    put(kept, other, only(others, "chunk-"))
    place_hold(kept.chunks, kept.keys, recording_id=StoredId(held), by="legal", reason="case", at_us=1)
    assert await kept.keeping.remains.sweep() == len(only(others, "chunk-"))  # one does not keep the other
    assert files.items() <= kept.files(held).items()


async def test_a_hold_beside_chunks_alone_counts_as_well(kept: Kept) -> None:
    recording_id, files = await deleted(kept, 1)
    late = only(files, "chunk-")
    put(kept, recording_id, late)
    place_hold(
        kept.chunks, kept.keys, recording_id=StoredId(recording_id), by="legal", reason="case", at_us=1
    )
    assert await kept.keeping.remains.sweep() == 0
    assert late.items() <= kept.files(recording_id).items()


async def test_a_store_that_is_away_is_said_and_asked_again(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording_id, files = await deleted(kept, 1)
    put(kept, recording_id, only(files, "chunk-"))

    def away() -> list[StoredId]:
        raise StoreError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(kept.chunks, "list_recordings", away)
        with pytest.raises(CustodyError, match="does not answer"):
            await kept.keeping.remains.sweep()
    assert await kept.keeping.remains.sweep() == len(only(files, "chunk-"))
