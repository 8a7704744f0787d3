"""Space that an attempt keeps aside in the chunk store, so that it can be closed when the store is full.

Source: recording.md §3 (disk nearly full).
"""

from __future__ import annotations

from typing import Final

from vault.errors import StoreError
from vault.ports import ChunkStore, HeldSpace

CHUNKS_BYTES: Final = 3 << 20  # for what is sealed already when the store is found full
CLOSING_BYTES: Final = 1 << 20  # final chunks, checkpoints, manifest


class Reserve:
    """Two holds of one attempt; given back in turn when they are needed, or at its end."""

    def __init__(self, chunks: HeldSpace, closing: HeldSpace) -> None:
        self._chunks, self._closing = chunks, closing

    @classmethod
    def hold(cls, store: ChunkStore) -> Reserve:
        """Keep the space aside. Blocking.

        Raises:
            StoreFullError: there is not so much left.
            StoreError: the store did not answer; worth trying again.
        """
        chunks = store.hold_space(CHUNKS_BYTES)
        try:
            return cls(chunks, store.hold_space(CLOSING_BYTES))
        except StoreError:
            chunks.release()
            raise

    def release_for_chunks(self) -> None:
        """Give back what chunks that are sealed may need; closing has its own still."""
        self._chunks.release()

    def release(self) -> None:
        """Give back everything; again is no error."""
        self._chunks.release()
        self._closing.release()
