"""The store path of one attempt: one thread seals, another puts and signs checkpoints.

Between them stands the outbox, which spools what the store does not take: sealing never waits for the store
before memory and spool are full. Every attempt has threads of its own, so none waits for another's store.

Source: recording.md §3.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Final

from recorder.core.chunking import Chunk, InitChunk, MediaChunk
from recorder.core.errors import StoreLostError
from recorder.service.outbox import Outbox, Waiting
from recorder.service.reserve import Reserve
from vault.core.chunk_header import ChunkHeader
from vault.core.manifest import AttemptClose
from vault.core.prologue import TrackPrologue
from vault.errors import StoreError, StoreFullError, VaultError
from vault.writing import AttemptWriter, SealedChunk, SignedCheckpoint

MAX_WAITING: Final = 64  # chunks, about one second of media each
RETRY_AFTER_S: Final = (0.1, 0.4, 1.0, 2.0, 4.0)  # then every four seconds
_STOP_S: Final = 2.0  # for a sealing thread that writes to the spool
_BATCH: Final = 32  # chunks between two checkpoints at most
_LOOK_S: Final = 0.2
_SAY_EVERY_S: Final = 60.0
_GATHER_S: Final = 0.3  # after the first chunk that a checkpoint will cover; recording.md §3 allows 0.5 s

_log = logging.getLogger("greenroom.recorder")


class StorePath:
    """Stores the chunks of one attempt in the order in which they come.

    A store that does not answer is asked again for as long as it takes; meanwhile what is sealed is spooled.
    The queue holds MAX_WAITING chunks. When the spool and it are full `submit` waits, and the track that
    waits drops and counts the frames that come meanwhile. When the store is lost, `submit` raises.
    """

    def __init__(
        self,
        writer: AttemptWriter,
        *,
        on_lost: Callable[[str], None],
        on_sealed: Callable[[ChunkHeader], None] = lambda _: None,
        outbox: Outbox | None = None,
        may_acknowledge: Callable[[], bool] = lambda: True,
        reserve: Reserve | None = None,
    ) -> None:
        """Make a store path.

        Args:
            writer: the open attempt.
            on_lost: called once from a thread, with one sentence, when nothing more can be stored.
            on_sealed: called from the sealing thread for each chunk, in the order of their leaves.
            outbox: of this attempt; None: one without a spool.
            may_acknowledge: asked before each checkpoint. While it is false, leaves are put and not
                acknowledged, because another attempt may hold the recording.
            reserve: given back, for what is sealed already, when the store is full.
        """
        self._writer = writer
        self._on_lost = on_lost
        self._on_sealed = on_sealed
        self._outbox = outbox or Outbox(writer.recording_id, writer.attempt)
        self._may_acknowledge = may_acknowledge
        self._reserve = reserve
        self._waiting: queue.Queue[Chunk | None] = queue.Queue(MAX_WAITING)
        self._lost = threading.Event()  # nothing more is taken
        self._stopped = threading.Event()  # nothing more is put
        self._all_sealed = threading.Event()
        self._is_aborted = self._is_broken = False
        self.is_full = False  # nothing more is taken, because the store has no space left
        self._sealing = threading.Thread(target=self._seal_all, name="sealing", daemon=True)
        self._putting = threading.Thread(target=self._put_all, name="putting", daemon=True)
        self._unacknowledged = 0
        self.chunks = 0
        self.plaintext_bytes = 0

    @property
    def acknowledged(self) -> SignedCheckpoint | None:
        """The latest stored checkpoint."""
        return self._writer.acknowledged

    @property
    def spooled_bytes(self) -> int:
        """What lies in the spool now, because the store has not taken it yet."""
        return self._outbox.spooled_bytes

    def start(self) -> None:
        """Begin to take chunks."""
        self._sealing.start()
        self._putting.start()

    def submit(self, chunk: Chunk) -> None:
        """Hand over a chunk; waits while the queue is full. Called from the tracks' threads.

        Raises:
            StoreLostError: nothing more can be stored.
        """
        while not self._lost.is_set():
            try:
                self._waiting.put(chunk, timeout=_LOOK_S)
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

    def finish(self, *, within_s: float = float("inf")) -> bool:
        """Store what waits and end the threads. Blocking; no `submit` may follow.

        The reserve is given back for the records that close the attempt.

        Args:
            within_s: how long the store may take. Afterwards all that is sealed and not stored goes to the
                spool, and this path is of no further use.

        Returns:
            Whether everything that was sealed is stored.
        """
        until_s = time.monotonic() + within_s
        while not self._lost.is_set() and time.monotonic() < until_s:
            try:
                self._waiting.put(None, timeout=_LOOK_S)
                break
            except queue.Full:
                continue
        for thread in (self._sealing, self._putting):
            left_s = until_s - time.monotonic()
            thread.join(None if left_s == float("inf") else max(0.0, left_s))
        if self._putting.is_alive():
            self._lost.set()
            self._stopped.set()
            self._sealing.join(_STOP_S)
            self._outbox.spill()
        is_stored = self._outbox.is_empty and not self._stopped.is_set()
        if self.is_full and not self._putting.is_alive():
            self._outbox.clear()
        self._outbox.close()
        self._give_back()
        return is_stored

    def close(self) -> AttemptClose:
        """Close the attempt: a final chunk in each track, and the last checkpoint. Blocking; after `finish`.

        Raises:
            StoreError: the store did not answer; worth calling again.
            VaultError: another writer uses this attempt.
        """
        return self._writer.close()

    def abort(self) -> None:
        """Stop at once: another attempt holds the recording. What waits is not stored."""
        self._is_aborted = True
        self._lost.set()
        self._stopped.set()
        self._give_back()

    def _give_back(self) -> None:
        if self._reserve is not None:
            self._reserve.release()

    # --- sealing ---

    def _seal_all(self) -> None:
        try:
            while (chunk := self._next()) is not None:
                sealed = self._seal(chunk)
                self._on_sealed(sealed.header)
                self._outbox.add(sealed, is_over=self._lost.is_set)
        except Exception:  # noqa: BLE001 - the edge of the thread
            _log.exception("sealing ended")
            self._lose("recording stopped, because sealing failed; its log has the cause")
        finally:
            self._all_sealed.set()

    def _next(self) -> Chunk | None:
        while not self._lost.is_set():
            try:
                return self._waiting.get(timeout=_LOOK_S)
            except queue.Empty:
                self._outbox.settle()
        return None

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

    # --- putting ---

    def _put_all(self) -> None:
        try:
            until_s = 0.0
            while not self._stopped.is_set():
                is_last = self._all_sealed.is_set()  # asked before the outbox is
                wait_s = max(0.0, until_s - time.monotonic()) if self._unacknowledged else _LOOK_S
                head = self._outbox.head(within_s=0.0 if is_last else min(wait_s, _LOOK_S))
                if head is not None:
                    if not self._unacknowledged:
                        until_s = time.monotonic() + _GATHER_S
                    self._put(head)
                elif is_last:
                    break
                if self._unacknowledged >= _BATCH or (self._unacknowledged and time.monotonic() >= until_s):
                    self._acknowledge()
                    until_s = time.monotonic() + _GATHER_S  # when it may not be done now
            if not self._stopped.is_set():
                self._acknowledge()
        except StoreFullError as error:
            self.is_full = True
            self._lost.set()
            self._on_lost(f"recording stopped, because {error}")
            self._put_what_fits()
        except VaultError as error:
            self._lose(f"recording stopped, because {error}")
        except Exception:  # noqa: BLE001 - the edge of the thread
            _log.exception("the store path ended")
            self._lose("recording stopped, because the store path failed; its log has the cause")
        finally:
            if self._is_aborted or self._is_broken:  # then nobody calls `finish`
                self._all_sealed.wait()
                if self._is_aborted:
                    self._outbox.clear()
                self._outbox.close()

    def _put_what_fits(self) -> None:
        """After the store was found full: put what is sealed into the space that was kept aside."""
        if self._reserve is not None:
            self._reserve.release_for_chunks()
        self._all_sealed.wait()  # the sealing thread stops with the chunk that it has
        try:
            while not self._stopped.is_set() and (head := self._outbox.head(within_s=0.0)) is not None:
                self._put(head)
            self._acknowledge()
        except VaultError as error:
            _log.warning("not all that was sealed could be stored: %s", error)

    def _put(self, head: Waiting) -> None:
        self._insist(lambda: self._writer.put(self._outbox.load(head)))
        if not self._stopped.is_set():
            self._outbox.done(head)
            self._unacknowledged += 1
            self.chunks += 1
            self.plaintext_bytes += head.sealed.header.plaintext_bytes

    def _acknowledge(self) -> None:
        if self._unacknowledged and self._may_acknowledge():
            self._insist(self._writer.checkpoint)
            self._unacknowledged = 0

    def _insist(self, act: Callable[[], object]) -> None:
        """Repeat what the store did not answer, until it does or putting is stopped; not when it is full."""
        tries, said_s, failed_s = 0, 0.0, 0.0
        while not self._stopped.is_set():
            try:
                act()
            except StoreFullError:
                raise
            except StoreError as error:
                now_s = time.monotonic()
                failed_s = failed_s or now_s
                if not said_s or now_s - said_s > _SAY_EVERY_S:
                    said_s = now_s
                    _log.warning("the chunk store did not take a file: %s", error)
                self._stopped.wait(RETRY_AFTER_S[min(tries, len(RETRY_AFTER_S) - 1)])
                tries += 1
                continue
            if failed_s:
                _log.warning("the chunk store takes files again after %.1f s", time.monotonic() - failed_s)
            return

    def _lose(self, sentence: str) -> None:
        self._is_broken = True
        self._lost.set()
        self._stopped.set()
        if not self._is_aborted:
            self._on_lost(sentence)
