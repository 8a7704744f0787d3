"""An export is made once, kept within bounds of room and time, and goes with its recording or its keys."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import pytest

from orchestrator.service import exports as module
from orchestrator.service.exports import Export, Exports
from orchestrator.service.threads import BusyError
from tests.fakes.counted_media import counted_video, long_sound
from tests.fakes.recordings import OTHER_RECORDING, RECORDING
from tests.fakes.stored_recordings import CountingStore, StoredRecordings
from vault.core.ids import RecordingId
from vault.errors import ExportError, IntegrityError
from vault.open_recording import OpenRecording

VIDEO, SOUND = counted_video(4), long_sound(4)


class Stage:
    """Exports over a folder."""

    def __init__(self, folder: Path) -> None:
        self.stored = StoredRecordings(folder)
        self.stored.write([(1, 0, VIDEO), (2, 0, SOUND)])
        self.gate = threading.Event()
        self.gate.set()
        self.store = CountingStore(folder / "recordings", before_read=self._wait)
        self.ahead_s = 0.0
        self.exports = self.made()

    def _wait(self, name: str) -> None:
        if threading.current_thread().name == "exports":
            assert self.gate.wait(10)

    def made(self, budget_bytes: int = 2**30) -> Exports:
        """Exports as another process would make them."""
        return self.stored.exports(
            self.store, budget_bytes=budget_bytes, now=lambda: time.time() + self.ahead_s
        )

    def open(self, recording_id: RecordingId = RECORDING) -> OpenRecording:
        files = self.store.files(recording_id)
        return OpenRecording.open(files, self.stored.open_keys(), recording_id=recording_id)

    def ask(self, recording_id: RecordingId = RECORDING, exports: Exports | None = None) -> Export:
        return (exports or self.exports).ask(self.open(recording_id), recording_id, "copy")

    def files(self) -> list[str]:
        return sorted(os.listdir(self.stored.export_dir))


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.gate.set()
    stage.exports.close()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_is_made_once_and_plays(stage: Stage) -> None:
    export = stage.ask()
    until(lambda: export.state == "ready")
    assert export.path is not None
    assert export.bytes_done == export.bytes_total > 0
    with av.open(str(export.path)) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]
        assert len(list(container.decode(video=0))) == 40
    assert stat_mode(export.path) == 0o600
    assert stat_mode(export.path.parent) == 0o700
    before = stage.store.chunks_read
    again = stage.ask()
    assert (again.state, again.path) == ("ready", export.path)
    found = stage.exports.look(stage.open(), RECORDING, "copy")
    assert found is not None
    assert found.state == "ready"
    assert stage.exports.look(stage.open(), RECORDING, "aac") is None
    assert stage.store.chunks_read - before <= 8, "init parts only: it was not made again"


def stat_mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_aac_is_another_file(stage: Stage) -> None:
    export = stage.exports.ask(stage.open(), RECORDING, "aac")
    until(lambda: export.state == "ready")
    assert export.path is not None
    with av.open(str(export.path)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"


def test_it_is_there_after_a_restart_and_what_was_half_made_is_not(stage: Stage) -> None:
    export = stage.ask()
    until(lambda: export.state == "ready")
    stage.exports.close()
    half = stage.stored.export_dir / f".{RECORDING}-x.mp4.0123.tmp"
    half.write_bytes(b"plaintext")
    other = stage.made()
    assert stage.ask(exports=other).state == "ready"
    until(lambda: not half.exists())
    other.close()


def test_while_one_is_made_others_wait_and_no_more_than_may(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.gate.clear()
    first = stage.ask()
    until(lambda: first.state == "running")
    assert stage.ask() is first
    stage.exports._waiting.maxsize = 1
    stage.stored.write([(1, 0, VIDEO)], recording_id=OTHER_RECORDING)
    second = stage.ask(OTHER_RECORDING)
    third = RecordingId("0f0e0d0c-0b0a-4908-8706-050403020101")
    stage.stored.write([(1, 0, VIDEO)], recording_id=third)
    with pytest.raises(BusyError, match="exports wait already"):
        stage.ask(third)
    assert second.state == "waiting"
    stage.gate.set()
    until(lambda: second.state == "ready")


def test_a_damaged_recording_is_refused_by_name_and_may_be_asked_again(stage: Stage) -> None:
    stage.stored.flip("1/chunk-0000000002", 300)
    export = stage.ask()
    until(lambda: export.state == "failed")
    assert isinstance(export.error, IntegrityError)
    assert "1/chunk-0000000002" in str(export.error)
    assert stage.files() == []
    stage.stored.flip("1/chunk-0000000002", 300)
    again = stage.ask()
    until(lambda: again.state == "ready")


def test_a_recording_larger_than_the_bound_is_refused(stage: Stage) -> None:
    exports = stage.made(budget_bytes=1000)
    with pytest.raises(ExportError, match="export_budget"):
        stage.ask(exports=exports)
    exports.close()


def test_older_ones_make_room(stage: Stage) -> None:
    size = sum(run.size_bytes for track in stage.open().tracks for run in track.runs)
    exports = stage.made(budget_bytes=size * 3 // 2)
    first = stage.ask(exports=exports)
    until(lambda: first.state == "ready")
    stage.stored.write([(1, 0, VIDEO), (2, 0, SOUND)], recording_id=OTHER_RECORDING)
    second = stage.ask(OTHER_RECORDING, exports=exports)
    until(lambda: second.state == "ready" and len(stage.files()) == 1)
    assert stage.files()[0].startswith(OTHER_RECORDING)
    exports.close()


def test_after_a_day_it_is_gone(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SWEEP_S", 0.0)
    export = stage.ask()
    until(lambda: export.state == "ready")
    stage.ahead_s = module.KEPT_S + 60
    until(lambda: stage.files() == [])
    assert stage.exports.look(stage.open(), RECORDING, "copy") is None


def test_it_goes_with_its_recording_also_while_it_is_made(stage: Stage) -> None:
    export = stage.ask()
    until(lambda: export.state == "ready")
    stage.exports.forget(RECORDING)
    until(lambda: stage.files() == [])
    stage.gate.clear()
    again = stage.ask()
    until(lambda: again.state == "running")
    stage.exports.forget(RECORDING)
    stage.gate.set()
    until(lambda: again.state == "failed")
    assert stage.files() == []


def test_it_goes_when_somebody_else_destroyed_the_keys(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SWEEP_S", 0.0)
    export = stage.ask()
    until(lambda: export.state == "ready")
    stage.stored.path("1/key-record-0000000001").unlink()
    until(lambda: stage.files() == [])


def test_one_of_an_unfinished_recording_is_made_anew_when_asked_again(stage: Stage) -> None:
    growing = RecordingId("0f0e0d0c-0b0a-4908-8706-050403020102")
    stage.stored.write([(1, 0, counted_video(2))], recording_id=growing, is_complete=False)
    first = stage.ask(growing)
    until(lambda: first.state == "ready")
    stage.stored.write([(1, 0, VIDEO)], recording_id=growing, is_complete=False)
    second = stage.ask(growing)
    assert second is not first
    until(lambda: second.state == "ready")
    assert second.path is not None
    with av.open(str(second.path)) as container:
        assert len(list(container.decode(video=0))) == 40


def test_without_media_there_is_nothing_to_export(stage: Stage) -> None:
    empty = RecordingId("0f0e0d0c-0b0a-4908-8706-050403020103")
    stage.stored.write([], recording_id=empty)
    with pytest.raises(ExportError, match="no media"):
        stage.ask(empty)
