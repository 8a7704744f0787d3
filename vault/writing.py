"""The store path of one attempt: seal, put, checkpoint, close. What a recorder calls.

    writer = AttemptWriter.open(store, key_ring, recording_id=…, attempt=1, wall_start_us=…)
    writer.put(writer.seal_init(1, prologue, init_part, time_base=Fraction(1, 90000), offset_us=0))
    writer.put(writer.seal(1, fragments, first_pts=0, duration_pts=90000, has_keyframe=True))
    writer.checkpoint()                # from here on acknowledged
    close = writer.close()             # then vault.completion.complete_recording(…) writes the manifest

Everything blocks. `seal` and `seal_init` are called in the order of the media; `put` may run in several
threads and be repeated with the same sealed chunk; `checkpoint` covers what is put without a hole.

Source: docs/RECORDING.md §8.
"""

from __future__ import annotations

import secrets
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction

from vault.core.checkpoint import TreeHead, encode_checkpoint
from vault.core.chunk_header import ChunkHeader, ChunkKind
from vault.core.ids import RecordingId, check_attempt, parse_recording_id
from vault.core.key_record import KeyRecord, encode_key_record
from vault.core.layout import MANIFEST_NAME, checkpoint_name, chunk_name, key_record_name
from vault.core.manifest import AttemptClose
from vault.core.merkle import TreeBuilder
from vault.core.note import MAX_NOTE_BYTES
from vault.core.prologue import TrackPrologue, encode_init
from vault.core.sealing import KEY_BYTES, SALT_BYTES, AttemptScope, ChunkKeys, derive_keys, seal_chunk
from vault.errors import FileMissingError, IntegrityError, StoreError
from vault.ports import ChunkStore, KeyRing


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedChunk:
    """One chunk, sealed once: what is put, and put again when a put failed."""

    header: ChunkHeader
    data: bytes = field(repr=False)
    leaf_hash: bytes

    @property
    def name(self) -> str:
        """The file's name below the recording's folder."""
        return chunk_name(self.header.attempt, self.header.leaf)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedCheckpoint:
    """A tree head that is stored, and the signed note that states it."""

    head: TreeHead
    note: str


@dataclass(slots=True)
class _OpenTrack:
    time_base: Fraction
    run: int
    offset_us: int
    next_index: int = 0
    ended: bool = False


class AttemptWriter:
    """Writes one attempt of a recording; made by `open`, good for one process, never resumed."""

    def __init__(self, store: ChunkStore, key_ring: KeyRing, scope: AttemptScope, keys: ChunkKeys) -> None:
        self._store = store
        self._key_ring = key_ring
        self._scope = scope
        self._keys = keys
        self._lock = threading.Lock()  # guards the counters, tracks and tree; never held during a put
        self._checkpoint_lock = threading.Lock()  # one checkpoint at a time
        self._tracks: dict[int, _OpenTrack] = {}
        self._next_leaf = 0
        self._put: dict[int, bytes] = {}  # leaves put beyond the first hole
        self._tree = TreeBuilder()
        self._acknowledged: SignedCheckpoint | None = None
        self._closed = False
        self._key_record = ("", b"")  # name and note, made by prepare
        self._final_chunks: list[SealedChunk] = []  # sealed by close

    @classmethod
    def open(
        cls,
        store: ChunkStore,
        key_ring: KeyRing,
        *,
        recording_id: RecordingId,
        attempt: int,
        wall_start_us: int,
    ) -> AttemptWriter:
        """Begin an attempt: make its data key and store its signed key record; `prepare`, then `begin`.

        Raises:
            ValueError: an id is malformed (the caller's mistake).
            ChunkExistsError: this attempt was begun before; take a new one.
            StoreError: the store refused.
            KeyFileError: a key is not at hand.
        """
        writer = cls.prepare(
            store, key_ring, recording_id=recording_id, attempt=attempt, wall_start_us=wall_start_us
        )
        writer.begin()
        return writer

    @classmethod
    def prepare(
        cls,
        store: ChunkStore,
        key_ring: KeyRing,
        *,
        recording_id: RecordingId,
        attempt: int,
        wall_start_us: int,
    ) -> AttemptWriter:
        """Make an attempt's data key; nothing is stored before `begin`.

        Args:
            store: where the recording lies.
            key_ring: wraps the data key and signs.
            recording_id: the recording, made by the orchestrator.
            attempt: number of the attempt, from 1; each is begun once.
            wall_start_us: Unix time in microseconds, from which all offsets of this attempt count.

        Raises:
            ValueError: an id is malformed (the caller's mistake).
            KeyFileError: a key is not at hand.
            KeyServiceError: the key service did not answer; worth trying again.
        """
        scope = AttemptScope(recording_id=parse_recording_id(recording_id), attempt=check_attempt(attempt))
        data_key, salt = secrets.token_bytes(KEY_BYTES), secrets.token_bytes(SALT_BYTES)
        keys = derive_keys(data_key, salt=salt, scope=scope)
        wrapped = key_ring.wrap(data_key, scope)
        record = KeyRecord(
            recording_id=recording_id,
            attempt=attempt,
            wall_start_us=wall_start_us,
            salt=salt,
            commitment=keys.commitment,
            kek_id=wrapped.kek_id,
            wrapped_key=wrapped.data,
            wrap=wrapped.wrap,
        )
        note = encode_key_record(record, public_key=key_ring.public_key, sign=key_ring.sign)
        writer = cls(store, key_ring, scope, keys)
        writer._key_record = (key_record_name(attempt, record.revision), note)
        return writer

    def begin(self) -> None:
        """Store the key record. To be called until it returns, before any `put`.

        Raises:
            ChunkExistsError: this attempt was begun before; take a new one.
            StoreError: the store refused; call again, which puts the same bytes.
        """
        self._store.put(self._scope.recording_id, *self._key_record)

    @property
    def recording_id(self) -> RecordingId:
        """Which recording this is an attempt of."""
        return self._scope.recording_id

    @property
    def attempt(self) -> int:
        """Number of the attempt."""
        return self._scope.attempt

    @property
    def acknowledged(self) -> SignedCheckpoint | None:
        """The latest stored checkpoint; None before the first. Its leaves survive a power cut."""
        return self._acknowledged

    def seal_init(
        self, track: int, prologue: TrackPrologue, init_part: bytes, *, time_base: Fraction, offset_us: int
    ) -> SealedChunk:
        """Begin an init run, and with its first one the track.

        Args:
            track: number of the track, from 1, chosen by the caller and used for one track only.
            prologue: what the run carries, and whose.
            init_part: the container's head (ftyp and moov), the same bytes that players get.
            time_base: seconds per tick of the run's pts.
            offset_us: where pts 0 of the run lies, by the monotonic clock, microseconds after the attempt's
                ``wall_start_us``; may be refined by later `seal` calls.

        Raises:
            ValueError: the track has ended, or a value is out of its range (the caller's mistake).
        """
        plaintext = encode_init(prologue, init_part)
        with self._lock:
            if self._closed:
                raise ValueError(f"attempt {self._scope.attempt} is closed: nothing more can be sealed")
            old = self._tracks.get(track)
            if old is None:
                new = _OpenTrack(time_base, run=0, offset_us=offset_us)
            else:
                self._check_open(track)
                new = _OpenTrack(time_base, old.run + 1, offset_us, next_index=old.next_index)
            sealed = self._seal(track, new, ChunkKind.INIT, plaintext)
            self._tracks[track] = new
            return sealed

    def seal(
        self,
        track: int,
        plaintext: bytes,
        *,
        first_pts: int,
        duration_pts: int,
        has_keyframe: bool,
        offset_us: int | None = None,
    ) -> SealedChunk:
        """Seal whole fragments of a track's open run. The leaf number is given out here.

        Args:
            track: as given to `seal_init`.
            plaintext: whole fragments (moof and mdat), 1 byte to 32 MiB; aim at 1 s or 4 MiB.
            first_pts: smallest pts in them, as the container states it.
            duration_pts: ticks from ``first_pts`` to the end of the last packet.
            has_keyframe: decoding can begin in these fragments; always true for audio.
            offset_us: the run's offset, when it is known better than before.

        Raises:
            ValueError: no run is open, or a value is out of its range (the caller's mistake).
        """
        with self._lock:
            state = self._check_open(track)
            if offset_us is not None:
                state.offset_us = offset_us
            return self._seal(
                track,
                state,
                ChunkKind.MEDIA,
                plaintext,
                first_pts=first_pts,
                duration_pts=duration_pts,
                has_keyframe=has_keyframe,
            )

    def seal_last(self, track: int) -> SealedChunk:
        """Seal the empty final chunk of a track that has ended; `close` does it for all others.

        Raises:
            ValueError: the track has not begun or has ended (the caller's mistake).
        """
        with self._lock:
            return self._seal_last(track)

    def put(self, sealed: SealedChunk) -> None:
        """Store a sealed chunk durably. After a StoreError call again with the same chunk.

        Raises:
            ValueError: not sealed by this writer (the caller's mistake).
            ChunkExistsError: another writer uses this attempt; stop.
            StoreFullError: no space left.
            StoreError: worth trying again.
        """
        header = sealed.header
        if (header.recording_id, header.attempt) != (self._scope.recording_id, self._scope.attempt):
            raise ValueError(f"{sealed.name} belongs to another attempt than {self._scope.attempt}")
        self._store.put(self._scope.recording_id, sealed.name, sealed.data)
        with self._lock:
            if header.leaf >= self._tree.size:
                self._put[header.leaf] = sealed.leaf_hash
            while (leaf_hash := self._put.pop(self._tree.size, None)) is not None:
                self._tree.append(leaf_hash)

    def checkpoint(self) -> SignedCheckpoint | None:
        """Sign and store the head over all leaves put without a hole; they are acknowledged from then on.

        Returns:
            The latest checkpoint, also when there was nothing new; None when no leaf is put yet.

        Raises:
            ChunkExistsError: another writer uses this attempt; stop.
            StoreError: worth trying again.
        """
        with self._checkpoint_lock:
            with self._lock:
                head = TreeHead(attempt=self._scope.attempt, size=self._tree.size, root=self._tree.root())
            before = self._acknowledged
            if head.size == 0 or (before is not None and before.head.size == head.size):
                return before
            recording_id = self._scope.recording_id
            note = encode_checkpoint(
                recording_id, head, public_key=self._key_ring.public_key, sign=self._key_ring.sign
            )
            self._store.put(recording_id, checkpoint_name(head.attempt, head.size), note)
            self._acknowledged = SignedCheckpoint(head=head, note=note.decode())
            if before is not None:
                self._forget(before)
            return self._acknowledged

    def close(self) -> AttemptClose:
        """End every track with its final chunk and store the final checkpoint; may be repeated.

        Returns:
            What the manifest says of this attempt.

        Raises:
            ValueError: a sealed chunk has not been put (the caller's mistake: put it first).
            StoreError: worth calling again.
        """
        with self._lock:
            if not self._closed and self._tree.size != self._next_leaf:
                raise ValueError(f"leaf {self._tree.size} of {self._next_leaf} is sealed but not put")
            self._closed = True
            for track in sorted(self._tracks):
                if not self._tracks[track].ended:
                    self._final_chunks.append(self._seal_last(track))
        for sealed in self._final_chunks:  # all of them again when an earlier close failed on the way
            self.put(sealed)
        self.checkpoint()
        root = self._tree.root().hex()
        return AttemptClose(attempt=self._scope.attempt, size=self._tree.size, root=root, closed="own")

    def _seal_last(self, track: int) -> SealedChunk:
        state = self._check_open(track)
        sealed = self._seal(track, state, ChunkKind.LAST, b"")
        state.ended = True
        return sealed

    def _check_open(self, track: int) -> _OpenTrack:
        state = self._tracks.get(track)
        if state is None:
            raise ValueError(f"track {track} has not begun: seal its init part first")
        if state.ended:
            raise ValueError(f"track {track} has ended: a new track needs a new number")
        return state

    def _seal(
        self,
        track: int,
        state: _OpenTrack,
        kind: ChunkKind,
        plaintext: bytes,
        *,
        first_pts: int = 0,
        duration_pts: int = 0,
        has_keyframe: bool = False,
    ) -> SealedChunk:
        header = ChunkHeader(
            kind=kind,
            recording_id=self._scope.recording_id,
            attempt=self._scope.attempt,
            track=track,
            run=state.run,
            time_base=state.time_base,
            index=state.next_index,
            leaf=self._next_leaf,
            plaintext_bytes=len(plaintext),
            first_pts=first_pts,
            duration_pts=duration_pts,
            offset_us=state.offset_us,
            has_keyframe=has_keyframe,
        )
        # Counted before the cipher runs: a number that was used is never given out again, whatever fails.
        state.next_index += 1
        self._next_leaf += 1
        data, leaf_hash = seal_chunk(header, plaintext, keys=self._keys, sign=self._key_ring.sign)
        return SealedChunk(header=header, data=data, leaf_hash=leaf_hash)

    def _forget(self, older: SignedCheckpoint) -> None:
        # A newer checkpoint is stored, so this one proves nothing more; left over, it does no harm either.
        # Not so once there is a manifest: this writer was taken for dead, and may have been closed there.
        # It may have been so between the look and the removal: then the checkpoint is put back.
        if not self._is_open():
            return
        recording_id, name = self._scope.recording_id, checkpoint_name(older.head.attempt, older.head.size)
        with suppress(StoreError):
            self._store.delete(recording_id, name)
        if not self._is_open():
            self._store.put(recording_id, name, older.note.encode())

    def _is_open(self) -> bool:
        """Whether there is certainly no manifest yet."""
        try:
            self._store.files(self._scope.recording_id).read(MANIFEST_NAME, max_bytes=MAX_NOTE_BYTES)
        except FileMissingError:
            return True
        except (StoreError, IntegrityError):
            return False
        return False
