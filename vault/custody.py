"""Legal hold: signed records beside a recording that refuse shredding and deletion until it is released.

    place_hold(store, keys, recording_id=…, by="legal", reason="case 7", at_us=…)
    verify_not_held(files, public_key, recording_id=…)    # raises HeldError
    release_hold(store, keys, recording_id=…, by="legal", reason="case closed", at_us=…)

A record that cannot be read counts as a hold: whoever cannot tell must not destroy. Everything blocks.

Source: docs/RECORDING.md §5.3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from vault.core.custody_record import (
    CustodyAction,
    CustodyRecord,
    ShreddedAttempt,
    decode_custody_record,
    encode_custody_record,
    may_follow,
)
from vault.core.ids import RecordingId, VerifyKey
from vault.core.layout import custody_name
from vault.core.note import MAX_NOTE_BYTES
from vault.errors import (
    ChunkExistsError,
    FileMissingError,
    HeldError,
    IntegrityError,
    NotARecordingError,
    ShreddedError,
    StoreError,
)
from vault.listing import Listing, read_listing
from vault.ports import ChunkStore, KeyRing, RecordingFiles

_TURNS: Final = 20  # others who decree about the same recording at the same time, before we give up


def place_hold(
    store: ChunkStore, key_ring: KeyRing, *, recording_id: RecordingId, by: str, reason: str, at_us: int
) -> CustodyRecord:
    """Put a recording under legal hold; one that is held already stays as it is.

    Args:
        store: where the recording lies.
        key_ring: signs.
        recording_id: the recording.
        by: who wants it, 1 to 256 characters.
        reason: why, 1 to 1,000 characters; nothing secret, it stands in clear.
        at_us: now, Unix microseconds.

    Returns:
        The hold that is in force.

    Raises:
        ValueError: a text is empty or too long (the caller's mistake).
        NotARecordingError: the store has no such recording.
        ShreddedError: too late, it was shredded.
        IntegrityError: a custody record is bad, or signed by another key; the message names it.
        StoreError: worth trying again.
    """
    return decree(store, key_ring, "hold", recording_id=recording_id, by=by, reason=reason, at_us=at_us)


def release_hold(
    store: ChunkStore, key_ring: KeyRing, *, recording_id: RecordingId, by: str, reason: str, at_us: int
) -> CustodyRecord | None:
    """End a legal hold; one that is not held stays as it is. Arguments and errors as for `place_hold`.

    Returns:
        The latest release; None when the recording never was under hold.
    """
    if not read_listing(store.files(recording_id)).custody:
        return None
    return decree(store, key_ring, "release", recording_id=recording_id, by=by, reason=reason, at_us=at_us)


def is_held(files: RecordingFiles, public_key: VerifyKey, *, recording_id: RecordingId) -> bool:
    """Whether a recording is under legal hold.

    Raises:
        IntegrityError: a custody record is bad or missing: treat the recording as held.
        StoreError: worth trying again.
    """
    last = read_custody(files, public_key, recording_id=recording_id)
    return last is not None and last.action == "hold"


def verify_not_held(files: RecordingFiles, public_key: VerifyKey, *, recording_id: RecordingId) -> None:
    """Check that a recording may be destroyed.

    Raises:
        HeldError: it is under legal hold.
        IntegrityError: it cannot be told, because a custody record is bad or missing.
        StoreError: worth trying again.
    """
    last = read_custody(files, public_key, recording_id=recording_id)
    if last is not None and last.action == "hold":
        raise held_error(last)


def read_custody(
    files: RecordingFiles, public_key: VerifyKey, *, recording_id: RecordingId, listing: Listing | None = None
) -> CustodyRecord | None:
    """The decree in force: the last custody record of the chain.

    Args:
        listing: of ``files``, when it is at hand.

    Returns:
        None when there is no custody record.

    Raises:
        IntegrityError: a record is bad or missing; the message names its file.
        StoreError: worth trying again.
    """
    problems: list[tuple[str, Exception]] = []
    last = check_custody(
        files,
        public_key,
        recording_id=recording_id,
        listing=read_listing(files) if listing is None else listing,
        blame=lambda name, error: problems.append((name, error)),
    )
    for name, error in problems:
        kind = IntegrityError if isinstance(error, FileMissingError) else type(error)
        raise kind(f"{name}: {error}") from error
    return last


def check_custody(
    files: RecordingFiles,
    public_key: VerifyKey,
    *,
    recording_id: RecordingId,
    listing: Listing,
    blame: Callable[[str, Exception], None],
) -> CustodyRecord | None:
    """Check the chain up to its first record that is bad or missing, which goes to ``blame``.

    Returns:
        The last good one; None when there is none.
    """
    last: CustodyRecord | None = None
    for due, number in enumerate(listing.custody, start=1):
        name = custody_name(due)
        try:
            if number != due:
                raise FileMissingError("it is missing")
            data = files.read(name, max_bytes=MAX_NOTE_BYTES)
            last = decode_custody_record(
                data, recording_id=recording_id, number=due, before=last, public_key=public_key
            )
        except (IntegrityError, FileMissingError, StoreError) as error:
            blame(name, error)
            break
    return last


def decree(
    store: ChunkStore,
    key_ring: KeyRing,
    action: CustodyAction,
    *,
    recording_id: RecordingId,
    by: str,
    reason: str,
    at_us: int,
    attempts: Sequence[ShreddedAttempt] = (),
) -> CustodyRecord:
    """Add a record to a recording's chain; what is in force already is not decreed again.

    Of several programs that do so at the same time, each sees what those before it decreed: a place in the
    chain is taken by a create-only put.

    Raises:
        ValueError: a text is empty or too long (the caller's mistake).
        HeldError: ``shred`` of a recording under hold.
        NotARecordingError, ShreddedError, IntegrityError, StoreError: as `place_hold`.
    """
    files = store.files(recording_id)
    for _ in range(_TURNS):
        listing = read_listing(files)
        if listing.is_empty:
            raise NotARecordingError(f"the store has no recording {recording_id}")
        last = read_custody(files, key_ring.public_key, recording_id=recording_id, listing=listing)
        if last is not None and last.action == action:
            return last
        if not may_follow(last, action):
            assert last is not None
            raise held_error(last) if last.action == "hold" else shredded_error(last)
        record = CustodyRecord(
            recording=recording_id,
            number=1 if last is None else last.number + 1,
            action=action,
            at_us=at_us,
            by=by,
            reason=reason,
            attempts=list(attempts),
        )
        note = encode_custody_record(record, public_key=key_ring.public_key, sign=key_ring.sign)
        try:
            store.put(recording_id, custody_name(record.number), note)
        except ChunkExistsError:
            continue  # another decree was first: look at it
        return record
    raise StoreError(f"recording {recording_id}: {_TURNS} other decrees came first; try again")


def held_error(hold: CustodyRecord) -> HeldError:
    """The refusal, with who holds it and why."""
    return HeldError(
        f"recording {hold.recording} is under legal hold by {hold.by!r} ({hold.reason}): release it first"
    )


def shredded_error(tombstone: CustodyRecord) -> ShreddedError:
    """What is said to whoever wants to read or hold a shredded recording."""
    return ShreddedError(
        f"recording {tombstone.recording} was shredded by {tombstone.by!r} ({tombstone.reason}): "
        "its keys are destroyed, its proof can still be verified"
    )
