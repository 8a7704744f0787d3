"""The store path of one attempt, on a thread of its own: seal, put, checkpoint.

Source: recording.md §3.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from recorder.core.chunking import Chunk, InitChunk, MediaChunk
from recorder.core.errors import StoreLostError
from vault.core.chunk_header import ChunkHeader
from vault.core.manifest import AttemptClose
from vault.core.prologue import TrackPrologue
from vault.errors import StoreError, StoreFullError, VaultError
from vault.writing import AttemptWriter, SealedChunk, SignedCheckpoint

MAX_WAITING: Final = 64  # chunks, about one second of media each
RETRY_AFTER_S: Final = (0.1, 0.4, 1.0, 2.0, 4.0)  # a store that does not answer for longer is lost
_BATCH: Final = 32  # chunks between two checkpoints at most
_GATHER_S: Final = 0.3  # after the first chunk that a checkpoint will cover; recording.md §3 allows 0.5 s

_log = logging.getLogger("greenroom.recorder")


class StorePath:
    """Stores the chunks of one attempt in the order in which they come.

    The queue holds MAX_WAITING chunks. When it is full (the store is slow) `submit` waits, and the track that
    waits drops and counts the frames that come meanwhile. When the store is lost, `submit` raises.
    """

    def __init__(
        self,
        writer: AttemptWriter,
        *,
        on_lost: Callable[[str], None],
        on_sealed: Callable[[ChunkHeader], None] = lambda _: None,
    ) -> None:
        """Make a store path.

        Args:
            writer: the open attempt.
            on_lost: called once from the thread, with one sentence, when nothing more can be stored.
            on_sealed: called from the thread for each chunk, in the order of their leaves.
        """
        self._writer = writer
        self._on_lost = on_lost
        self._on_sealed = on_sealed
        self._waiting: queue.Queue[Chunk | None] = queue.Queue(MAX_WAITING)
        self._lost = threading.Event()
        self._aborted = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store path", daemon=True)
        self.chunks = 0
        self.plaintext_bytes = 0

    @property
    def acknowledged(self) -> SignedCheckpoint | None:
        """The latest stored checkpoint."""
        return self._writer.acknowledged

    def start(self) -> None:
        """Begin to take chunks."""
        self._thread.start()

    def submit(self, chunk: Chunk) -> None:
        """Hand over a chunk; waits while the queue is full. Called from the tracks' threads.

        Raises:
            StoreLostError: nothing more can be stored.
        """
        while not self._lost.is_set():
            try:
                self._waiting.put(chunk, timeout=0.2)
                return
            except queue.Full:
                continue
        raise StoreLostError("the chunk store takes no more")

    def offer(self, chunk: Chunk) -> bool:
        """Hand over a chunk if there is room; never waits. Called in the event loop.

        Raises:
            StoreLostError: nothing more can be stored.
        """
        if self._lost.is_set():
            raise StoreLostError("the chunk store takes no more")
        try:
            self._waiting.put_nowait(chunk)
        except queue.Full:
            return False
        return True

    def finish(self) -> None:
        """Store what waits and end the thread. Blocking; no `submit` may follow."""
        while not self._lost.is_set():
            try:
                self._waiting.put(None, timeout=0.2)
                break
            except queue.Full:
                continue
        self._thread.join()

    def close(self) -> AttemptClose:
        """Close the attempt: a final chunk in each track, and the last checkpoint. Blocking; after `finish`.

        Raises:
            VaultError: the store refused for longer than it is asked again.
        """
        closes: list[AttemptClose] = []
        self._insist(lambda: closes.append(self._writer.close()))
        return closes[0]

    def abort(self) -> None:
        """Stop at once: another attempt holds the recording. What waits is not stored."""
        self._aborted.set()
        self._lost.set()

    def _run(self) -> None:
        try:
            while (chunk := self._next()) is not None:
                self._store(chunk)
        except VaultError as error:
            self._lose(f"recording stopped, because {error}")
        except Exception:  # noqa: BLE001 - the edge of the thread
            _log.exception("the store path ended")
            self._lose("recording stopped, because the store path failed; its log has the cause")

    def _next(self) -> Chunk | None:
        while not self._aborted.is_set():
            try:
                return self._waiting.get(timeout=0.2)
            except queue.Empty:
                continue
        return None

    def _more(self, until_s: float) -> Chunk | None:
        """The next chunk that comes in time to share a checkpoint."""
        try:
            chunk = self._waiting.get(timeout=max(0.0, until_s - time.monotonic()))
        except queue.Empty:
            return None
        if chunk is None:
            self._waiting.put_nowait(None)  # for the next turn; the place it had is free
        return chunk

    def _store(self, first: Chunk) -> None:
        """Put chunks as they come, then sign one checkpoint over all of them."""
        until_s = time.monotonic() + _GATHER_S
        chunk: Chunk | None = first
        count = 0
        while chunk is not None:
            sealed = self._seal(chunk)
            self._on_sealed(sealed.header)
            self._insist(partial(self._writer.put, sealed))
            self.chunks += 1
            self.plaintext_bytes += sealed.header.plaintext_bytes
            count += 1
            chunk = self._more(until_s) if count < _BATCH and not self._aborted.is_set() else None
        if not self._aborted.is_set():
            self._insist(self._writer.checkpoint)

    def _seal(self, chunk: Chunk) -> SealedChunk:
        match chunk:
            case InitChunk(track=track, identity=identity, name=name, format=form, offset_us=offset_us):
                prologue = TrackPrologue(
                    kind=form.kind,
                    codec=form.codec,
                    mime=form.mime,
                    identity=identity,
                    name=name,
                    width=form.width,
                    height=form.height,
                    sample_rate=form.sample_rate,
                    channels=form.channels,
                )
                return self._writer.seal_init(
                    track, prologue, form.init_part, time_base=form.time_base, offset_us=offset_us
                )
            case MediaChunk(track=track, fragment=fragment, offset_us=offset_us):
                return self._writer.seal(
                    track,
                    fragment.data,
                    first_pts=fragment.first_pts,
                    duration_pts=fragment.duration_pts,
                    has_keyframe=fragment.has_keyframe,
                    offset_us=offset_us,
                )

    def _insist(self, act: Callable[[], object]) -> None:
        """Repeat what the store did not answer; a full store is asked once."""
        for delay_s in RETRY_AFTER_S:
            try:
                act()
                return
            except StoreFullError:
                raise
            except StoreError as error:
                _log.warning("the chunk store did not take a file: %s", error)
                if self._aborted.wait(delay_s):
                    raise
        act()

    def _lose(self, sentence: str) -> None:
        if not self._aborted.is_set():
            self._lost.set()
            self._on_lost(sentence)
