"""Copies of checkpoints: they follow, nobody waits for them, and the last one stays when all else is gone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from tests.fakes.chunk_stores import MemoryChunkStore
from tests.fakes.recordings import RECORDING, make_key_ring, write_recording
from vault.copied_checkpoints import CopiedCheckpoints
from vault.core.layout import checkpoint_name
from vault.errors import StoreError
from vault.heads import read_heads

RING = make_key_ring()


class Pair:
    """A store with copies in another one, which can be away or slow."""

    def __init__(self) -> None:
        self.store, self.copies = MemoryChunkStore(), MemoryChunkStore()
        self.said: list[str] = []
        self.both = CopiedCheckpoints(self.store, self.copies, say=self.said.append, pause_s=0.01)

    def put(self, *sizes: int, attempt: int = 1) -> None:
        for size in sizes:
            self.both.put(RECORDING, checkpoint_name(attempt, size), b"%d" % size)

    @property
    def copied(self) -> dict[str, bytes]:
        return self.copies.recordings.get(RECORDING, {})


@pytest.fixture
def pair() -> Pair:
    return Pair()


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_of_a_whole_recording_the_copies_say_what_its_manifest_says(pair: Pair) -> None:
    manifest = write_recording(pair.both, RING)
    assert pair.both.flush(5)
    heads = read_heads(pair.copies.files(RECORDING), RING.public_key, RECORDING)
    assert [(head.attempt, head.size, head.root.hex()) for head in heads] == [
        (attempt.attempt, attempt.size, attempt.root) for attempt in manifest.attempts
    ]
    assert all("checkpoint-" in name for name in pair.copied)  # nothing else goes there


def test_the_last_one_of_each_attempt_is_kept(pair: Pair) -> None:
    pair.put(3, 5)
    pair.both.flush(5)
    pair.put(9)
    pair.put(2, attempt=2)
    assert pair.both.flush(5)
    assert pair.copied == {checkpoint_name(1, 9): b"9", checkpoint_name(2, 2): b"2"}


def test_an_older_one_that_is_put_back_takes_the_place_of_none(pair: Pair) -> None:
    pair.put(9)
    pair.both.flush(5)
    pair.put(5)
    assert pair.both.flush(5)
    assert pair.copied == {checkpoint_name(1, 9): b"9"}


def test_a_deleted_recording_leaves_its_copies(pair: Pair) -> None:
    pair.put(9)
    assert pair.both.flush(5)
    pair.both.delete(RECORDING, checkpoint_name(1, 9))
    assert not pair.store.recordings[RECORDING]
    assert pair.copied == {checkpoint_name(1, 9): b"9"}


def test_nobody_waits_for_a_place_that_hangs(pair: Pair) -> None:
    gate = threading.Event()

    def hang(name: str) -> None:
        gate.wait(20)

    pair.copies.before_put = hang
    began = time.monotonic()
    pair.put(*range(1, 200))
    assert time.monotonic() - began < 10
    assert checkpoint_name(1, 199) in pair.store.recordings[RECORDING]
    assert not pair.both.flush(0.01)
    gate.set()
    assert pair.both.flush(5)
    assert list(pair.copied) == [checkpoint_name(1, 199)]


def test_a_place_that_is_away_gets_the_latest_once_it_is_back(pair: Pair) -> None:
    tries: list[str] = []

    def away(name: str) -> None:
        tries.append(name)
        raise StoreError("no answer")

    pair.copies.before_put = away
    pair.put(3)
    wait_until(lambda: len(tries) > 3)
    pair.put(4)
    pair.copies.before_put = lambda name: None
    assert pair.both.flush(5)
    assert pair.copied == {checkpoint_name(1, 4): b"4"}
    assert pair.said == ["checkpoints are not copied for now, and will be: no answer"]  # once


def test_another_tree_at_the_same_size_is_told_and_left(pair: Pair) -> None:
    pair.copies.put(RECORDING, checkpoint_name(1, 7), b"another tree")
    pair.put(7)
    assert pair.both.flush(5)
    assert pair.copied == {checkpoint_name(1, 7): b"another tree"}
    assert pair.said[0].startswith(f"a checkpoint of recording {RECORDING} is not copied: ")
