"""What a recorder that is gone left in the spool: put into the store, or swept when it can count no more.

Its leaves follow those that the store has. Put before somebody lists the attempt to close it, they are part
of the recording; put later, they come after the close and are swept with the rest. So putting is never wrong
while the attempt's key record is there and no manifest is.

Source: recording.md §3 (fencing); docs/RECORDING.md §11.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from recorder.ports import Spool, SpoolShare
from vault.attempts import verify_place
from vault.core.ids import RecordingId, VerifyKey
from vault.core.layout import ChunkFile, parse_name
from vault.core.sealing import verify_chunk
from vault.errors import IntegrityError, VaultError
from vault.listing import read_listing
from vault.ports import ChunkStore

FIRST_WAIT_S: Final = 1.0
LAST_WAIT_S: Final = 60.0

_log = logging.getLogger("greenroom.recorder")


def clear_left(
    spool: Spool, store: ChunkStore, public_key: VerifyKey, *, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Call `put_left` until nothing is left that is not held by somebody alive; for a thread of its own."""
    wait_s = FIRST_WAIT_S
    while True:
        try:
            put_left(spool, store, public_key)
            return
        except VaultError as error:
            _log.warning("what was left in the spool cannot be put yet: %s", error)
            sleep(wait_s)
            wait_s = min(2 * wait_s, LAST_WAIT_S)


def put_left(
    spool: Spool,
    store: ChunkStore,
    public_key: VerifyKey,
    *,
    recording_id: str | None = None,
    before: int | None = None,
) -> None:
    """Clear the spool of attempts that nobody holds any more. Blocking; may be repeated, and at any time.

    Args:
        spool: of this machine.
        store: where recordings lie.
        public_key: must have signed what is put.
        recording_id: only of this recording; None: of all.
        before: only of attempts before this one; None: of all.

    Raises:
        StoreError: store or spool did not answer; worth trying again.
    """
    for found, attempt in spool.left_behind():
        if recording_id not in (None, found) or (before is not None and attempt >= before):
            continue
        share = spool.claim(found, attempt)
        if share is None:  # its recorder is alive, or frozen
            continue
        try:
            _clear(share, store, public_key, found, attempt)
        finally:
            share.release()


def _clear(
    share: SpoolShare, store: ChunkStore, public_key: VerifyKey, recording_id: RecordingId, attempt: int
) -> None:
    listing = read_listing(store.files(recording_id))
    theirs = listing.attempts.get(attempt)
    # Without a key record nobody can read it: the recording was shredded or deleted.
    counts = not listing.has_manifest and theirs is not None and bool(theirs.revisions)
    put = 0
    for name in share.names():
        place = parse_name(name)
        if counts and isinstance(place, ChunkFile):
            data = share.read(name)
            try:
                header, _ = verify_chunk(data, public_key=public_key)
                verify_place(header, recording_id=recording_id, attempt=attempt, leaf=place.leaf)
            except IntegrityError as error:
                _log.error("the spooled chunk %s of %s is bad: %s", name, recording_id, error)
                counts = False  # what follows it would follow a hole
            else:
                store.put(recording_id, name, data)
                put += 1
        share.drop(name)
    _log.warning(
        "attempt %d of recording %s had left a spool: %d chunks were put", attempt, recording_id, put
    )
