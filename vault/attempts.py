"""Checking the files of one attempt: key records, checkpoints, and chunks in leaf order.

Used by verification (which goes on after a bad file and names all), recovery and export.

Source: docs/RECORDING.md §10.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from vault.core.checkpoint import TreeHead, decode_checkpoint
from vault.core.chunk_header import ChunkHeader
from vault.core.coverage import CoverageBuilder, TrackCoverage
from vault.core.custody_record import CustodyRecord
from vault.core.ids import RecordingId, VerifyKey
from vault.core.key_record import KeyRecord, decode_key_record
from vault.core.layout import checkpoint_name, chunk_name, key_record_name
from vault.core.merkle import EMPTY_ROOT, TreeBuilder
from vault.core.note import MAX_NOTE_BYTES
from vault.core.sealing import MAX_CHUNK_BYTES, verify_chunk
from vault.errors import FileMissingError, FormatError, IntegrityError, ProofError, StoreError
from vault.listing import AttemptListing, read_listing
from vault.ports import RecordingFiles

Blame = Callable[[str, Exception], None]
"""Takes the name of a file and what is wrong with it."""

ReadBytes = Callable[[int], None]
"""Is told how many more bytes were read."""


@dataclass(frozen=True, slots=True)
class VerifiedChunk:
    """A leaf that is what its recorder signed, in its place."""

    header: ChunkHeader
    leaf_hash: bytes


@dataclass(frozen=True, slots=True)
class AttemptFacts:
    """What chunks and manifest must agree with: the key record's word, or after it the tombstone's."""

    tenant: bytes
    wall_start_us: int


@dataclass(slots=True)
class VerifiedAttempt:
    """What of an attempt is good.

    Attributes:
        key_record: of the highest revision; None when there is no good one, or the recording was shredded.
        facts: of the key record or the tombstone; None when neither says them.
        acknowledged_size: size of the largest good checkpoint.
        chunks: the good leaves from 0 on, without a hole; those from ``size`` on are not counted.
        size: leaves that count: the closed size, else the acknowledged one.
        root: over ``size`` leaves; empty when some of them are bad or missing.
        tracks: coverage of the leaves that count.
        late: names of files that came after the attempt was closed.
    """

    attempt: int
    key_record: KeyRecord | None = None
    facts: AttemptFacts | None = None
    acknowledged_size: int = 0
    chunks: list[VerifiedChunk] = field(default_factory=list)
    size: int = 0
    root: bytes = b""
    tracks: list[TrackCoverage] = field(default_factory=list)
    late: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptChecker:
    """Checks one attempt; bad files go to ``blame``, one call each.

    Attributes:
        closed_size: at which size the manifest says it was closed; None without one.
        tombstone: of a shredded recording; then key records are not looked at.
        against: tree heads of this attempt known from elsewhere, which its tree must lead through.
    """

    files: RecordingFiles
    listing: AttemptListing
    recording_id: RecordingId
    public_key: VerifyKey
    blame: Blame
    closed_size: int | None = None
    tombstone: CustodyRecord | None = None
    against: tuple[TreeHead, ...] = ()
    on_read: ReadBytes = lambda count: None

    def check(self) -> VerifiedAttempt:
        """Check every file of the attempt."""
        result = VerifiedAttempt(attempt=self.listing.attempt)
        shredded = None
        if self.tombstone is None:
            result.key_record = record = self._check_key_records()
            if record is not None:
                result.facts = AttemptFacts(record.tenant, record.wall_start_us)
        else:
            named = [one for one in self.tombstone.attempts if one.attempt == self.listing.attempt]
            shredded = named[0] if named else None
            if shredded is not None:
                result.facts = AttemptFacts(bytes.fromhex(shredded.tenant), shredded.wall_start_us)
        heads = self._check_checkpoints()
        result.acknowledged_size = max((head.size for head in heads), default=0)
        counted = result.acknowledged_size if shredded is None else shredded.size
        result.size = counted if self.closed_size is None else self.closed_size
        self._check_chunks(result, heads)
        attempt, size = self.listing.attempt, result.size
        if self.closed_size is not None or shredded is not None:
            result.late += [chunk_name(attempt, leaf) for leaf in self.listing.leaves if leaf >= size]
            result.late += [checkpoint_name(attempt, other) for other in self.listing.sizes if other > size]
        if self.closed_size and size not in self.listing.sizes:
            self.blame(checkpoint_name(attempt, size), FileMissingError("it is missing"))
        return result

    def _check_key_records(self) -> KeyRecord | None:
        attempt, latest = self.listing.attempt, None
        if not self.listing.revisions:
            self.blame(key_record_name(attempt, 1), FileMissingError("the attempt's key record is missing"))
        for revision in self.listing.revisions:
            name = key_record_name(attempt, revision)
            try:
                record = decode_key_record(
                    self._read(name, MAX_NOTE_BYTES),
                    recording_id=self.recording_id,
                    attempt=attempt,
                    revision=revision,
                    public_key=self.public_key,
                )
                if latest is not None and not _is_rewrap(latest, record):
                    raise FormatError("it differs from the revision before in more than the wrapping")
            except FileMissingError as error:
                if not self._is_replaced(revision):
                    self.blame(name, error)
                continue
            except (IntegrityError, StoreError) as error:
                self.blame(name, error)
                continue
            latest = record
        return latest

    def _is_replaced(self, revision: int) -> bool:
        """Whether a key record that was listed and is gone was replaced by a rotation meanwhile."""
        now = read_listing(self.files).attempts.get(self.listing.attempt)
        if now is None or not now.revisions or now.revisions[-1] <= revision:
            return False
        self.listing.revisions += [new for new in now.revisions if new > self.listing.revisions[-1]]
        return True

    def _check_checkpoints(self) -> list[TreeHead]:
        heads: list[TreeHead] = []
        for size in self.listing.sizes:
            name = checkpoint_name(self.listing.attempt, size)
            try:
                head = decode_checkpoint(
                    self._read(name, MAX_NOTE_BYTES),
                    recording_id=self.recording_id,
                    attempt=self.listing.attempt,
                    public_key=self.public_key,
                )
                if head.size != size:
                    raise FormatError(f"it is the checkpoint over {head.size} leaves")
            except (IntegrityError, FileMissingError, StoreError) as error:
                self.blame(name, error)
                continue
            heads.append(head)
        return heads

    def _check_chunks(self, result: VerifiedAttempt, heads: Iterable[TreeHead]) -> None:
        due = {head.size: head for head in heads}
        tree, coverage, next_leaf = TreeBuilder(), CoverageBuilder(), 0
        is_good = has_no_hole = True
        for leaf in self.listing.leaves:
            is_good = self._blame_missing(next_leaf, min(leaf, result.size)) and is_good
            has_no_hole = has_no_hole and leaf == next_leaf
            next_leaf = leaf + 1
            chunk = self._check_chunk(leaf, result.facts)
            is_good = is_good and chunk is not None
            if chunk is None or not is_good or not has_no_hole:
                continue
            try:
                coverage.add(chunk.header)
            except FormatError as error:
                self.blame(chunk_name(self.listing.attempt, leaf), error)
                is_good = False
                continue
            tree.append(chunk.leaf_hash)
            result.chunks.append(chunk)
            self._check_heads(tree, due)
            if tree.size == result.size:
                result.root, result.tracks = tree.root(), coverage.tracks()
        is_good = self._blame_missing(next_leaf, result.size) and is_good
        if result.size == 0:
            result.root = EMPTY_ROOT
        known = max((head.size for head in self.against), default=0)
        if is_good and known > tree.size:
            name = chunk_name(self.listing.attempt, tree.size)
            self.blame(name, FileMissingError(f"it is missing, though a tree of {known} leaves is known"))

    def _check_heads(self, tree: TreeBuilder, due: dict[int, TreeHead]) -> None:
        head = due.get(tree.size)
        name = checkpoint_name(self.listing.attempt, tree.size)
        if head is not None and head.root != tree.root():
            self.blame(name, ProofError("its root hash is not the root over the stored chunks"))
        for known in self.against:
            if known.size == tree.size and known.root != tree.root():
                name = chunk_name(self.listing.attempt, tree.size - 1)
                self.blame(name, ProofError(f"up to it the tree differs from the root known at {tree.size}"))

    def _check_chunk(self, leaf: int, facts: AttemptFacts | None) -> VerifiedChunk | None:
        name = chunk_name(self.listing.attempt, leaf)
        try:
            header, leaf_hash = verify_chunk(self._read(name, MAX_CHUNK_BYTES), public_key=self.public_key)
            verify_place(header, recording_id=self.recording_id, attempt=self.listing.attempt, leaf=leaf)
            if facts is not None and header.tenant != facts.tenant:
                raise FormatError("it belongs to another tenant than the attempt's key record")
        except (IntegrityError, FileMissingError, StoreError) as error:
            self.blame(name, error)
            return None
        return VerifiedChunk(header, leaf_hash)

    def _blame_missing(self, start: int, end: int) -> bool:
        """Name the first of the missing leaves start..end-1; true when there is none."""
        if start >= end:
            return True
        others = f", and {end - start - 1} after it" if end - start > 1 else ""
        self.blame(chunk_name(self.listing.attempt, start), FileMissingError(f"it is missing{others}"))
        return False

    def _read(self, name: str, max_bytes: int) -> bytes:
        data = self.files.read(name, max_bytes=max_bytes)
        self.on_read(len(data))
        return data


def verify_place(header: ChunkHeader, *, recording_id: RecordingId, attempt: int, leaf: int) -> None:
    """Check that a chunk is the one that its name says.

    Raises:
        FormatError: it belongs elsewhere.
    """
    if (header.recording_id, header.attempt, header.leaf) != (recording_id, attempt, leaf):
        raise FormatError(
            f"it belongs elsewhere: leaf {header.leaf} of attempt {header.attempt} of {header.recording_id}"
        )


def _is_rewrap(before: KeyRecord, after: KeyRecord) -> bool:
    return (before.wall_start_us, before.salt, before.commitment, before.tenant) == (
        after.wall_start_us,
        after.salt,
        after.commitment,
        after.tenant,
    )
