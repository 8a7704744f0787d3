"""Upload recordings over the orchestrator: chunks sealed as they come, closed when their sender says so.

One request of an upload at a time; the catalog's row follows what is acknowledged. An upload whose write
failed, or that nobody asked for lately, is dropped from memory and opened anew from the listing, as after a
restart (docs/decisions/0016-uploads-are-never-resumed.md).
"""

from __future__ import annotations

import asyncio
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from orchestrator.catalog_ports import CatalogStore
from orchestrator.core.catalog import UPLOAD, CatalogEntry, CatalogRecord
from orchestrator.core.errors import IllegalTransitionError, QuotaExceededError, RecordingNotFoundError
from orchestrator.core.ids import RecordingId, SessionId
from orchestrator.core.recording import Checkpoint, RecordingStatus
from orchestrator.ports import Clock
from orchestrator.service.sessions import Sessions
from orchestrator.service.stored_recordings import ChunkPlace
from orchestrator.service.threads import Threads
from vault.core.ids import RecordingId as StoredId
from vault.core.layout import checkpoint_name
from vault.core.manifest import Manifest
from vault.core.note import MAX_NOTE_BYTES
from vault.errors import (
    FileMissingError,
    IntegrityError,
    OtherSignerError,
    UploadClosedError,
    UploadConflictError,
)
from vault.heads import read_manifest
from vault.reading import RecordingReader
from vault.uploads import Part, Upload

MAX_OPEN: Final = 64  # uploads in memory; one has up to 100,000 indexes
_PUT_S: Final = 30.0
_OPEN_S: Final = 120.0  # 100,000 headers
_CLOSE_S: Final = 900.0  # every chunk is verified once more
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An answer to a chunk: where it lies, and whether it was new."""

    entry: CatalogEntry
    part: Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """What proves a closed recording: its manifest, and by attempt the signed checkpoint it was closed at."""

    manifest: Manifest
    notes: dict[int, str]


class Uploads:
    """The uploads of this orchestrator.

    Every method may raise what the vault raises of a recording (`KeyFileError`, `StoreError`,
    `IntegrityError`), and `BusyError`.

    Args:
        catalog: where they are entered.
        sessions: whose they are.
        place: where they lie.
        clock: gives moments and ids.
        refusal: says why no recording may begin now, "" when one may.
    """

    def __init__(
        self,
        *,
        catalog: CatalogStore,
        sessions: Sessions,
        place: ChunkPlace,
        clock: Clock,
        refusal: Callable[[], str],
    ) -> None:
        self._catalog = catalog
        self._sessions = sessions
        self._chunks = place.chunks
        self._place = place
        self._clock = clock
        self._refusal = refusal
        self._threads = Threads("uploads", threads=4, waiting=32)
        self._opened: OrderedDict[RecordingId, Upload] = OrderedDict()
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    def close(self) -> None:
        """Stop; what runs is not waited for."""
        self._threads.close()

    async def put(
        self, session_id: SessionId, recording_id: RecordingId | None, index: int, data: bytes
    ) -> Stored:
        """Store a chunk; what is answered is acknowledged: sealed, durable, under a signed checkpoint.

        Args:
            session_id: whose upload; the session must be known.
            recording_id: which; None begins a new one, as an unknown one does.
            index: of the chunk, 0 to `vault.uploads.MAX_INDEX`.
            data: 1 byte to `vault.uploads.MAX_PART_BYTES`.

        Raises:
            SessionNotFoundError: there is no such session.
            IllegalTransitionError: the upload is another session's, closed, deleted or no upload, or the
                index holds other bytes.
            QuotaExceededError: no recording may begin now.
        """
        recording_id = recording_id or RecordingId(self._clock.new_id())
        async with self._lock(recording_id):
            entry = await self._begin(session_id, recording_id)
            upload = await self._open(entry)
            try:
                part = await self._threads.run(lambda check: upload.put(index, data), deadline_s=_PUT_S)
            except (UploadConflictError, UploadClosedError) as error:
                raise IllegalTransitionError(str(error)) from error
            except BaseException:
                self._opened.pop(recording_id, None)  # nobody knows what of it is stored
                raise
            if part.is_new:
                entry = await self._enter(entry, part, len(data))
            return Stored(entry=entry, part=part)

    async def finish(self, recording_id: RecordingId) -> Proven:
        """Close an upload: verify every chunk, store the signed manifest; repeated, it is the same.

        A recording that is no upload is only looked at. `FileMissingError`: it failed, there is no manifest.

        Raises:
            RecordingNotFoundError: there is none.
            IllegalTransitionError: it is still being made, or deleted.
        """
        async with self._lock(recording_id):
            entry = await self._catalog.entry(recording_id)
            _check_kept(entry)
            if entry.ended_at is None:
                await self._finish(entry)
        stored = StoredId(recording_id)
        return await self._threads.run(lambda check: self._prove(stored), deadline_s=_PUT_S)

    async def close_idle(self, recording_id: RecordingId, *, since: datetime) -> bool:
        """Close an upload whose sender is gone, as `finish` does.

        Args:
            recording_id: which.
            since: no chunk came from then on.

        Returns:
            False when one came, or somebody else closed or deleted it meanwhile: nothing was done.

        Raises:
            RecordingNotFoundError: there is none.
        """
        async with self._lock(recording_id):
            entry = await self._catalog.entry(recording_id)
            is_over = entry.ended_at is not None or entry.custody.deletion is not None
            if is_over or entry.idle_since >= since:
                return False
            idle_s = (self._clock.now() - entry.idle_since).total_seconds()
            await self._finish(entry, detail=f"nobody closed it: no chunk came for {idle_s:.0f} s")
            return True

    async def _finish(self, entry: CatalogEntry, *, detail: str = "") -> None:
        if entry.record.mode != UPLOAD:
            raise IllegalTransitionError(
                f"recording {entry.id} is {entry.status.value}; its recorder closes it: stop it first"
            )
        try:
            upload = await self._open(entry)
            if upload.is_empty:  # its first chunk was never stored
                why = detail or "closed without a chunk"
                await self._catalog.save(replace(entry.record, status=RecordingStatus.FAILED, detail=why))
                raise IllegalTransitionError(f"upload {entry.id} holds no chunk; it is failed now")
            manifest = await self._threads.run(
                lambda check: upload.close(session=entry.record.session_id), deadline_s=_CLOSE_S
            )
        except OtherSignerError:
            raise  # of our key, not of the upload
        except IntegrityError as error:
            failed = replace(entry.record, status=RecordingStatus.FAILED, detail=str(error))
            await self._catalog.save(failed)
            raise
        finally:
            self._opened.pop(entry.id, None)
        await self._catalog.save(replace(_closed(entry.record, manifest), detail=detail))

    def _prove(self, recording_id: StoredId) -> Proven:
        files, public_key = self._chunks.files(recording_id), self._place.open_keys().public_key
        found = read_manifest(files, public_key, recording_id)
        if found is None:
            raise FileMissingError("it has no manifest: it failed before it was complete")
        heads = [attempt.head for attempt in found[0].attempts if attempt.size]
        notes = {
            head.attempt: files.read(
                checkpoint_name(head.attempt, head.size), max_bytes=MAX_NOTE_BYTES
            ).decode()
            for head in heads
        }
        return Proven(manifest=found[0], notes=notes)

    async def read(self, recording_id: RecordingId, attempt: int, leaf: int) -> bytes:
        """Give what is sealed in a chunk, authenticated.

        Raises:
            RecordingNotFoundError: the catalog has no such recording.
            FileMissingError: the recording has no such chunk.
        """
        await self._catalog.entry(recording_id)
        stored = StoredId(recording_id)

        def work() -> bytes:
            files = self._chunks.files(stored)
            reader = RecordingReader.open(files, self._place.open_keys(), recording_id=stored)
            return reader.read_chunk(attempt, leaf)[1]

        return await self._threads.run(lambda check: work(), deadline_s=_PUT_S)

    async def _begin(self, session_id: SessionId, recording_id: RecordingId) -> CatalogEntry:
        try:
            entry = await self._catalog.entry(recording_id)
        except RecordingNotFoundError:
            await self._sessions.get(session_id)
            if refusal := self._refusal():
                raise QuotaExceededError(refusal) from None
            record = CatalogRecord(
                recording_id=recording_id,
                session_id=session_id,
                status=RecordingStatus.RECORDING,
                store=self._place.url,
                mode=UPLOAD,
            )
            await self._catalog.save(record)
            return await self._catalog.entry(recording_id)
        if entry.record.mode != UPLOAD or entry.record.session_id != session_id:
            raise IllegalTransitionError(f"recording {recording_id} is no upload of session {session_id}")
        _check_kept(entry)
        return entry

    async def _open(self, entry: CatalogEntry) -> Upload:
        upload = self._opened.get(entry.id)
        if upload is None:
            started_us = (entry.started_at - _EPOCH) // timedelta(microseconds=1)
            upload = await self._threads.run(
                lambda check: Upload.open(
                    self._chunks,
                    self._place.make_keys(),
                    recording_id=StoredId(entry.id),
                    started_us=started_us,
                ),
                deadline_s=_OPEN_S,
            )
        self._opened[entry.id] = upload
        self._opened.move_to_end(entry.id)
        while len(self._opened) > MAX_OPEN:
            self._opened.popitem(last=False)
        return upload

    async def _enter(self, entry: CatalogEntry, part: Part, count: int) -> CatalogEntry:
        head = part.head
        assert head is not None
        known = {checkpoint.attempt: checkpoint for checkpoint in entry.record.checkpoints}
        known[head.attempt] = Checkpoint(attempt=head.attempt, size=head.size, root=head.root.hex())
        stats = entry.record.stats
        record = replace(
            entry.record,
            checkpoints=tuple(known[attempt] for attempt in sorted(known)),
            stats={
                "bytes": stats.get("bytes", 0.0) + count,
                "chunks": stats.get("chunks", 0.0) + 1,
            },
            last_chunk_at=self._clock.now(),
        )
        await self._catalog.save(record)
        return replace(entry, record=record)

    def _lock(self, recording_id: RecordingId) -> asyncio.Lock:
        """Give what lets one at a time change a recording."""
        return self._locks.setdefault(recording_id, asyncio.Lock())


def _check_kept(entry: CatalogEntry) -> None:
    if entry.custody.deletion is not None:
        word = "deleted" if entry.custody.is_deleted else "being deleted"
        raise IllegalTransitionError(f"recording {entry.id} is {word}")


def _closed(record: CatalogRecord, manifest: Manifest) -> CatalogRecord:
    return replace(
        record,
        status=RecordingStatus.COMPLETED,
        checkpoints=tuple(
            Checkpoint(attempt=a.attempt, size=a.size, root=a.root, is_closed=True) for a in manifest.attempts
        ),
    )
