"""What a recording's listing says: which attempts there are, and which files each of them has.

Source: docs/RECORDING.md §3.
"""

from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, assert_never

from vault.core.chunk_header import decode_header
from vault.core.ids import RecordingId, is_recording_id
from vault.core.layout import (
    MANIFEST_NAME,
    CheckpointFile,
    ChunkFile,
    CustodyFile,
    KeyRecordFile,
    ManifestFile,
    TemporaryFile,
    UnknownFile,
    checkpoint_name,
    chunk_name,
    custody_name,
    key_record_name,
    may_hold_key,
    parse_name,
)
from vault.core.sealing import MAX_CHUNK_BYTES
from vault.errors import FileMissingError, FormatError, IntegrityError, NotARecordingError, StoreError
from vault.ports import RecordingFiles

_NAMES_ASKED: Final = 8  # files that are asked which recording this is
_NAME_IN_NOTE: Final = re.compile(rb"greenroom/recording/([0-9a-f-]{36})/")


@dataclass(slots=True)
class AttemptListing:
    """The files of one attempt, by their numbers."""

    attempt: int
    revisions: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    leaves: list[int] = field(default_factory=list)

    def names(self) -> list[str]:
        """All of them by name."""
        return [
            *(key_record_name(self.attempt, revision) for revision in self.revisions),
            *(checkpoint_name(self.attempt, size) for size in self.sizes),
            *(chunk_name(self.attempt, leaf) for leaf in self.leaves),
        ]


@dataclass(slots=True)
class Listing:
    """The files of one recording.

    Attributes:
        attempts: by number, rising.
        custody: numbers of the custody records, rising.
        temporary: what puts that were cut short left behind.
        unknown: names that the format does not have, and what is no plain file.
        total_bytes: of all plain files.
    """

    attempts: dict[int, AttemptListing] = field(default_factory=dict)
    has_manifest: bool = False
    custody: list[int] = field(default_factory=list)
    temporary: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    total_bytes: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing of a recording here."""
        return not self.attempts and not self.has_manifest and not self.custody

    @property
    def key_files(self) -> list[str]:
        """Names of the files that may hold a wrapped key, those of puts that were cut short included."""
        records = [
            key_record_name(attempt.attempt, revision)
            for attempt in self.attempts.values()
            for revision in attempt.revisions
        ]
        return records + [name for name in self.temporary if may_hold_key(name)]

    def names(self) -> list[str]:
        """All files of the recording by name, without what is temporary or unknown."""
        manifest = [MANIFEST_NAME] if self.has_manifest else []
        in_attempts = [name for attempt in self.attempts.values() for name in attempt.names()]
        return manifest + in_attempts + [custody_name(number) for number in self.custody]


def read_listing(files: RecordingFiles) -> Listing:
    """List a recording and sort its files; numbers rise within each list.

    Raises:
        StoreError: the store refused or did not answer; worth trying again.
    """
    listing = Listing()
    attempts: dict[int, AttemptListing] = {}
    for file in files.list_files():
        if file.size_bytes is None:
            listing.unknown.append(file.name)
            continue
        listing.total_bytes += file.size_bytes
        match parse_name(file.name):
            case ManifestFile():
                listing.has_manifest = True
            case CustodyFile(number):
                listing.custody.append(number)
            case TemporaryFile():
                listing.temporary.append(file.name)
            case UnknownFile():
                listing.unknown.append(file.name)
            case ChunkFile(attempt, leaf):
                attempts.setdefault(attempt, AttemptListing(attempt)).leaves.append(leaf)
            case CheckpointFile(attempt, size):
                attempts.setdefault(attempt, AttemptListing(attempt)).sizes.append(size)
            case KeyRecordFile(attempt, revision):
                attempts.setdefault(attempt, AttemptListing(attempt)).revisions.append(revision)
            case other:
                assert_never(other)
    listing.custody.sort()
    for attempt in sorted(attempts):
        found = attempts[attempt]
        for numbers in (found.revisions, found.sizes, found.leaves):
            numbers.sort()
        listing.attempts[attempt] = found
    return listing


def find_recording_id(files: RecordingFiles, listing: Listing) -> RecordingId:
    """Which recording these files say they are; what they say is to be verified afterwards.

    Raises:
        NotARecordingError: none of them says it.
    """
    found: Counter[str] = Counter()
    for name in listing.names()[:_NAMES_ASKED]:
        try:
            data = files.read(name, max_bytes=MAX_CHUNK_BYTES)
        except (IntegrityError, FileMissingError, StoreError):
            continue
        if (match := _NAME_IN_NOTE.match(data)) is not None:
            found[match[1].decode()] += 1
        else:
            with suppress(FormatError):
                found[decode_header(data).recording_id] += 1
    ids = [name for name, _ in found.most_common() if is_recording_id(name)]
    if not ids:
        raise NotARecordingError("no file here says which recording it belongs to")
    return RecordingId(ids[0])
