"""An orchestrator's keeping of recordings over a chunk store in memory, with recordings of tests in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from orchestrator.core.catalog import CatalogRecord
from orchestrator.core.ids import RecordingId, SessionId
from orchestrator.core.recording import Checkpoint, RecordingStatus
from orchestrator.recording_settings import RecordingSettings
from orchestrator.service.keeping import Keeping
from orchestrator.service.stored_recordings import ChunkPlace
from tests.fakes.assembly import Assembly
from tests.fakes.chunk_stores import MemoryChunkStore
from tests.fakes.recordings import make_key_ring, write_recording
from vault.adapters.key_files import KeyFiles
from vault.core.ids import RecordingId as StoredId

STORE = "file:///store"


def id_of(number: int) -> RecordingId:
    """Give a recording id, the same for the same number."""
    return RecordingId(f"{number:08d}-0b0a-4908-8706-050403020100")


def stored_size() -> int:
    """Give what one of the recordings of `Kept.record` takes."""
    chunks = MemoryChunkStore()
    write_recording(chunks, make_key_ring())
    (files,) = chunks.recordings.values()
    return sum(map(len, files.values()))


@dataclass(kw_only=True)
class Kept:
    """What keeps the recordings of an assembly; its loops do not run."""

    running: Assembly
    settings: RecordingSettings = field(default_factory=RecordingSettings)
    chunks: MemoryChunkStore = field(default_factory=MemoryChunkStore)
    keys: KeyFiles = field(default_factory=make_key_ring)
    forgotten: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.catalog = self.running.store.catalog
        place = ChunkPlace(
            chunks=self.chunks, url=STORE, open_keys=lambda: self.keys, make_keys=lambda: self.keys
        )
        self.keeping = Keeping(
            catalog=self.catalog,
            sessions=self.running.sessions,
            place=place,
            clock=self.running.clock,
            settings=self.settings,
            forget=self.forgotten.append,
        )
        self.custodian = self.keeping.custodian

    def restarted(self) -> Kept:
        """Crash and start again over the same catalog and chunk store."""
        return Kept(running=self.running, settings=self.settings, chunks=self.chunks, keys=self.keys)

    async def record(
        self,
        number: int = 1,
        *,
        status: RecordingStatus = RecordingStatus.COMPLETED,
        session_id: str = "a session of before",
        ended_at: datetime | None = None,
        used: int | None = None,
    ) -> RecordingId:
        """Store a recording and enter it; ``used`` given, only enter it, with so many bytes."""
        recording_id = id_of(number)
        checkpoints: tuple[Checkpoint, ...] = ()
        if used is None:
            manifest = write_recording(self.chunks, self.keys, recording_id=StoredId(recording_id))
            checkpoints = tuple(
                Checkpoint(attempt=a.attempt, size=a.size, root=a.root) for a in manifest.attempts
            )
        await self.catalog.save(
            CatalogRecord(
                recording_id=recording_id,
                session_id=SessionId(session_id),
                status=status,
                store=STORE,
                checkpoints=checkpoints,
                stats={"bytes": float(used or 0)},
            ),
            ended_at=ended_at,
        )
        return recording_id

    def files(self, recording_id: RecordingId) -> dict[str, bytes]:
        """Give what the chunk store has of a recording."""
        return self.chunks.recordings.get(StoredId(recording_id), {})

    async def events(self) -> list[str]:
        """Give the names of all events."""
        page = await self.running.store.feed_after(0, session_id=None, limit=999)
        return [event.name for event in page.events]
