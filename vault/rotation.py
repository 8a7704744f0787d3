"""Rotation: data keys are wrapped anew under the active key-encryption key. No byte of media is touched.

Per attempt: unwrap, wrap, sign and store the next revision of its key record, read it back, and only then
remove the older ones. So at every instant there is a key record that opens, whoever is killed when; a repeat
goes on where the one before was.

Source: docs/RECORDING.md §5.1.
"""

from __future__ import annotations

import hmac
import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from vault.core.ids import KekId, RecordingId
from vault.core.key_record import KeyRecord, decode_key_record, encode_key_record
from vault.core.layout import key_record_name
from vault.core.note import MAX_NOTE_BYTES
from vault.core.sealing import derive_keys, verify_commitment
from vault.custody import read_custody
from vault.errors import (
    ChunkExistsError,
    FileMissingError,
    IntegrityError,
    KeyFileError,
    StoreError,
    VaultError,
)
from vault.listing import read_listing
from vault.ports import ChunkStore, KekRing, KeyRing, RecordingFiles

RETIRED_AFTER_S: Final = (
    3600.0  # an old key may still be in the hands of a recorder that just began an attempt
)

_TURNS: Final = 5  # others who rewrap the same recording at the same time, before we give up


@dataclass(slots=True)
class KekUse:
    """Which key-encryption keys the recordings of a store need.

    Attributes:
        attempts: how many key records name each key, in all revisions there are.
        unknown: recordings of which that cannot be told, and why.
    """

    attempts: Counter[KekId] = field(default_factory=Counter)
    unknown: dict[RecordingId, str] = field(default_factory=dict)


def rewrap_recording(store: ChunkStore, key_ring: KeyRing, *, recording_id: RecordingId) -> int:
    """Wrap the data keys of all attempts under the active key-encryption key, and remove the older revisions.

    Safe beside readers, recorders and others that do the same. May be repeated; what is done stays done.

    Returns:
        How many attempts were wrapped anew; 0 for a shredded recording.

    Raises:
        WrongKeyError: a data key does not unwrap; its record stays as it is.
        IntegrityError: a key record is bad; the message names it.
        KeyFileError, KeyServiceError: as `KeyRing.wrap`.
        StoreError: worth trying again.
    """
    files, active, done = store.files(recording_id), key_ring.kek_id, 0
    for attempt in read_listing(files).attempts:
        for _ in range(_TURNS):
            if _is_shredded(files, key_ring, recording_id):
                return done
            try:
                done += _rewrap_attempt(store, key_ring, recording_id, attempt=attempt, active=active)
                break
            except (ChunkExistsError, FileMissingError):
                continue  # another rotation was faster: look at what it left
        else:
            raise StoreError(f"recording {recording_id}: others rewrap attempt {attempt} too; try again")
    return done


def find_kek_use(
    store: ChunkStore,
    key_ring: KeyRing,
    recordings: Iterable[RecordingId],
    *,
    on_progress: Callable[[int], None] | None = None,
) -> KekUse:
    """Read every key record there is, and count what it was wrapped with.

    What puts that were cut short left is not counted: it is a copy of a record, or of an attempt that never
    began.

    Args:
        on_progress: told how many recordings are done.

    Raises:
        StoreError: the store cannot be listed; worth trying again.
    """
    use = KekUse()
    for done, recording_id in enumerate(recordings, start=1):
        files = store.files(recording_id)
        listing = read_listing(files)
        for attempt in listing.attempts.values():
            for revision in attempt.revisions:
                try:
                    record = _read_record(files, key_ring, recording_id, attempt.attempt, revision)
                except FileMissingError:
                    continue  # a rotation removed it just now: the next revision names a newer key
                except (VaultError, ValueError) as error:
                    use.unknown[recording_id] = str(error)
                else:
                    use.attempts[record.kek_id] += 1
        if on_progress is not None:
            on_progress(done)
    return use


def destroy_kek(key_ring: KekRing, kek_id: KekId, *, use: KekUse, now_s: float) -> None:
    """Destroy a key-encryption key that nothing needs any more.

    Args:
        use: of every store whose recordings may need it, found just now.
        now_s: Unix seconds.

    Raises:
        ValueError: it is the active one, or there is none of this id (the caller's mistake).
        KeyFileError: something needs it, or may need it; the message says what. Nothing was destroyed.
    """
    keks = key_ring.keks()
    if kek_id not in {kek.kek_id for kek in keks}:
        raise ValueError(f"there is no key-encryption key {kek_id} here")
    active = next(kek for kek in keks if kek.is_active)
    if kek_id == active.kek_id:
        raise ValueError(f"key-encryption key {kek_id} wraps new recordings: rotate first")
    if use.attempts[kek_id]:
        raise KeyFileError(
            f"{use.attempts[kek_id]} key records need key-encryption key {kek_id}: "
            "run `greenroom keys rewrap --all` first"
        )
    if use.unknown:
        recording_id, reason = next(iter(use.unknown.items()))
        raise KeyFileError(
            f"it cannot be told whether recording {recording_id} needs key-encryption key {kek_id}: {reason}"
        )
    waits_s = RETIRED_AFTER_S - (now_s - active.since_s)
    if waits_s > 0:
        raise KeyFileError(
            f"a recorder may still be beginning a recording with key-encryption key {kek_id}, which was "
            f"replaced less than {RETIRED_AFTER_S / 60:.0f} minutes ago: try again in "
            f"{math.ceil(waits_s / 60)} minutes"
        )
    key_ring.destroy(kek_id)


def _rewrap_attempt(
    store: ChunkStore, key_ring: KeyRing, recording_id: RecordingId, *, attempt: int, active: KekId
) -> int:
    files = store.files(recording_id)
    listing = read_listing(files)
    revisions = listing.attempts[attempt].revisions if attempt in listing.attempts else []
    if not revisions:
        return 0
    record = _read_record(files, key_ring, recording_id, attempt, revisions[-1])
    done = 0
    if record.kek_id != active:
        record = _store_next(store, key_ring, record)
        done = 1
        if _is_shredded(files, key_ring, recording_id):
            # It was shredded after we looked: its shredding may have missed what we have just stored.
            store.delete(recording_id, key_record_name(attempt, record.revision))
            return 0
    for revision in revisions:
        if revision < record.revision:
            store.delete(recording_id, key_record_name(attempt, revision))
    for name in listing.temporary:
        if name in listing.key_files and name.startswith(f"{attempt}/"):
            store.delete(recording_id, name)  # a copy under the old key, or what a death left of removing one
    return done


def _store_next(store: ChunkStore, key_ring: KeyRing, record: KeyRecord) -> KeyRecord:
    scope = record.scope
    data_key = key_ring.unwrap(record.wrapped, scope)
    # Only the right key is wrapped anew: the older revision, which could tell, will be removed.
    verify_commitment(derive_keys(data_key, salt=record.salt, scope=scope), record.commitment)
    wrapped = key_ring.wrap(data_key, scope)
    after = msgspec.structs.replace(
        record,
        revision=record.revision + 1,
        kek_id=wrapped.kek_id,
        wrapped_key=wrapped.data,
        wrap=wrapped.wrap,
    )
    note = encode_key_record(after, public_key=key_ring.public_key, sign=key_ring.sign)
    store.put(record.recording_id, key_record_name(record.attempt, after.revision), note)
    files = store.files(record.recording_id)
    stored = _read_record(files, key_ring, record.recording_id, record.attempt, after.revision)
    if not hmac.compare_digest(key_ring.unwrap(stored.wrapped, scope), data_key):
        raise IntegrityError(
            f"{key_record_name(record.attempt, after.revision)} does not open what it should"
        )
    return stored


def _read_record(
    files: RecordingFiles, key_ring: KeyRing, recording_id: RecordingId, attempt: int, revision: int
) -> KeyRecord:
    name = key_record_name(attempt, revision)
    try:
        return decode_key_record(
            files.read(name, max_bytes=MAX_NOTE_BYTES),
            recording_id=recording_id,
            attempt=attempt,
            revision=revision,
            public_key=key_ring.public_key,
        )
    except IntegrityError as error:
        raise type(error)(f"{name}: {error}") from error


def _is_shredded(files: RecordingFiles, key_ring: KeyRing, recording_id: RecordingId) -> bool:
    custody = read_custody(files, key_ring.public_key, recording_id=recording_id)
    return custody is not None and custody.action == "shred"
