"""What the vault needs from outside: a place for files that are written once, and keys.

Everything here blocks; callers own the threads. Suites: tests/contracts/test_chunk_store.py and
tests/contracts/test_key_ring.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from vault.core.ids import KekId, RecordingId, VerifyKey
from vault.core.sealing import AttemptScope, WrappedKey


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One entry of a listing.

    Attributes:
        name: below the recording's folder, with ``/`` between parts.
        size_bytes: None when it is not a plain file (a link, a device).
    """

    name: str
    size_bytes: int | None


class RecordingFiles(Protocol):
    """The files of one recording, to be read. Adapters: dir_store (a folder), s3_store."""

    def list_files(self) -> list[StoredFile]:
        """Every entry there is, in order of name.

        Raises:
            StoreError: the store refused or did not answer; worth trying again.
        """

    def read(self, name: str, *, max_bytes: int) -> bytes:
        """The whole of one file.

        Raises:
            FileMissingError: there is none of this name.
            FormatError: it is larger than ``max_bytes``, or no plain file.
            StoreError: the store refused or did not answer; worth trying again.
        """

    def read_start(self, name: str, *, length: int) -> bytes:
        """The first ``length`` bytes of one file, all of it when it is shorter; the rest is not fetched.

        Raises:
            FileMissingError: there is none of this name.
            FormatError: it is no plain file.
            StoreError: the store refused or did not answer; worth trying again.
        """


class HeldSpace(Protocol):
    """Space that a store keeps aside; the end of the process gives it back too."""

    def release(self) -> None:
        """Give it back; again is no error."""


class ChunkStore(Protocol):
    """Keeps the files of recordings, each written once and never changed.

    Can be built on any store with create-only puts (a directory, an S3 bucket with If-None-Match).
    Adapters: dir_store, s3_store; fake: MemoryChunkStore. Suite: tests/contracts/test_chunk_store.py.
    """

    def check(self) -> None:
        """Find out at the start whether files can be put here and are never replaced.

        Raises:
            StoreSetupError: not as it is set; trying again does not help.
            StoreError: the store did not answer; it may later.
        """

    def put(self, recording_id: RecordingId, name: str, data: bytes) -> None:
        """Store one file. When this returns, the file survives a power cut.

        Until then there is no file of this name, never a part of one. May be called from several threads.

        Raises:
            ChunkExistsError: the place holds other bytes. The same bytes again are no error, so a put that
                timed out can be repeated.
            StoreFullError: no space left.
            StoreError: the store refused or did not answer; worth trying again.
        """

    def hold_space(self, size_bytes: int) -> HeldSpace:
        """Keep space aside, so that files of this size together can be put once it is released.

        A store that has no end of its own, as a bucket, keeps nothing.

        Raises:
            StoreFullError: there is not so much left.
            StoreError: the store refused or did not answer; worth trying again.
        """

    def delete(self, recording_id: RecordingId, name: str) -> None:
        """Remove one file, for good; one that is not there is no error.

        Of files that may hold a wrapped key (`layout.may_hold_key`) a store that can overwrites the bytes.

        Raises:
            StoreError: the store refused or did not answer; worth trying again.
        """

    def files(self, recording_id: RecordingId) -> RecordingFiles:
        """The files of one recording, to be read; of an unknown one, none."""

    def list_recordings(self) -> list[RecordingId]:
        """Every recording of which there is a folder or an object, in order.

        Raises:
            StoreError: the store refused or did not answer; worth trying again.
        """


class KeyRing(Protocol):
    """Wraps and unwraps data keys and signs, without showing a key.

    Opened by `vault.opening_keys`. Adapters: key_files (also under a passphrase), transit_keys. Suite:
    tests/contracts/test_key_ring.py. A key service is asked by `wrap` and `unwrap` only: what is open stays
    open without it.
    """

    @property
    def kek_id(self) -> KekId:
        """The key-encryption key that wraps new data keys.

        Raises:
            KeyFileError: there is none, or it is not clear which.
        """

    @property
    def public_key(self) -> VerifyKey:
        """The public half of the signing key."""

    def wrap(self, data_key: bytes, scope: AttemptScope) -> WrappedKey:
        """Encrypt a data key under the active key-encryption key; the form is docs/RECORDING.md §4.3.

        Raises:
            KeyFileError: there is no such key, or the key service forbids it.
            KeyServiceError: the key service did not answer; worth trying again.
        """

    def unwrap(self, wrapped: WrappedKey, scope: AttemptScope) -> bytes:
        """Decrypt a data key.

        Raises:
            WrongKeyError: no key of this id is at hand, or it does not open it.
            KeyFileError: the key service forbids it.
            KeyServiceError: the key service did not answer; worth trying again.
        """

    def has_kek(self, kek_id: KekId) -> bool:
        """Whether what this key wrapped can be unwrapped here."""

    def sign(self, message: bytes) -> bytes:
        """Ed25519 over ``message``, 64 bytes; the same message always gives the same signature.

        Raises:
            KeyFileError: the signing key is not at hand.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Kek:
    """One key-encryption key of a ring.

    Attributes:
        since_s: Unix time from which it is in use, in seconds; of one that is not active any more, when it
            was made.
    """

    kek_id: KekId
    is_active: bool
    since_s: int


class KekRing(KeyRing, Protocol):
    """A KeyRing whose key-encryption keys can be replaced."""

    def keks(self) -> list[Kek]:
        """All key-encryption keys that there are; exactly one is active.

        Raises:
            KeyFileError, KeyServiceError: as `KeyRing.wrap`.
        """

    def rotate(self, now_s: int) -> KekId:
        """Make a new key-encryption key and let it wrap from now on. The old ones stay.

        Killed at any moment, the old one or the new one is active, and both open what they wrapped.

        Raises:
            KeyFileError: it cannot be made, or the key service forbids it.
            KeyServiceError: the key service did not answer; it may have rotated all the same.
        """

    def destroy(self, kek_id: KekId) -> None:
        """Destroy an old key-encryption key. That nothing needs it is the caller's check.

        Raises:
            ValueError: it is the active one (the caller's mistake).
            KeyFileError: it cannot be destroyed from here.
        """
