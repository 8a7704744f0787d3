"""Enters recordings that the catalog does not know: of before it, or after the database was lost.

Runs once after the start, in the background. What counts is what our key signed: a manifest, or without one
the checkpoints. The chunks themselves are not read; `GET …/verify` does that.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from orchestrator.catalog_ports import CatalogStore
from orchestrator.core.catalog import CatalogRecord, Custody, Hold, record_of
from orchestrator.core.errors import OrchestratorError, RecordingNotFoundError
from orchestrator.core.ids import RecordingId, SessionId
from orchestrator.core.recording import Checkpoint, RecordingStatus
from orchestrator.service.sessions import Sessions
from orchestrator.service.stored_recordings import ChunkPlace
from orchestrator.service.threads import BusyError, Threads
from vault.core.checkpoint import TreeHead
from vault.core.ids import RecordingId as StoredId
from vault.core.manifest import Manifest
from vault.custody import read_custody
from vault.errors import FileMissingError, IntegrityError, NotARecordingError, VaultError
from vault.heads import read_heads, read_manifest
from vault.listing import read_listing

log = structlog.get_logger(__name__)

MOST: Final = 100_000  # recordings entered at one start; the next start goes on
_AGAIN_S: Final = 60.0  # after the store or the keys could not be reached
_DEADLINE_S: Final = 60.0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    record: CatalogRecord
    hold: Hold | None
    started_at: datetime | None = None
    ended_at: datetime | None = None


class Adoption:
    """Looks through the chunk store once.

    Args:
        catalog: what is known.
        sessions: the open ones; their recordings are theirs to enter.
        place: where recordings lie.
    """

    def __init__(self, *, catalog: CatalogStore, sessions: Sessions, place: ChunkPlace) -> None:
        self._catalog = catalog
        self._sessions = sessions
        self._place = place
        self._threads = Threads("adoption", threads=1, waiting=1)

    def close(self) -> None:
        """Stop; what runs is not waited for."""
        self._threads.close()

    async def run(self) -> None:
        """Look, again and again until the store could be looked through, then end."""
        said = ""
        while True:
            try:
                count = await self.look()
            except (OrchestratorError, VaultError) as error:
                if str(error) != said:
                    said = str(error)
                    log.warning("recordings_not_adopted", reason=said)
                await asyncio.sleep(_AGAIN_S)
                continue
            if count:
                log.info("recordings_adopted", count=count)
            return

    async def look(self) -> int:
        """Enter what is unknown; give how many recordings were.

        Raises:
            StoreError: the catalog refused.
            VaultError: the chunk store or the keys cannot be reached.
            BusyError: they did not answer in time.
        """
        for session in self._sessions.live.all():  # of a version without a catalog
            for recording in (*session.earlier_recordings, session.recording):
                if recording is not None and await self._is_unknown(recording.recording_id):
                    await self._catalog.save(record_of(session.id, recording))
        names = await self._threads.run(
            lambda check: self._place.chunks.list_recordings(), deadline_s=_DEADLINE_S
        )
        count = 0
        for name in names:
            if count >= MOST:
                log.warning("recordings_left_for_the_next_start", most=MOST)
                break
            if await self._is_unknown(RecordingId(name)):
                count += await self._adopt(name)
        return count

    async def _is_unknown(self, recording_id: RecordingId) -> bool:
        try:
            await self._catalog.entry(recording_id)
        except RecordingNotFoundError:
            return True
        return False

    async def _adopt(self, name: StoredId) -> bool:
        try:
            found = await self._threads.run(lambda check: self._look_at(name), deadline_s=_DEADLINE_S)
        except (IntegrityError, FileMissingError, NotARecordingError, BusyError) as error:
            log.warning("recording_not_adopted", recording_id=name, reason=str(error))
            return False
        if found is None:
            return False
        await self._catalog.save(found.record, started_at=found.started_at, ended_at=found.ended_at)
        if found.hold is not None:
            await self._catalog.save_custody(RecordingId(name), Custody(hold=found.hold, version=1))
        return True

    # --- on a thread ---

    def _look_at(self, name: StoredId) -> _Found | None:
        files = self._place.chunks.files(name)
        listing = read_listing(files)
        if not listing.attempts and not listing.has_manifest:
            return None
        public_key = self._place.open_keys().public_key
        decree = read_custody(files, public_key, recording_id=name, listing=listing)
        hold = None
        if decree is not None and decree.action == "hold":
            hold = Hold(by=decree.by, reason=decree.reason, since=_moment(decree.at_us))
        found = read_manifest(files, public_key, name)
        if found is not None:
            return replace(self._completed(found[0]), hold=hold)
        heads = read_heads(files, public_key, name)
        if not heads:
            raise NotARecordingError("nothing of it was acknowledged under our key")
        record = CatalogRecord(
            recording_id=RecordingId(name),
            session_id=SessionId(""),
            status=RecordingStatus.FAILED,
            store=self._place.url,
            checkpoints=_checkpoints(heads),
            detail="found in the chunk store without a manifest; no session here completes it",
        )
        return _Found(record=record, hold=hold)

    def _completed(self, manifest: Manifest) -> _Found:
        end_us = max((track.end_us for track in manifest.tracks), default=0)
        record = CatalogRecord(
            recording_id=RecordingId(manifest.recording),
            session_id=SessionId(manifest.session),
            status=RecordingStatus.COMPLETED,
            store=self._place.url,
            mode=manifest.capture,
            checkpoints=_checkpoints(tuple(attempt.head for attempt in manifest.attempts)),
            stats={"duration_s": end_us / 1e6},
        )
        return _Found(
            record=record,
            hold=None,
            started_at=_moment(manifest.media_start_us),
            ended_at=_moment(manifest.media_start_us + end_us),
        )


def _checkpoints(heads: tuple[TreeHead, ...]) -> tuple[Checkpoint, ...]:
    return tuple(
        Checkpoint(attempt=head.attempt, size=head.size, root=head.root.hex()) for head in heads if head.size
    )


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
