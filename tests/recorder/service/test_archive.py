"""The stored side: attempts of others are closed where they verify, a manifest is written once."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorder.service.archive import Archive
from tests.fakes.chunk_stores import MemoryChunkStore, MemoryRecording
from tests.fakes.encoders import FakeEncoders
from vault.adapters.key_files import KeyFiles
from vault.core.ids import RecordingId
from vault.core.manifest import Gap
from vault.core.prologue import TrackPrologue
from vault.errors import IntegrityError, StoreError
from vault.ports import RecordingFiles

RECORDING = RecordingId("11111111-2222-4333-8444-555555555555")
WALL_US = 1_795_000_000_000_000


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(MemoryChunkStore(), KeyFiles.create_or_open(tmp_path / "keys"), "memory:")


def leave_behind(archive: Archive, attempt: int, *, seconds: int = 3) -> None:
    """Write an attempt and never close it."""
    wall_start_us = WALL_US + attempt * 10_000_000
    writer = archive.prepare_attempt(RECORDING, attempt=attempt, wall_start_us=wall_start_us)
    writer.begin()
    form = FakeEncoders().audio().format
    prologue = TrackPrologue(kind="audio", codec="opus", mime=form.mime, identity="alice")
    writer.put(writer.seal_init(1, prologue, form.init_part, time_base=form.time_base, offset_us=0))
    for second in range(seconds):
        writer.put(writer.seal(1, b"moof", first_pts=second * 48_000, duration_pts=48_000, has_keyframe=True))
    writer.checkpoint()


def test_only_attempts_before_ones_own_are_closed(archive: Archive) -> None:
    assert archive.close_earlier(RECORDING, before=1) == []
    for attempt in (1, 2, 3):
        leave_behind(archive, attempt)
    closes = archive.close_earlier(RECORDING, before=3)
    assert [(close.attempt, close.size, close.closed) for close in closes] == [
        (1, 4, "recovered"),
        (2, 4, "recovered"),
    ]


def test_what_is_stored_after_a_committed_close_stays_out(archive: Archive) -> None:
    """Its recorder froze, was closed by attempt 2, woke and wrote on; attempt 3 goes on."""
    assert isinstance(archive.store, MemoryChunkStore)
    stored = archive.store.recordings.setdefault(RECORDING, {})
    leave_behind(archive, 1)
    late = {name: data for name, data in stored.items() if name.endswith(("chunk-0000000003", "-0000000004"))}
    for name in late:
        del stored[name]
    committed = archive.close_earlier(RECORDING, before=2)
    stored.update(late)
    leave_behind(archive, 2)
    assert [close.size for close in archive.close_earlier(RECORDING, before=3)] == [4, 4]  # the control
    closes = archive.close_earlier(RECORDING, before=3, committed=committed)
    assert [close.size for close in closes] == [3, 4]
    archive.complete(RECORDING, session_id="s", closes=closes, cut_marks_us=[], capture="decoded")
    assert archive.verify(RECORDING) == ""
    assert "1/chunk-0000000003" not in stored


def test_what_came_too_late_is_removed_once_there_is_a_manifest(archive: Archive) -> None:
    leave_behind(archive, 1)
    assert isinstance(archive.store, MemoryChunkStore)
    stored = archive.store.recordings[RECORDING]
    stored["1/chunk-0000000009"] = b"late"
    archive.remove_late(RECORDING)
    assert "1/chunk-0000000009" in stored
    del stored["1/chunk-0000000009"]
    closes = archive.close_earlier(RECORDING, before=9)
    archive.complete(RECORDING, session_id="s", closes=closes, cut_marks_us=[], capture="decoded")
    stored["1/chunk-0000000009"] = b"late"
    archive.remove_late(RECORDING)
    assert "1/chunk-0000000009" not in stored
    stored["manifest"] = b"broken"
    archive.remove_late(RECORDING)  # nothing is done, and nothing raised
    assert stored["manifest"] == b"broken"


def test_what_earlier_attempts_left_becomes_a_complete_recording(archive: Archive) -> None:
    leave_behind(archive, 1)
    leave_behind(archive, 2)
    assert archive.verify(RECORDING) == "the recording has no manifest"
    closes = archive.close_earlier(RECORDING, before=9)
    archive.complete(RECORDING, session_id="s", closes=closes, cut_marks_us=[], capture="decoded")
    assert archive.is_complete(RECORDING)
    assert archive.verify(RECORDING) == ""


def test_a_manifest_that_is_there_is_left_as_it_is(archive: Archive) -> None:
    leave_behind(archive, 1)
    closes = archive.close_earlier(RECORDING, before=9)
    archive.complete(RECORDING, session_id="s", closes=closes, cut_marks_us=[], capture="decoded")
    pause = Gap(start_us=WALL_US, end_us=WALL_US + 1, reason="paused")
    archive.complete(
        RECORDING, session_id="s", closes=closes, cut_marks_us=[WALL_US], capture="decoded", gaps=[pause]
    )
    assert archive.verify(RECORDING) == ""


def test_what_came_after_a_manifest_is_swept_by_the_next_completer(archive: Archive) -> None:
    leave_behind(archive, 1)
    closes = archive.close_earlier(RECORDING, before=9)
    archive.complete(RECORDING, session_id="s", closes=closes, cut_marks_us=[], capture="decoded")
    assert isinstance(archive.store, MemoryChunkStore)
    stored = archive.store.recordings[RECORDING]
    whole = dict(stored)
    stored["1/chunk-0000000009"] = b"from a recorder that woke"
    stored["manifest.00.tmp"] = b"from a completer that was killed"
    archive.complete(RECORDING, session_id="s", closes=closes, cut_marks_us=[], capture="decoded")
    assert stored == whole


def test_a_damaged_attempt_is_named(archive: Archive) -> None:
    leave_behind(archive, 1)
    assert isinstance(archive.store, MemoryChunkStore)
    stored = archive.store.recordings[RECORDING]
    stored["1/chunk-0000000002"] = bytes(reversed(stored["1/chunk-0000000002"]))
    with pytest.raises(IntegrityError, match="1/chunk-0000000002"):
        archive.close_earlier(RECORDING, before=2)
    assert archive.verify(RECORDING).startswith("1/chunk-0000000002: ")


class AwayChunks(MemoryRecording):
    """Gives everything but chunks, as a store does that goes away in the middle."""

    def read(self, name: str, *, max_bytes: int) -> bytes:
        if "chunk-" in name:
            raise StoreError("no answer")
        return super().read(name, max_bytes=max_bytes)


class AwayStore(MemoryChunkStore):
    is_away = False

    def files(self, recording_id: RecordingId) -> RecordingFiles:
        kind = AwayChunks if self.is_away else MemoryRecording
        return kind(self.recordings.get(recording_id, {}))


def test_a_store_that_goes_away_while_it_is_verified_is_no_damage(tmp_path: Path) -> None:
    store = AwayStore()
    archive = Archive(store, KeyFiles.create_or_open(tmp_path / "keys"), "memory:")
    leave_behind(archive, 1)
    closes = archive.close_earlier(RECORDING, before=2)
    archive.complete(RECORDING, session_id="s", closes=closes, cut_marks_us=[], gaps=[], capture="decoded")
    store.is_away = True
    with pytest.raises(StoreError, match="files could not be read to be verified"):
        archive.verify(RECORDING)
    store.is_away = False
    assert archive.verify(RECORDING) == ""
    name, stored = "1/chunk-0000000001", store.recordings[RECORDING]
    stored[name] = bytes([stored[name][0] ^ 1]) + stored[name][1:]
    assert archive.verify(RECORDING).startswith(f"{name}: ")  # damage is damage
