"""From sealed to stored: memory while the store keeps up, then the spool, in the order of the leaves."""

from __future__ import annotations

import pytest

from recorder.service import outbox as outbox_module
from recorder.service.outbox import HELD_S, Outbox
from tests.fakes.chunk_stores import MemoryChunkStore
from tests.fakes.recordings import MILLISECONDS, PROLOGUE, RECORDING, make_key_ring, open_writer
from tests.fakes.spools import MemorySpool
from vault.errors import IntegrityError
from vault.writing import SealedChunk

PLACE = (RECORDING, 1)


class Bench:
    """An outbox with a clock and leaves to be added."""

    def __init__(self, spool: MemorySpool | None) -> None:
        self.now_s = 100.0
        self.writer = open_writer(MemoryChunkStore(), make_key_ring())
        self.outbox = Outbox(RECORDING, 1, spool, monotonic_s=lambda: self.now_s)
        self._sealed = 0

    def seal(self) -> SealedChunk:
        self._sealed += 1
        if self._sealed == 1:
            return self.writer.seal_init(1, PROLOGUE, b"init", time_base=MILLISECONDS, offset_us=0)
        return self.writer.seal(1, b"m", first_pts=self._sealed, duration_pts=1, has_keyframe=True)

    def add(self, count: int = 1) -> None:
        for _ in range(count):
            self.outbox.add(self.seal(), is_over=lambda: False)

    def take(self) -> SealedChunk:
        head = self.outbox.head(within_s=0)
        assert head is not None
        sealed = self.outbox.load(head)
        self.outbox.done(head)
        return sealed


def names(spool: MemorySpool) -> list[str]:
    return sorted(spool.kept.get(PLACE, {}))


def test_what_is_stored_in_time_never_touches_the_disk() -> None:
    spool = MemorySpool()
    bench = Bench(spool)
    for leaf in range(5):
        bench.add()
        bench.now_s += HELD_S / 2
        bench.outbox.settle()
        assert bench.take().header.leaf == leaf
    assert (spool.kept, spool.claimed, bench.outbox.held_bytes) == ({}, set(), 0)


def test_when_the_oldest_has_waited_all_are_spooled_and_those_that_follow_at_once() -> None:
    spool = MemorySpool()
    bench = Bench(spool)
    bench.add(3)
    assert names(spool) == []
    bench.now_s += HELD_S + 0.1
    bench.outbox.settle()
    assert names(spool) == [f"1/chunk-{leaf:010}" for leaf in range(3)]
    bench.add()
    assert len(names(spool)) == 4
    assert (bench.outbox.held_bytes, bench.outbox.spooled_bytes) == (
        0,
        sum(map(len, spool.kept[PLACE].values())),
    )


def test_the_spool_is_emptied_in_order_and_then_memory_is_used_again() -> None:
    spool = MemorySpool()
    bench = Bench(spool)
    bench.add(3)
    bench.now_s += HELD_S + 0.1
    bench.add()
    taken = [bench.take() for _ in range(4)]
    assert [sealed.header.leaf for sealed in taken] == [0, 1, 2, 3]
    assert all(sealed.data for sealed in taken)
    assert (names(spool), bench.outbox.spooled_bytes, bench.outbox.is_empty) == ([], 0, True)
    bench.add()
    assert names(spool) == []


def test_too_much_in_memory_is_spooled_without_waiting_for_its_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "HELD_BYTES", 500)
    spool = MemorySpool()
    bench = Bench(spool)
    bench.add(4)
    assert len(names(spool)) >= 2
    assert bench.outbox.held_bytes <= 500


def test_what_the_store_gets_while_it_is_being_spooled_does_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    spool = MemorySpool()
    bench = Bench(spool)
    bench.add(2)
    share = spool.claim(*PLACE)
    assert share is not None
    taken: list[SealedChunk] = []

    class Slow:
        """A share on whose writing the store's answer comes."""

        def keep(self, name: str, data: bytes) -> bool:
            if not taken:
                taken.append(bench.take())
            assert share is not None
            return share.keep(name, data)

        def __getattr__(self, name: str) -> object:
            return getattr(share, name)

    monkeypatch.setattr(spool, "claim", lambda *_: Slow())
    bench.outbox.spill()
    assert names(spool) == ["1/chunk-0000000001"]
    assert [bench.take().header.leaf, bench.outbox.is_empty] == [1, True]


@pytest.mark.parametrize("spool", [None, MemorySpool(share_bytes=900)])
def test_when_memory_and_spool_are_full_adding_waits(
    monkeypatch: pytest.MonkeyPatch, spool: MemorySpool | None
) -> None:
    monkeypatch.setattr(outbox_module, "HELD_BYTES", 500)
    bench = Bench(spool)
    looks = [0]

    def is_over() -> bool:
        looks[0] += 1
        return looks[0] > 2

    added = 0
    while not looks[0]:
        bench.outbox.add(bench.seal(), is_over=is_over)
        added += 1
        assert added < 20
    kept = bench.outbox.held_bytes + bench.outbox.spooled_bytes
    assert kept <= 500 + (900 if spool else 0) + 600, "a chunk more than the limits, and no byte beyond"
    assert [bench.take().header.leaf for _ in range(added)] == list(range(added)), "none of them is lost"


def test_a_broken_spool_disk_is_memory_only(monkeypatch: pytest.MonkeyPatch) -> None:
    spool = MemorySpool()
    bench = Bench(spool)
    bench.add(2)
    spool.is_broken = True
    bench.now_s += HELD_S + 0.1
    bench.outbox.settle()
    assert bench.outbox.spooled_bytes == 0
    spool.is_broken = False
    bench.outbox.settle()
    assert len(names(spool)) == 2


def test_what_the_spool_changed_or_lost_is_not_given_out() -> None:
    spool = MemorySpool()
    bench = Bench(spool)
    bench.add()
    bench.outbox.spill()
    (name,) = names(spool)
    good = spool.kept[PLACE][name]
    head = bench.outbox.head(within_s=0)
    assert head is not None
    spool.kept[PLACE][name] = good[:-80] + b"x" + good[-79:]
    with pytest.raises(IntegrityError, match="changed"):
        bench.outbox.load(head)
    del spool.kept[PLACE][name]
    with pytest.raises(IntegrityError, match="lost"):
        bench.outbox.load(head)


def test_closed_it_leaves_what_it_has_to_the_next_holder() -> None:
    spool = MemorySpool()
    bench = Bench(spool)
    bench.add(2)
    bench.outbox.spill()
    assert spool.claim(*PLACE) is None
    bench.outbox.close()
    assert spool.left_behind() == [PLACE]
    assert spool.claim(*PLACE) is not None
