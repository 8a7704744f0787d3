"""Space that is kept aside in two parts, and given back in turn."""

from __future__ import annotations

import pytest

from recorder.service.reserve import CHUNKS_BYTES, CLOSING_BYTES, Reserve
from tests.fakes.chunk_stores import MemoryChunkStore
from vault.errors import StoreFullError


def test_the_part_for_closing_stays_while_chunks_are_put() -> None:
    store = MemoryChunkStore()
    before = store.free_bytes
    reserve = Reserve.hold(store)
    assert store.free_bytes == before - CHUNKS_BYTES - CLOSING_BYTES
    reserve.release_for_chunks()
    assert store.free_bytes == before - CLOSING_BYTES
    reserve.release()
    reserve.release()
    assert store.free_bytes == before


def test_what_cannot_be_held_whole_is_not_held_at_all() -> None:
    store = MemoryChunkStore()
    store.free_bytes = CHUNKS_BYTES + CLOSING_BYTES - 1
    with pytest.raises(StoreFullError):
        Reserve.hold(store)
    assert store.free_bytes == CHUNKS_BYTES + CLOSING_BYTES - 1
