"""Upload recordings: bytes that callers send in numbered chunks, sealed like media on one track.

    upload = Upload.open(store, key_ring, recording_id=…, started_us=…)
    place = upload.put(0, b"…")        # stored and acknowledged when it returns
    manifest = upload.close(session="…")

One program at a time has an upload. What a program that died left is taken from the listing: its attempt is
never gone on with, because a counter that is resumed could seal two texts under one nonce; the next chunk
begins another attempt. An index is given out once over all of them. Everything blocks.

Source: docs/RECORDING.md §15.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from vault.attempts import verify_place
from vault.completion import RecordingFacts, complete_recording
from vault.core.checkpoint import TreeHead
from vault.core.chunk_header import HEADER_BYTES, ChunkKind, decode_header
from vault.core.ids import RecordingId
from vault.core.layout import chunk_name
from vault.core.manifest import AttemptClose, Manifest
from vault.core.prologue import TrackPrologue
from vault.errors import FormatError, IntegrityError, UploadClosedError, UploadConflictError
from vault.heads import read_manifest
from vault.listing import read_listing
from vault.ports import ChunkStore, KeyRing, RecordingFiles
from vault.reading import RecordingReader
from vault.recovery import recover_attempt
from vault.writing import AttemptWriter

MAX_INDEX: Final = 99_999  # an index costs memory while the upload is open
MAX_PART_BYTES: Final = 4 * 1024 * 1024

_TRACK: Final = 1
_TICK: Final = Fraction(1, 1)  # a chunk lies at its index: what is missing shows as a gap
_INIT_PART: Final = b"greenroom upload 1\n"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bytes of an index lie."""

    attempt: int
    leaf: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A chunk that is stored.

    Attributes:
        is_new: False when it was stored before.
        head: the tree head that acknowledges it; None of one that was stored before.
    """

    place: Place
    is_new: bool
    head: TreeHead | None = None


class Upload:
    """One upload recording; made by `open`. After an error of `put` open it anew."""

    def __init__(
        self,
        store: ChunkStore,
        key_ring: KeyRing,
        *,
        recording_id: RecordingId,
        started_us: int,
        places: dict[int, Place],
        attempts: list[int],
        manifest: Manifest | None,
    ) -> None:
        self._store = store
        self._key_ring = key_ring
        self._recording_id = recording_id
        self._started_us = started_us
        self._places = places
        self._attempts = attempts
        self._manifest = manifest
        self._writer: AttemptWriter | None = None
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls, store: ChunkStore, key_ring: KeyRing, *, recording_id: RecordingId, started_us: int
    ) -> Upload:
        """Find what is stored of an upload; nothing is written yet.

        Args:
            store: where it lies.
            key_ring: wraps, opens and signs.
            recording_id: which.
            started_us: Unix time in microseconds from which it counts; the same at each opening.

        Raises:
            IntegrityError: a file is not what was stored there.
            StoreError: worth trying again.
        """
        files = store.files(recording_id)
        listing = read_listing(files)
        places: dict[int, Place] = {}
        for attempt in listing.attempts.values():
            for due, leaf in enumerate(attempt.leaves):
                if leaf != due:
                    break  # beyond a hole nothing was acknowledged, and recovery takes nothing
                _note_place(files, recording_id, Place(attempt.attempt, leaf), places)
        found = read_manifest(files, key_ring.public_key, recording_id)
        return cls(
            store,
            key_ring,
            recording_id=recording_id,
            started_us=started_us,
            places=places,
            attempts=list(listing.attempts),
            manifest=None if found is None else found[0],
        )

    @property
    def places(self) -> Mapping[int, Place]:
        """Where each index lies."""
        return self._places

    @property
    def is_empty(self) -> bool:
        """Whether not even an attempt was begun: there is nothing to close."""
        return not self._attempts

    def put(self, index: int, data: bytes) -> Part:
        """Store a chunk; when this returns it survives a power cut and a signed checkpoint covers it.

        Args:
            index: its number, 0 to `MAX_INDEX`, in any order; given out once.
            data: 1 byte to `MAX_PART_BYTES`.

        Raises:
            ValueError: an argument is out of its range (the caller's mistake).
            UploadConflictError: the index holds other bytes. The same bytes again are no error.
            UploadClosedError: too late, and the index holds nothing.
            IntegrityError: the index holds bytes that are not what was stored there.
            ChunkExistsError, StoreError, KeyFileError: worth trying again, with the upload opened anew.
        """
        if not 0 <= index <= MAX_INDEX:
            raise ValueError(f"index {index} is outside 0..{MAX_INDEX}")
        if not 1 <= len(data) <= MAX_PART_BYTES:
            raise ValueError(f"a chunk of {len(data)} bytes; it has 1 to {MAX_PART_BYTES}")
        with self._lock:
            place = self._places.get(index)
            if place is not None:
                self._compare(index, place, data)
                return Part(place=place, is_new=False)
            if self._manifest is not None:
                raise UploadClosedError(f"upload {self._recording_id} is closed; it takes no more chunks")
            writer = self._writer or self._begin()
            sealed = writer.seal(_TRACK, data, first_pts=index, duration_pts=1, has_keyframe=True)
            writer.put(sealed)
            checkpoint = writer.checkpoint()
            assert checkpoint is not None
            place = self._places[index] = Place(sealed.header.attempt, sealed.header.leaf)
            return Part(place=place, is_new=True, head=checkpoint.head)

    def close(self, *, session: str) -> Manifest:
        """Close every attempt and store the manifest; repeated, it is the same one.

        Args:
            session: the session's id, 1 to 256 characters.

        Raises:
            ValueError: nothing was stored (the caller's mistake).
            IntegrityError: what was acknowledged is damaged or missing; the manifest is not written.
            StoreError, KeyFileError: worth trying again, with the upload opened anew.
        """
        with self._lock:
            if self._manifest is None:
                closes = [self._close_attempt(attempt) for attempt in self._attempts]
                self._manifest = complete_recording(
                    self._store,
                    self._key_ring,
                    recording_id=self._recording_id,
                    closes=closes,
                    facts=RecordingFacts(session=session, capture="upload"),
                )
            return self._manifest

    def _begin(self) -> AttemptWriter:
        attempt = max(self._attempts, default=0) + 1
        writer = AttemptWriter.open(
            self._store,
            self._key_ring,
            recording_id=self._recording_id,
            attempt=attempt,
            wall_start_us=self._started_us,
        )
        prologue = TrackPrologue(
            kind="data", codec="", mime="application/octet-stream", identity="", name="upload"
        )
        writer.put(writer.seal_init(_TRACK, prologue, _INIT_PART, time_base=_TICK, offset_us=0))
        self._attempts.append(attempt)
        self._writer = writer
        return writer

    def _close_attempt(self, attempt: int) -> AttemptClose:
        if self._writer is not None and attempt == self._attempts[-1]:
            return self._writer.close()
        return recover_attempt(
            self._store.files(self._recording_id),
            self._key_ring.public_key,
            recording_id=self._recording_id,
            attempt=attempt,
        )

    def _compare(self, index: int, place: Place, data: bytes) -> None:
        reader = RecordingReader.open(
            self._store.files(self._recording_id), self._key_ring, recording_id=self._recording_id
        )
        header, stored = reader.read_chunk(place.attempt, place.leaf)
        if header.first_pts != index:
            raise IntegrityError(f"{chunk_name(place.attempt, place.leaf)}: it is not the chunk of {index}")
        if stored != data:
            raise UploadConflictError(
                f"index {index} of upload {self._recording_id} holds other bytes; a chunk is never changed"
            )


def _note_place(
    files: RecordingFiles, recording_id: RecordingId, place: Place, places: dict[int, Place]
) -> None:
    name = chunk_name(place.attempt, place.leaf)
    try:
        header = decode_header(files.read_start(name, length=HEADER_BYTES))
        verify_place(header, recording_id=recording_id, attempt=place.attempt, leaf=place.leaf)
    except FormatError as error:
        raise FormatError(f"{name}: {error}") from error
    if header.kind is ChunkKind.MEDIA:
        places.setdefault(header.first_pts, place)
