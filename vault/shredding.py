"""Shredding: destroys every wrapped key of a recording and leaves its proof, under a signed tombstone.

The tombstone is stored first. So a shredding that was cut short is neither taken for damage nor for a
recording that is still whole: from then on nothing reads it, and whoever verifies is told that keys are
left until shredding is run again and finishes.

Source: docs/RECORDING.md §5.3, §14.
"""

from __future__ import annotations

from collections.abc import Sequence

from vault.core.checkpoint import decode_checkpoint
from vault.core.custody_record import CustodyRecord, ShreddedAttempt
from vault.core.ids import RecordingId, VerifyKey
from vault.core.key_record import KeyRecord, decode_key_record
from vault.core.layout import MANIFEST_NAME, checkpoint_name, custody_name, key_record_name
from vault.core.manifest import Manifest, decode_manifest
from vault.core.merkle import EMPTY_ROOT
from vault.core.note import MAX_NOTE_BYTES
from vault.custody import decree, held_error, read_custody
from vault.errors import FileMissingError, IntegrityError, NotARecordingError, OtherSignerError
from vault.listing import AttemptListing, Listing, read_listing
from vault.ports import ChunkStore, KeyRing, RecordingFiles


def shred_recording(
    store: ChunkStore,
    key_ring: KeyRing,
    *,
    recording_id: RecordingId,
    by: str,
    reason: str,
    at_us: int,
    copies: Sequence[ChunkStore] = (),
) -> CustodyRecord:
    """Destroy the wrapped keys of all attempts, in every revision. May be repeated; a repeat finishes.

    Needs the signing key, but no key-encryption key: what nobody can open any more can still be shredded.
    See to it that nothing records into it meanwhile; the key records that a recorder adds after the
    tombstone are found by `verify_recording`, and destroyed by a repeat.

    Args:
        store: where the recording lies.
        key_ring: signs the tombstone; the recording must be signed by its key.
        recording_id: the recording.
        by: who wants it, 1 to 256 characters.
        reason: why, 1 to 1,000 characters; nothing secret, it stands in clear.
        at_us: now, Unix microseconds.
        copies: further stores in which key records of this recording may lie, such as a spool.

    Returns:
        The tombstone; of a repeat, the first one.

    Raises:
        ValueError: a text is empty or too long (the caller's mistake).
        NotARecordingError: the store has no such recording.
        HeldError: it is under legal hold; nothing was destroyed.
        IntegrityError: a custody record is bad, or nothing here is signed by this key; nothing was destroyed.
        KeyFileError: the signing key is not at hand; nothing was destroyed.
        StoreError: worth trying again.
    """
    files, public_key = store.files(recording_id), key_ring.public_key
    listing = read_listing(files)
    if listing.is_empty:
        raise NotARecordingError(f"the store has no recording {recording_id}")
    tombstone = read_custody(files, public_key, recording_id=recording_id, listing=listing)
    if tombstone is not None and tombstone.action == "hold":
        raise held_error(tombstone)
    if tombstone is None or tombstone.action != "shred":
        attempts = _Proof(files, listing, recording_id, public_key).attempts()
        tombstone = decree(
            store,
            key_ring,
            "shred",
            recording_id=recording_id,
            by=by,
            reason=reason,
            at_us=at_us,
            attempts=attempts,
        )
    for place in (store, *copies):
        for name in read_listing(place.files(recording_id)).key_files:
            place.delete(recording_id, name)
    return tombstone


def delete_recording(
    store: ChunkStore,
    key_ring: KeyRing,
    *,
    recording_id: RecordingId,
    by: str,
    reason: str,
    at_us: int,
    copies: Sequence[ChunkStore] = (),
) -> None:
    """Remove a recording with everything that belongs to it; one that is not there is no error.

    It is shredded first, so that nothing of it is readable from the first moment, and the tombstone goes
    last, so that a deletion that was cut short can be told from a loss. Arguments and errors as for
    `shred_recording`.
    """
    files = store.files(recording_id)
    if read_listing(files).is_empty:
        return
    shred_recording(
        store,
        key_ring,
        recording_id=recording_id,
        by=by,
        reason=reason,
        at_us=at_us,
        copies=copies,
    )
    for place in (*copies, store):
        listing = read_listing(place.files(recording_id))
        custody = [custody_name(number) for number in listing.custody]
        for name in (*listing.temporary, *(name for name in listing.names() if name not in custody)):
            place.delete(recording_id, name)
        for name in custody:
            place.delete(recording_id, name)


def sweep_remains(
    store: ChunkStore, key_ring: KeyRing, *, recording_id: RecordingId, by: str, reason: str, at_us: int
) -> int:
    """Remove what came after a recording was deleted: of a recorder that had been frozen, or a late put.

    What nobody can read, without a key record or manifest, just goes: nothing proves any more whose it was.
    The rest is deleted as the recording was. Arguments and errors as for `delete_recording`.

    Returns:
        How many files there were.
    """
    files = store.files(recording_id)
    listing = read_listing(files)
    names = (*listing.temporary, *listing.names())
    if listing.has_manifest or any(attempt.revisions for attempt in listing.attempts.values()):
        delete_recording(store, key_ring, recording_id=recording_id, by=by, reason=reason, at_us=at_us)
        return len(names)
    decreed = read_custody(files, key_ring.public_key, recording_id=recording_id, listing=listing)
    if decreed is not None and decreed.action == "hold":
        raise held_error(decreed)
    for name in names:
        store.delete(recording_id, name)
    return len(names)


class _Proof:
    """Gathers what the tombstone says of each attempt, from notes that are signed by the key in use."""

    def __init__(
        self, files: RecordingFiles, listing: Listing, recording_id: RecordingId, public_key: VerifyKey
    ) -> None:
        self._files = files
        self._listing = listing
        self._recording_id = recording_id
        self._public_key = public_key

    def attempts(self) -> list[ShreddedAttempt]:
        """All attempts that a good note says something of; a damaged note does not save its keys.

        Raises:
            OtherSignerError: a note names another signing key.
            IntegrityError: no note is good: nothing says that this recording is ours to destroy.
        """
        manifest = self._read_manifest()
        found = [] if manifest is None else _from_manifest(manifest)
        closed = {attempt.attempt for attempt in found}
        for listing in self._listing.attempts.values():
            record = self._read_key_record(listing)
            if listing.attempt not in closed and record is not None:
                found.append(self._from_notes(listing, record))
        if not found:
            raise IntegrityError(
                f"recording {self._recording_id} is not shredded: no manifest or key record of it is good"
            )
        return sorted(found, key=lambda attempt: attempt.attempt)

    def _read_manifest(self) -> Manifest | None:
        if not self._listing.has_manifest:
            return None
        try:
            data = self._files.read(MANIFEST_NAME, max_bytes=MAX_NOTE_BYTES)
            return decode_manifest(data, recording_id=self._recording_id, public_key=self._public_key)
        except OtherSignerError:
            raise
        except (IntegrityError, FileMissingError):
            return None

    def _read_key_record(self, listing: AttemptListing) -> KeyRecord | None:
        for revision in reversed(listing.revisions):
            try:
                name = key_record_name(listing.attempt, revision)
                return decode_key_record(
                    self._files.read(name, max_bytes=MAX_NOTE_BYTES),
                    recording_id=self._recording_id,
                    attempt=listing.attempt,
                    revision=revision,
                    public_key=self._public_key,
                )
            except OtherSignerError:
                raise
            except (IntegrityError, FileMissingError):
                continue
        return None

    def _from_notes(self, listing: AttemptListing, record: KeyRecord) -> ShreddedAttempt:
        size, root = 0, EMPTY_ROOT
        for number in reversed(listing.sizes):
            try:
                head = decode_checkpoint(
                    self._files.read(checkpoint_name(listing.attempt, number), max_bytes=MAX_NOTE_BYTES),
                    recording_id=self._recording_id,
                    attempt=listing.attempt,
                    public_key=self._public_key,
                )
            except OtherSignerError:
                raise
            except (IntegrityError, FileMissingError):
                continue
            if head.size == number:
                size, root = head.size, head.root
                break
        return ShreddedAttempt(
            attempt=listing.attempt,
            size=size,
            root=root.hex(),
            tenant=record.tenant.hex(),
            wall_start_us=record.wall_start_us,
        )


def _from_manifest(manifest: Manifest) -> list[ShreddedAttempt]:
    return [
        ShreddedAttempt(
            attempt=close.attempt,
            size=close.size,
            root=close.root,
            tenant=manifest.tenant,
            wall_start_us=close.wall_start_us,
        )
        for close in manifest.attempts
    ]
