"""Checkpoints kept a second time, elsewhere: by them a recording that was rolled back is seen.

A folder cannot show that it was set back to an earlier state of itself: all of it is signed, and it is whole.
Whoever has the latest checkpoints in another place can tell (`greenroom verify --against PLACE`). Copies are
made on a thread of their own: nobody waits for the second place, nothing is acknowledged by it, and while it
is away the latest checkpoint of each attempt is kept for it.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from vault.core.ids import RecordingId
from vault.core.layout import CheckpointFile, checkpoint_name, parse_name
from vault.errors import StoreError, VaultError
from vault.ports import ChunkStore, HeldSpace, RecordingFiles

MOST: Final = 10_000  # attempts that are remembered; the one that was copied longest ago goes first
_PAUSE_S: Final = 5.0  # after the place did not take one

_Key = tuple[RecordingId, int]


class CopiedCheckpoints:
    """A ChunkStore around another one: the last checkpoint of each attempt is put into a second one too.

    Deleting a recording leaves its copies: they say that it existed, how long it was, and nothing else.

    Args:
        store: the one that is used; everything is as it does it.
        copies: the second one.
        say: is told, once each time, that copies are not made and why; called on a thread.
        pause_s: how long to wait after it did not take a copy.
    """

    def __init__(
        self, store: ChunkStore, copies: ChunkStore, *, say: Callable[[str], None], pause_s: float = _PAUSE_S
    ) -> None:
        self._store = store
        self._copies = copies
        self._say = say
        self._pause_s = pause_s
        self._changed = threading.Condition()
        self._due: OrderedDict[_Key, tuple[int, bytes]] = OrderedDict()
        self._copied: OrderedDict[_Key, int] = OrderedDict()
        self._is_copying = False
        self._is_away = False
        self._thread: threading.Thread | None = None

    def check(self) -> None:
        """See `ChunkStore.check`; the second place is not looked at."""
        self._store.check()

    def put(self, recording_id: RecordingId, name: str, data: bytes) -> None:
        """See `ChunkStore.put`; of a checkpoint a copy follows."""
        self._store.put(recording_id, name, data)
        match parse_name(name):
            case CheckpointFile(attempt, size):
                self._note((recording_id, attempt), size, data)
            case _:
                pass

    def hold_space(self, size_bytes: int) -> HeldSpace:
        """See `ChunkStore.hold_space`."""
        return self._store.hold_space(size_bytes)

    def delete(self, recording_id: RecordingId, name: str) -> None:
        """See `ChunkStore.delete`; a copy stays."""
        self._store.delete(recording_id, name)

    def files(self, recording_id: RecordingId) -> RecordingFiles:
        """See `ChunkStore.files`."""
        return self._store.files(recording_id)

    def list_recordings(self) -> list[RecordingId]:
        """See `ChunkStore.list_recordings`."""
        return self._store.list_recordings()

    def flush(self, within_s: float) -> bool:
        """Wait until every copy is made; whether they are. Blocks."""
        deadline = time.monotonic() + within_s
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._due and not self._is_copying, max(0.0, deadline - time.monotonic())
            )

    def _note(self, key: _Key, size: int, data: bytes) -> None:
        with self._changed:
            known = self._due.get(key)
            if known is None or known[0] < size:
                self._due[key] = size, data
            while len(self._due) > MOST:
                self._due.popitem(last=False)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="checkpoint copies", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    # --- on the thread ---

    def _run(self) -> None:
        while True:
            with self._changed:
                self._is_copying = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: bool(self._due))
                key, (size, data) = self._due.popitem(last=False)
                self._is_copying = True
            try:
                self._copy(key, size, data)
                self._is_away = False
            except StoreError as error:
                if not self._is_away:
                    self._is_away = True
                    self._say(f"checkpoints are not copied for now, and will be: {error}")
                self._note(key, size, data)  # unless a later one is there
                time.sleep(self._pause_s)
            except VaultError as error:
                self._say(f"a checkpoint of recording {key[0]} is not copied: {error}")

    def _copy(self, key: _Key, size: int, data: bytes) -> None:
        recording_id, attempt = key
        if self._copied.get(key, 0) >= size:
            return  # a later one is there
        self._copies.put(recording_id, checkpoint_name(attempt, size), data)
        before = self._copied.pop(key, None)
        self._copied[key] = size
        while len(self._copied) > MOST:
            self._copied.popitem(last=False)
        if before is not None:
            self._copies.delete(recording_id, checkpoint_name(attempt, before))
