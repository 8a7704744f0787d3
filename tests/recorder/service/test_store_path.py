"""From chunk to acknowledged: order, checkpoints, a store that fails for a while, is full, or is lost."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from recorder.core.chunking import InitChunk, MediaChunk
from recorder.core.errors import StoreLostError
from recorder.core.segmenting import Fragment
from recorder.service import outbox, store_path
from recorder.service.outbox import Outbox
from recorder.service.store_path import MAX_WAITING, StorePath
from tests.fakes.chunk_stores import MemoryChunkStore
from tests.fakes.encoders import FakeEncoders
from tests.fakes.spools import MemorySpool
from vault.adapters.key_files import KeyFiles
from vault.core.ids import RecordingId
from vault.errors import ChunkExistsError, StoreError, StoreFullError
from vault.verification import check_recording
from vault.writing import AttemptWriter

RECORDING = RecordingId("11111111-2222-4333-8444-555555555555")


class Bench:
    """A store path on a store in memory."""

    def __init__(
        self,
        folder: Path,
        may_acknowledge: Callable[[], bool] = lambda: True,
        spool: MemorySpool | None = None,
    ) -> None:
        self.store = MemoryChunkStore()
        self.keys = KeyFiles.create_or_open(folder / "keys")
        writer = AttemptWriter.open(
            self.store, self.keys, recording_id=RECORDING, attempt=1, wall_start_us=1_795_000_000_000_000
        )
        self.lost: list[str] = []
        self.path = StorePath(
            writer,
            on_lost=self.lost.append,
            outbox=Outbox(RECORDING, 1, spool),
            may_acknowledge=may_acknowledge,
        )

    def submit_init(self) -> None:
        form = FakeEncoders().audio().format
        self.path.submit(InitChunk(track=1, identity="alice", name="microphone", format=form))

    def submit_media(self, second: int) -> None:
        fragment = Fragment(
            data=b"moof", first_pts=second * 48_000, duration_pts=48_000, has_keyframe=True, packets=50
        )
        self.path.submit(MediaChunk(track=1, fragment=fragment))

    def acknowledged(self) -> int:
        head = self.path.acknowledged
        return 0 if head is None else head.head.size

    def status(self) -> str:
        return check_recording(
            self.store.files(RECORDING), self.keys.public_key, recording_id=RECORDING
        ).report.status


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_each_chunk_is_acknowledged_soon_without_waiting_for_another(bench: Bench) -> None:
    bench.path.start()
    bench.submit_init()
    wait_until(lambda: bench.acknowledged() == 1)
    bench.submit_media(0)
    wait_until(lambda: bench.acknowledged() == 2)
    assert bench.status() == "incomplete"  # good, and no manifest yet
    bench.path.finish()


def test_closing_adds_the_final_chunk_and_its_checkpoint(bench: Bench) -> None:
    bench.path.start()
    bench.submit_init()
    for second in range(5):
        bench.submit_media(second)
    bench.path.finish()
    close = bench.path.close()
    assert (close.size, close.closed) == (7, "own")
    assert bench.path.acknowledged is not None
    assert bench.path.acknowledged.head.root.hex() == close.root
    assert bench.path.chunks == 6
    assert bench.lost == []


def test_a_store_that_comes_back_loses_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [0]

    def fail_twice(name: str) -> None:
        if "chunk" in name and failures[0] < 2:
            failures[0] += 1
            raise StoreError("the disk took a break")

    bench.store.before_put = fail_twice
    bench.path.start()
    bench.submit_init()
    bench.submit_media(0)
    wait_until(lambda: bench.acknowledged() == 2)
    assert failures[0] == 2
    bench.path.finish()


def test_a_full_store_ends_the_recording_with_a_sentence_and_keeps_what_was_there(bench: Bench) -> None:
    bench.path.start()
    bench.submit_init()
    wait_until(lambda: bench.acknowledged() == 1)

    def full(_: str) -> None:
        raise StoreFullError(f"no space left for /data ({errno.ENOSPC})")

    bench.store.before_put = full
    bench.submit_media(0)
    wait_until(lambda: bool(bench.lost))
    assert bench.lost == ["recording stopped, because no space left for /data (28)"]
    with pytest.raises(StoreLostError):
        bench.submit_media(1)
    bench.path.finish()
    assert bench.status() == "incomplete"


def test_a_store_that_stays_away_is_asked_for_as_long_as_it_takes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_path, "RETRY_AFTER_S", (0.001, 0.002))
    tries = [0]

    def away(_: str) -> None:
        tries[0] += 1
        if tries[0] < 100:
            raise StoreError("the disk is away")

    bench.store.before_put = away
    bench.path.start()
    bench.submit_init()
    bench.submit_media(0)
    assert bench.path.finish()
    assert (bench.acknowledged(), bench.lost) == (2, [])


def test_nothing_is_acknowledged_out_of_touch_and_all_of_it_afterwards(tmp_path: Path) -> None:
    in_touch = threading.Event()
    bench = Bench(tmp_path, may_acknowledge=in_touch.is_set)
    bench.path.start()
    bench.submit_init()
    bench.submit_media(0)
    wait_until(lambda: bench.path.chunks == 2)
    time.sleep(0.5)  # more than any checkpoint takes
    assert bench.acknowledged() == 0
    assert len(bench.store.recordings[RECORDING]) == 3, "a successor may find them all the same"
    in_touch.set()
    wait_until(lambda: bench.acknowledged() == 2)
    bench.path.finish()


def test_a_path_that_is_given_up_says_what_is_not_stored(bench: Bench) -> None:
    def away(_: str) -> None:
        raise StoreError("the disk is away")

    bench.store.before_put = away
    bench.path.start()
    bench.submit_init()
    assert not bench.path.finish(within_s=0.3)
    assert bench.acknowledged() == 0
    with pytest.raises(StoreLostError):
        bench.submit_media(0)


def test_submitting_waits_while_the_store_is_slow_and_never_loses(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "HELD_BYTES", 4_000)  # the bytes of a few of these chunks
    gate = threading.Event()
    bench.store.before_put = lambda _: (gate.wait(5), None)[1]
    bench.path.start()
    bench.submit_init()
    done = threading.Event()

    def submit_many() -> None:
        for second in range(2 * MAX_WAITING):
            bench.submit_media(second)
        done.set()

    thread = threading.Thread(target=submit_many)
    thread.start()
    assert not done.wait(0.2)
    gate.set()
    thread.join(5)
    bench.path.finish()
    assert bench.acknowledged() == 2 * MAX_WAITING + 1


def test_an_aborted_path_stores_nothing_more(bench: Bench) -> None:
    bench.path.start()
    bench.submit_init()
    wait_until(lambda: bench.acknowledged() == 1)
    bench.path.abort()
    with pytest.raises(StoreLostError):
        bench.submit_media(0)
    bench.path.finish()
    assert bench.acknowledged() == 1
    assert bench.lost == []


@pytest.mark.parametrize("is_aborted", [True, False])
def test_a_path_that_ends_by_itself_holds_no_spool(tmp_path: Path, is_aborted: bool) -> None:
    spool = MemorySpool()
    bench = Bench(tmp_path, spool=spool)

    def away(_: str) -> None:
        raise StoreError("the disk is away")

    def taken(_: str) -> None:
        raise ChunkExistsError("another writer was here")

    bench.store.before_put = away
    bench.path.start()
    bench.submit_init()
    wait_until(lambda: spool.left_behind() == [(RECORDING, 1)])
    if is_aborted:
        bench.path.abort()
        wait_until(lambda: spool.left_behind() == [])
    else:
        bench.store.before_put = taken
        wait_until(lambda: bool(bench.lost))
    wait_until(lambda: not spool.claimed)
