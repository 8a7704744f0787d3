"""A recording that is being read: its tracks on one timeline, and bytes of them, each authenticated first.

    recording = OpenRecording.open(files, key_ring, recording_id=…)
    recording.refresh()                                  # an unfinished one grows
    for part in recording.read(run, start=0, end=…): …   # init part, then fragments; a chunk is read when due

A complete recording is what its manifest closes; an unfinished one what its latest checkpoints cover.
Everything blocks. Media is decrypted in memory only, and one chunk at a time.

Source: docs/RECORDING.md §7, §12; docs/PLAYBACK.md.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from vault.core.checkpoint import TreeHead
from vault.core.ids import RecordingId
from vault.core.layout import MANIFEST_NAME, chunk_name
from vault.core.manifest import Manifest, place_track
from vault.core.prologue import TrackPrologue
from vault.errors import FileMissingError, FormatError, IntegrityError
from vault.heads import read_heads, read_manifest
from vault.ports import KeyRing, RecordingFiles
from vault.reading import RecordingReader
from vault.segment_index import AttemptIndex, IndexedRun, Segment


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayRun:
    """One init run: a file of its own, init part first.

    Attributes:
        number: within its track, from 0, over all attempts.
        wall_start_us: of its attempt, after the recording's start.
    """

    number: int
    prologue: TrackPrologue
    init_part: bytes = field(repr=False)
    wall_start_us: int
    indexed: IndexedRun

    @property
    def segments(self) -> list[Segment]:
        """Its media, in order."""
        return self.indexed.segments

    @property
    def size_bytes(self) -> int:
        """Of the whole file."""
        return len(self.init_part) + self.indexed.media_bytes

    @property
    def offset_us(self) -> int:
        """Where pts 0 lies on the recording's timeline."""
        return self.wall_start_us + self.indexed.offset_us

    def time_us(self, pts: int) -> int:
        """Where a pts lies on the recording's timeline."""
        base = self.indexed.time_base
        return self.offset_us + pts * base.numerator * 1_000_000 // base.denominator


@dataclass(slots=True, kw_only=True)
class PlayTrack:
    """One track of the session, over all attempts. Its number stays while the recording grows."""

    number: int
    kind: Literal["audio", "video"]
    identity: str
    name: str
    runs: list[PlayRun] = field(default_factory=list)


class OpenRecording:
    """One recording; made by `open`. Several threads may read at once."""

    def __init__(self, files: RecordingFiles, key_ring: KeyRing, recording_id: RecordingId) -> None:
        self._files = files
        self._key_ring = key_ring
        self._recording_id = recording_id
        self._lock = threading.Lock()  # held while the index grows
        self._reader = RecordingReader.open(files, key_ring, recording_id=recording_id)
        self._indexes: dict[int, AttemptIndex] = {}
        self._inits: dict[tuple[int, int], tuple[TrackPrologue, bytes]] = {}
        self.manifest: Manifest | None = None
        self.heads: tuple[TreeHead, ...] = ()
        self.media_start_us = 0
        self.tracks: tuple[PlayTrack, ...] = ()

    @classmethod
    def open(cls, files: RecordingFiles, key_ring: KeyRing, *, recording_id: RecordingId) -> OpenRecording:
        """Unwrap its keys and index it.

        Raises:
            NotARecordingError: there is no such recording here.
            WrongKeyError: the keys do not open it.
            IntegrityError: a key record, checkpoint, header or init part is bad; the message names the file.
            FileMissingError: a chunk that counts is missing.
            StoreError: worth trying again.
        """
        opened = cls(files, key_ring, recording_id)
        opened.refresh()
        return opened

    @property
    def leaves(self) -> int:
        """How many chunks are indexed."""
        return sum(index.size for index in self._indexes.values())

    def has_its_keys(self) -> bool:
        """Whether the key records that it was opened with are still stored; a shred takes them away.

        Raises:
            StoreError: worth trying again.
        """
        try:
            for name in self._reader.key_records:
                self._files.read_start(name, length=1)
        except (FileMissingError, FormatError):
            return False
        return True

    def refresh(self) -> None:
        """Take in what was acknowledged since; a complete recording stays as it is. Raises as `open`."""
        with self._lock:
            if self.manifest is not None:
                return
            files, public_key = self._files, self._key_ring.public_key
            found = read_manifest(files, public_key, self._recording_id)
            manifest = None if found is None else found[0]
            if manifest is None:
                self.heads = read_heads(files, public_key, self._recording_id)
            else:
                self.heads = tuple(close.head for close in manifest.attempts)
            attempts = {head.attempt for head in self.heads}
            if not attempts <= self._reader.attempts:
                self._reader = RecordingReader.open(files, self._key_ring, recording_id=self._recording_id)
            for head in self.heads:
                index = self._indexes.get(head.attempt)
                if index is None or index.size > head.size:  # closed before what its recorder still stored
                    index = AttemptIndex(self._files, self._recording_id, head.attempt)
                    self._indexes[head.attempt] = index
                index.extend(head.size)
            if manifest is not None:
                self._check_coverage(manifest)
                self.media_start_us = manifest.media_start_us
            else:
                self.media_start_us = min(map(self._reader.wall_start_us, self._reader.attempts))
            self.tracks = self._group()
            self.manifest = manifest

    def read(self, run: PlayRun, *, start: int, end: int) -> Iterator[bytes]:
        """Read bytes ``start`` to ``end`` of a run's file, chunk by chunk.

        Args:
            run: of this recording.
            start: first byte, 0 is the first of the init part.
            end: behind the last byte, at most the run's size.

        Raises:
            IntegrityError: a chunk is not what was recorded; nothing of it was given. The message names it.
            FileMissingError: a chunk is missing.
            StoreError: worth trying again.
        """
        head = len(run.init_part)
        if start < min(end, head):
            yield run.init_part[start:end]
        segments = run.segments
        position = bisect_right(segments, max(start - head, 0), key=lambda segment: segment.start_byte) - 1
        for segment in segments[max(position, 0) :]:
            first = head + segment.start_byte
            if first >= end:
                break
            plaintext = self.read_segment(run, segment)
            part = plaintext[max(start - first, 0) : end - first]
            if part:
                yield part

    def read_segment(self, run: PlayRun, segment: Segment) -> bytes:
        """Read one segment's fragments. Raises as `read`."""
        attempt, leaf = run.indexed.attempt, segment.leaf
        header, plaintext = self._reader.read_chunk(attempt, leaf)
        if not segment.is_of(header) or (header.track, header.run) != (run.indexed.track, run.indexed.run):
            raise IntegrityError(f"{chunk_name(attempt, leaf)}: its header is not the one that was indexed")
        return plaintext

    # --- what there is ---

    def _check_coverage(self, manifest: Manifest) -> None:
        """Headers that were altered or cut off show here, before a chunk of them is opened."""
        stored = [
            place_track(coverage, close, media_start_us=manifest.media_start_us)
            for close in manifest.attempts
            for coverage in self._indexes[close.attempt].coverage()
        ]
        stated = [msgspec.structs.replace(track, expected_us=0) for track in manifest.tracks]
        if stated != [msgspec.structs.replace(track, expected_us=0) for track in stored]:
            raise FormatError(f"{MANIFEST_NAME}: its coverage is not what the chunks' headers say")

    def _group(self) -> tuple[PlayTrack, ...]:
        """Put the runs of one participant's track together, in the order in which they began."""
        tracks: dict[tuple[str, str, str], PlayTrack] = {}
        for attempt in sorted(self._indexes):
            wall_start_us = self._reader.wall_start_us(attempt) - self.media_start_us
            for indexed in self._indexes[attempt].runs:
                prologue, init_part = self._init(attempt, indexed.init_leaf)
                if prologue.kind == "data":
                    continue  # of an upload: no player takes it
                key = (prologue.kind, prologue.identity, prologue.name)
                if key not in tracks:
                    tracks[key] = PlayTrack(
                        number=len(tracks) + 1,
                        kind=prologue.kind,
                        identity=prologue.identity,
                        name=prologue.name,
                    )
                runs = tracks[key].runs
                runs.append(
                    PlayRun(
                        number=len(runs),
                        prologue=prologue,
                        init_part=init_part,
                        wall_start_us=wall_start_us,
                        indexed=indexed,
                    )
                )
        return tuple(tracks.values())

    def _init(self, attempt: int, leaf: int) -> tuple[TrackPrologue, bytes]:
        if (attempt, leaf) not in self._inits:
            self._inits[attempt, leaf] = self._reader.read_init(attempt, leaf)
        return self._inits[attempt, leaf]
