"""Sealed chunks of one attempt on their way to the chunk store, in leaf order.

In memory while the store keeps up; as soon as the oldest has waited for a second, or they are many, all of
them go to the spool, and those that come later too, until it is empty again. So what lies in the spool is
always a run of leaves without a hole, from the next one that the store is to get.

Source: recording.md §3.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from recorder.ports import Spool, SpoolShare
from vault.core.ids import RecordingId
from vault.core.merkle import hash_leaf
from vault.core.note import SIGNATURE_BYTES
from vault.errors import FileMissingError, IntegrityError, StoreError
from vault.writing import SealedChunk

HELD_BYTES: Final = 16 << 20  # in memory; one more chunk may come to it
HELD_S: Final = 1.0
_LOOK_S: Final = 0.1


@dataclass(slots=True, eq=False)
class Waiting:
    """One sealed chunk that the store does not have yet; without its data once it is spooled."""

    sealed: SealedChunk
    size_bytes: int
    since_s: float
    is_spooled: bool = False


class Outbox:
    """Holds what is sealed until it is stored. One thread adds, another takes.

    When memory and spool are full, `add` waits: then nothing more is sealed, and the tracks drop and count.

    Args:
        recording_id: whose chunks these are.
        attempt: its attempt.
        spool: None: only memory.
        monotonic_s: the clock that ages are told by.
    """

    def __init__(
        self,
        recording_id: RecordingId,
        attempt: int,
        spool: Spool | None = None,
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recording_id, self._attempt, self._spool = recording_id, attempt, spool
        self._monotonic_s = monotonic_s
        self._share: SpoolShare | None = None
        self._is_closed = False
        self._waiting: deque[Waiting] = deque()
        self._changed = threading.Condition()
        self._spilling = threading.Lock()  # one thread writes to the spool at a time
        self.held_bytes = 0
        self.spooled_bytes = 0

    @property
    def is_empty(self) -> bool:
        """Whether everything that was added is stored."""
        return not self._waiting

    def add(self, sealed: SealedChunk, *, is_over: Callable[[], bool]) -> None:
        """Take a chunk; waits while memory and spool are full, unless it is over."""
        waiting = Waiting(sealed, len(sealed.data), self._monotonic_s())
        with self._changed:
            self._waiting.append(waiting)
            self.held_bytes += waiting.size_bytes
            self._changed.notify_all()
        self.settle()
        while self.held_bytes > HELD_BYTES and not is_over():
            with self._changed:
                self._changed.wait(_LOOK_S)
            self.settle()

    def settle(self) -> None:
        """Spool what waits when it is old, or much, or follows what is spooled. Blocking."""
        with self._changed:
            if not self._waiting:
                return
            oldest = self._waiting[0]
            is_old = self._monotonic_s() - oldest.since_s > HELD_S
            is_due = oldest.is_spooled or is_old or self.held_bytes > HELD_BYTES
        if is_due:
            self.spill()

    def spill(self) -> None:
        """Spool everything that waits, as far as there is room, in leaf order. Blocking."""
        with self._spilling:
            if self._is_closed or (share := self._claim()) is None:
                return
            with self._changed:
                unspooled = [one for one in self._waiting if not one.is_spooled]
            for one in unspooled:
                try:
                    if not share.keep(one.sealed.name, one.sealed.data):
                        return
                except StoreError:
                    return  # the next turn tries again; until then memory holds it
                with self._changed:
                    if self._waiting and self._waiting[0].sealed.header.leaf <= one.sealed.header.leaf:
                        one.is_spooled = True
                        one.sealed = replace(one.sealed, data=b"")
                        self.held_bytes -= one.size_bytes
                        self.spooled_bytes += one.size_bytes
                        self._changed.notify_all()
                        continue
                self._drop(one)  # it was stored meanwhile

    def head(self, *, within_s: float) -> Waiting | None:
        """The next one to be stored; None when none comes in time. It stays until `done`."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting), within_s)
            return self._waiting[0] if self._waiting else None

    def load(self, waiting: Waiting) -> SealedChunk:
        """The chunk with its data, from wherever it is.

        Raises:
            IntegrityError: the spool has lost or changed it.
            StoreError: the spool's disk refused; worth trying again.
        """
        sealed = waiting.sealed
        if sealed.data:
            return sealed
        assert self._share is not None
        try:
            data = self._share.read(sealed.name)
        except FileMissingError as error:
            raise IntegrityError(f"the spool has lost {sealed.name}") from error
        if hash_leaf(memoryview(data)[:-SIGNATURE_BYTES]) != sealed.leaf_hash:
            raise IntegrityError(f"the spool has changed {sealed.name}")
        return replace(sealed, data=data)

    def done(self, waiting: Waiting) -> None:
        """Forget the head: the store has it."""
        with self._changed:
            assert self._waiting[0] is waiting
            self._waiting.popleft()
            if waiting.is_spooled:
                self.spooled_bytes -= waiting.size_bytes
            else:
                self.held_bytes -= waiting.size_bytes
            self._changed.notify_all()
        if waiting.is_spooled:
            self._drop(waiting)

    def clear(self) -> None:
        """Forget what waits, in the spool too; the store will never have it. Nobody may be taking."""
        with self._changed:
            waiting, self._waiting = list(self._waiting), deque()
            self.held_bytes = self.spooled_bytes = 0
        for one in waiting:
            if one.is_spooled:
                self._drop(one)

    def close(self) -> None:
        """Leave what is spooled to whoever claims it next; again is no error."""
        with self._spilling:
            if not self._is_closed and self._share is not None:
                self._share.release()
            self._is_closed = True

    def _claim(self) -> SpoolShare | None:
        if self._share is None and self._spool is not None:
            with suppress(StoreError):
                self._share = self._spool.claim(self._recording_id, self._attempt)
        return self._share

    def _drop(self, waiting: Waiting) -> None:
        if self._share is not None and not self._is_closed:
            with suppress(StoreError):  # left over, it is put once more by whoever clears the spool
                self._share.drop(waiting.sealed.name)
