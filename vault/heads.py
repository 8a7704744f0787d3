"""What of a recording counts, known with the public key alone: its manifest, or its latest checkpoints.

Source: docs/RECORDING.md §5.2, §6, §10.
"""

from __future__ import annotations

from typing import Final

from vault.core.checkpoint import TreeHead, decode_checkpoint
from vault.core.ids import RecordingId, VerifyKey
from vault.core.layout import MANIFEST_NAME, checkpoint_name
from vault.core.manifest import Manifest, decode_manifest
from vault.core.note import MAX_NOTE_BYTES
from vault.errors import FileMissingError, FormatError, IntegrityError, NotARecordingError
from vault.listing import AttemptListing, read_listing
from vault.ports import RecordingFiles

_LOOKS: Final = 5  # a checkpoint is replaced at most every half second; a look takes far less


def read_manifest(
    files: RecordingFiles, public_key: VerifyKey, recording_id: RecordingId
) -> tuple[Manifest, bytes] | None:
    """Read the manifest and the signed note that it stands in; None while there is none.

    Raises:
        IntegrityError: it is bad; the message names it.
        StoreError: worth trying again.
    """
    try:
        note = files.read(MANIFEST_NAME, max_bytes=MAX_NOTE_BYTES)
    except FileMissingError:
        return None
    try:
        return decode_manifest(note, recording_id=recording_id, public_key=public_key), note
    except IntegrityError as error:
        raise IntegrityError(f"{MANIFEST_NAME}: {error}") from error


def read_heads(
    files: RecordingFiles, public_key: VerifyKey, recording_id: RecordingId
) -> tuple[TreeHead, ...]:
    """Read the latest checkpoint of each attempt; a recorder may be replacing them meanwhile.

    Raises:
        NotARecordingError: there is no file of a recording here.
        IntegrityError: a checkpoint is bad; the message names it.
        FileMissingError: checkpoints kept on going while they were read.
        StoreError: worth trying again.
    """
    for _ in range(_LOOKS - 1):
        try:
            return _look(files, public_key, recording_id)
        except FileMissingError:
            continue
    return _look(files, public_key, recording_id)


def _look(files: RecordingFiles, public_key: VerifyKey, recording_id: RecordingId) -> tuple[TreeHead, ...]:
    listing = read_listing(files)
    if listing.is_empty:
        raise NotARecordingError(f"there is no recording {recording_id} here")
    attempts = listing.attempts.values()
    return tuple(_head(files, public_key, recording_id, attempt) for attempt in attempts if attempt.sizes)


def _head(
    files: RecordingFiles, public_key: VerifyKey, recording_id: RecordingId, listing: AttemptListing
) -> TreeHead:
    size = listing.sizes[-1]
    name = checkpoint_name(listing.attempt, size)
    data = files.read(name, max_bytes=MAX_NOTE_BYTES)
    try:
        head = decode_checkpoint(
            data, recording_id=recording_id, attempt=listing.attempt, public_key=public_key
        )
        if head.size != size:
            raise FormatError(f"it is the checkpoint over {head.size} leaves")
    except IntegrityError as error:
        raise IntegrityError(f"{name}: {error}") from error
    return head
