"""Looking for keys on a disk: in every file of a folder, raw or as text, wherever in it they stand."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path

from vault.core.ids import RecordingId
from vault.core.key_record import decode_key_record
from vault.core.layout import key_record_name
from vault.core.note import MAX_NOTE_BYTES
from vault.listing import read_listing
from vault.ports import ChunkStore, KeyRing


def keys_of(store: ChunkStore, key_ring: KeyRing, recording_id: RecordingId) -> list[bytes]:
    """Every data key of a recording, wrapped in each revision there is, and plain."""
    files, found = store.files(recording_id), []
    for attempt in read_listing(files).attempts.values():
        for revision in attempt.revisions:
            record = decode_key_record(
                files.read(key_record_name(attempt.attempt, revision), max_bytes=MAX_NOTE_BYTES),
                recording_id=recording_id,
                attempt=attempt.attempt,
                revision=revision,
                public_key=key_ring.public_key,
            )
            found += [record.wrapped_key, key_ring.unwrap(record.wrapped, record.scope)]
    return found


def find_traces(folder: Path, keys: Iterable[bytes]) -> list[str]:
    """Name the files below a folder that hold one of the keys in any spelling."""
    spellings = [spelling for key in keys for spelling in _spellings(key)]
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and _holds(path.read_bytes(), spellings)
    )


def _holds(data: bytes, spellings: list[bytes]) -> bool:
    return any(spelling in data for spelling in spellings)


def _spellings(key: bytes) -> list[bytes]:
    found = [key, key.hex().encode(), key.hex().upper().encode()]
    for shift in range(3):  # where in a longer base64 text the key begins
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(bytes(shift) + key + bytes((-shift - len(key)) % 3))
            found.append(text[4 if shift else 0 : len(text) - 4])  # without what its neighbours decide
    return found
