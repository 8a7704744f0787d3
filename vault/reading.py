"""Reading: chunks of a stored recording, opened one at a time, each authenticated before any byte leaves.

Source: docs/RECORDING.md §12.
"""

from __future__ import annotations

import hmac
from contextlib import suppress
from typing import Final

from vault.attempts import verify_place
from vault.core.chunk_header import ChunkHeader, ChunkKind
from vault.core.ids import RecordingId, VerifyKey
from vault.core.key_record import KeyRecord, decode_key_record
from vault.core.layout import chunk_name, key_record_name
from vault.core.note import MAX_NOTE_BYTES
from vault.core.prologue import TrackPrologue, decode_init
from vault.core.sealing import (
    MAX_CHUNK_BYTES,
    ChunkKeys,
    derive_keys,
    open_chunk,
    verify_chunk,
    verify_commitment,
)
from vault.custody import read_custody, shredded_error
from vault.errors import FileMissingError, FormatError, IntegrityError, NotARecordingError
from vault.listing import read_listing
from vault.ports import KeyRing, RecordingFiles

_LOOKS: Final = 5  # at a listing whose key records are being replaced


class RecordingReader:
    """Opens the chunks of one recording; made by `open`."""

    def __init__(
        self,
        files: RecordingFiles,
        public_key: VerifyKey,
        recording_id: RecordingId,
        attempts: dict[int, tuple[KeyRecord, ChunkKeys]],
    ) -> None:
        self._files = files
        self._public_key = public_key
        self._recording_id = recording_id
        self._attempts = attempts

    @classmethod
    def open(cls, files: RecordingFiles, key_ring: KeyRing, *, recording_id: RecordingId) -> RecordingReader:
        """Unwrap the data keys of all attempts.

        Raises:
            NotARecordingError: there is no attempt here.
            KeyServiceError: the key service did not answer; worth trying again.
            ShreddedError: its keys are destroyed.
            WrongKeyError: a data key does not unwrap, or is not the one that the key record commits to.
            IntegrityError: a key record is bad; the message names it.
            StoreError: worth trying again.
        """
        for _ in range(_LOOKS - 1):
            with suppress(FileMissingError):  # a rotation removed a key record that it replaced: list again
                attempts = _unwrap_all(files, key_ring, recording_id)
                break
        else:
            attempts = _unwrap_all(files, key_ring, recording_id)
        return cls(files, key_ring.public_key, recording_id, attempts)

    @property
    def attempts(self) -> frozenset[int]:
        """The attempts whose keys are here."""
        return frozenset(self._attempts)

    @property
    def key_records(self) -> tuple[str, ...]:
        """Names of the key records that were opened."""
        return tuple(
            key_record_name(record.attempt, record.revision) for record, _ in self._attempts.values()
        )

    def wall_start_us(self, attempt: int) -> int:
        """Unix time in microseconds from which the offsets of an attempt count."""
        return self._attempts[attempt][0].wall_start_us

    def read_chunk(
        self, attempt: int, leaf: int, *, leaf_hash: bytes | None = None
    ) -> tuple[ChunkHeader, bytes]:
        """Read, verify and decrypt one chunk.

        Args:
            attempt: its attempt.
            leaf: its number in the attempt's tree.
            leaf_hash: what it must hash to, when a verification has shown that; 32 bytes.

        Returns:
            The header and the plaintext, both authentic.

        Raises:
            IntegrityError: the chunk is not what was sealed there; the message names its file.
            FileMissingError: there is no such leaf.
            StoreError: worth trying again.
        """
        name = chunk_name(attempt, leaf)
        try:
            data = self._files.read(name, max_bytes=MAX_CHUNK_BYTES)
            header, found_hash = verify_chunk(data, public_key=self._public_key)
            verify_place(header, recording_id=self._recording_id, attempt=attempt, leaf=leaf)
            if leaf_hash is not None and not hmac.compare_digest(leaf_hash, found_hash):
                raise IntegrityError("it is not the chunk that was verified")
            return header, open_chunk(data, header, keys=self._attempts[attempt][1])
        except IntegrityError as error:
            raise IntegrityError(f"{name}: {error}") from error

    def read_init(
        self, attempt: int, leaf: int, *, leaf_hash: bytes | None = None
    ) -> tuple[TrackPrologue, bytes]:
        """Read an init chunk: the prologue, and the container's init part. Raises as `read_chunk`."""
        header, plaintext = self.read_chunk(attempt, leaf, leaf_hash=leaf_hash)
        name = chunk_name(attempt, leaf)
        if header.kind is not ChunkKind.INIT:
            raise FormatError(f"{name}: it does not begin an init run")
        try:
            return decode_init(plaintext)
        except FormatError as error:
            raise FormatError(f"{name}: {error}") from error


def _unwrap_all(
    files: RecordingFiles, key_ring: KeyRing, recording_id: RecordingId
) -> dict[int, tuple[KeyRecord, ChunkKeys]]:
    attempts: dict[int, tuple[KeyRecord, ChunkKeys]] = {}
    listed = read_listing(files)
    custody = read_custody(files, key_ring.public_key, recording_id=recording_id, listing=listed)
    if custody is not None and custody.action == "shred":
        raise shredded_error(custody)
    for attempt, listing in listed.attempts.items():
        if not listing.revisions:
            continue
        record = _read_key_record(
            files, key_ring.public_key, recording_id, attempt=attempt, revision=listing.revisions[-1]
        )
        data_key = key_ring.unwrap(record.wrapped, record.scope)
        keys = derive_keys(data_key, salt=record.salt, scope=record.scope)
        verify_commitment(keys, record.commitment)
        attempts[attempt] = (record, keys)
    if not attempts:
        raise NotARecordingError(f"there is no attempt of recording {recording_id} here")
    return attempts


def _read_key_record(
    files: RecordingFiles, public_key: VerifyKey, recording_id: RecordingId, *, attempt: int, revision: int
) -> KeyRecord:
    name = key_record_name(attempt, revision)
    try:
        return decode_key_record(
            files.read(name, max_bytes=MAX_NOTE_BYTES),
            recording_id=recording_id,
            attempt=attempt,
            revision=revision,
            public_key=public_key,
        )
    except IntegrityError as error:
        raise IntegrityError(f"{name}: {error}") from error
