"""The numbers of what was stored, with their units."""

from __future__ import annotations

from recorder.service.store_path import StorePath
from recorder.service.stored_statistics import stored_statistics
from tests.fakes.chunk_stores import MemoryChunkStore
from tests.fakes.recordings import make_key_ring, open_writer


def test_pauses_are_no_duration() -> None:
    path = StorePath(open_writer(MemoryChunkStore(), make_key_ring()), on_lost=lambda _: None)
    assert stored_statistics(path, took_us=12_345_678, paused_us=2_000_000, gaps=3) == {
        "duration_s": 10.346,
        "paused_s": 2.0,
        "chunks": 0.0,
        "bytes": 0.0,
        "spooled_bytes": 0.0,
        "gaps": 3.0,
    }
