"""Recordings are opened once, kept within a bound, looked at again, and never read twice at the same time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orchestrator.service import playback as module
from tests.fakes.media import make_video
from tests.fakes.recordings import OTHER_RECORDING, RECORDING
from tests.fakes.stored_recordings import CountingStore, StoredRecordings
from vault.core.ids import RecordingId
from vault.errors import KeyFileError, NotARecordingError

VIDEO = make_video(3)


class Stage:
    """A playback over a folder, with the store's counts and a clock that stands still."""

    def __init__(self, folder: Path) -> None:
        self.stored = StoredRecordings(folder)
        self.stored.write([(1, 0, VIDEO)])
        self.store = CountingStore(folder / "recordings")
        self.now_s = 0.0
        self.playback = self.stored.playback(self.store, monotonic=lambda: self.now_s)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


async def test_a_recording_is_opened_once_for_many_at_the_same_time(stage: Stage) -> None:
    opened = await asyncio.gather(*(stage.playback.open(RECORDING) for _ in range(20)))
    assert len(set(map(id, opened))) == 1
    assert stage.store.read_names["1/chunk-0000000000"] == 1, "the init part was read once"
    assert stage.store.chunks_read == 1, "and no media"


async def test_what_is_asked_for_least_lately_makes_room(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_OPEN", 1)
    stage.stored.write([(1, 0, VIDEO)], recording_id=OTHER_RECORDING)
    first = await stage.playback.open(RECORDING)
    await stage.playback.open(OTHER_RECORDING)
    assert await stage.playback.open(RECORDING) is not first


async def test_the_index_is_bounded_in_chunks_too(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LEAVES", 1)
    stage.stored.write([(1, 0, VIDEO)], recording_id=OTHER_RECORDING)
    first = await stage.playback.open(RECORDING)
    assert await stage.playback.open(RECORDING) is first, "the one in use stays"
    await stage.playback.open(OTHER_RECORDING)
    assert await stage.playback.open(RECORDING) is not first


async def test_what_is_not_there_is_not_kept(stage: Stage) -> None:
    for _ in range(3):
        with pytest.raises(NotARecordingError):
            await stage.playback.open(OTHER_RECORDING)
    assert list(stage.playback._entries) == []
    stage.stored.write([(1, 0, VIDEO)], recording_id=OTHER_RECORDING)
    assert (await stage.playback.open(OTHER_RECORDING)).tracks


async def test_keys_that_come_later_open_it(stage: Stage) -> None:
    public = stage.stored.key_dir / "signing.pub"
    text = public.read_bytes()
    public.unlink()
    with pytest.raises(KeyFileError):
        await stage.playback.open(RECORDING)
    public.write_bytes(text)
    assert (await stage.playback.open(RECORDING)).tracks


async def test_a_recording_that_was_forgotten_is_opened_anew(stage: Stage) -> None:
    first = await stage.playback.open(RECORDING)
    await stage.playback.prove(RECORDING, 1, 0)
    stage.playback.forget(RECORDING)
    assert stage.playback._provers == {}
    assert await stage.playback.open(RECORDING) is not first


async def test_an_unfinished_recording_is_looked_at_again_after_a_second(stage: Stage) -> None:
    growing = RecordingId("0f0e0d0c-0b0a-4908-8706-050403020101")
    stage.stored.write([(1, 0, make_video(2))], recording_id=growing, is_complete=False)
    opened = await stage.playback.open(growing)
    before = opened.leaves
    stage.stored.write([(1, 0, make_video(4))], recording_id=growing, is_complete=False)
    assert (await stage.playback.open(growing)).leaves == before
    stage.now_s += 1.5
    assert (await stage.playback.open(growing)).leaves == before + 2


async def test_segments_are_read_one_after_the_other(stage: Stage) -> None:
    recording = await stage.playback.open(RECORDING)
    run = recording.tracks[0].runs[0]
    media = await stage.playback.read_segments(recording, run, run.segments[1:3])
    assert media == VIDEO.fragments[1].data + VIDEO.fragments[2].data


async def test_the_first_proof_reads_all_chunks_and_the_next_none(stage: Stage) -> None:
    assert await stage.playback.prove(RECORDING, 1, 0)
    read = stage.store.chunks_read
    assert read >= len(VIDEO.fragments)
    assert await stage.playback.prove(RECORDING, 1, 1)
    assert stage.store.chunks_read == read
    assert await stage.playback.prove(RECORDING, 1, 99) is None
    assert await stage.playback.prove(RECORDING, 2, 0) is None


async def test_a_verification_reports(stage: Stage) -> None:
    report = await stage.playback.verify(RECORDING)
    assert module.report_fields(report)["exit_code"] == 0
    with pytest.raises(NotARecordingError):
        await stage.playback.verify(OTHER_RECORDING)
