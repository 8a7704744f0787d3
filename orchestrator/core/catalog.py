"""The catalog's records: what is known of one recording, and what was decided about keeping it.

Two records per recording, each with one writer: what its maker reports (written with the session's commit, or
by an upload), and its custody (holds, deletion, what it takes on disk), written by whoever keeps recordings.

Source: recording.md §4 (Catalog).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from orchestrator.core.errors import IllegalTransitionError, RecordingHeldError
from orchestrator.core.ids import RecordingId, SessionId
from orchestrator.core.recording import Checkpoint, Recording, RecordingStatus
from orchestrator.core.session import Session

UPLOAD: Final = "upload"  # the mode of what callers send in chunks
ENDED: Final = frozenset({RecordingStatus.COMPLETED, RecordingStatus.FAILED, RecordingStatus.DELETED})

DeletionCause = Literal["asked", "retention", "quota"]
QuotaLevel = Literal["ok", "warning", "exceeded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogRecord:
    """What the maker of a recording says of it.

    Attributes:
        session_id: whose; of an adopted one what its manifest says.
        store: where it lies, as its maker says; "" before it wrote anything.
        mode: passthrough, decoded or upload; "" when nobody said.
        format: of what the recorder encodes, and of exports; "" when nobody said.
        checkpoints: the last known tree head of each attempt, rising.
        stats: measured over all attempts; ``duration_s`` and ``bytes`` among them once anything is known.
        detail: why it failed.
        is_left: its session went on to another recording when its manifest was stored and not yet verified.
        last_chunk_at: of an upload, when a chunk was stored last.
    """

    recording_id: RecordingId
    session_id: SessionId
    status: RecordingStatus
    store: str = ""
    mode: str = ""
    format: str = ""
    checkpoints: tuple[Checkpoint, ...] = ()
    stats: dict[str, float] = field(default_factory=dict)
    detail: str = ""
    is_left: bool = False
    last_chunk_at: datetime | None = None

    @property
    def reported_bytes(self) -> int:
        """What its maker says that it stored."""
        return int(self.stats.get("bytes", 0.0))

    @property
    def is_ended(self) -> bool:
        """Whether nobody makes it any more."""
        return self.is_left or self.status in ENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A legal hold: until it is released nothing of the recording is deleted or shredded."""

    by: str
    reason: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """That a recording is to be deleted, durable before anything of it is.

    Attributes:
        is_purge: the tombstone and the catalog's row go too.
        done_at: when nothing of its media was left; None while it is under way.
        detail: why it is not done yet, when something is in its way.
    """

    cause: DeletionCause
    by: str
    asked_at: datetime
    is_purge: bool = False
    done_at: datetime | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Custody:
    """What was decided about keeping a recording.

    Attributes:
        stored_bytes: what it takes in the store, looked up after its end; None before.
        version: grows with each change; the store takes the next one only.
    """

    hold: Hold | None = None
    deletion: Deletion | None = None
    stored_bytes: int | None = None
    version: int = 0

    @property
    def is_deleted(self) -> bool:
        """Whether its media is gone."""
        return self.deletion is not None and self.deletion.done_at is not None

    @property
    def is_being_deleted(self) -> bool:
        """Whether its media is to go, or partly gone."""
        return self.deletion is not None and self.deletion.done_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """A recording as the catalog has it.

    Attributes:
        number: of its row, growing: newer ones have higher numbers.
        started_at: when the catalog learnt of it (of an adopted one: when its media begins).
        ended_at: when it was completed or failed; None while it runs.
    """

    number: int
    record: CatalogRecord
    custody: Custody
    started_at: datetime
    ended_at: datetime | None = None

    @property
    def id(self) -> RecordingId:
        """Its id."""
        return self.record.recording_id

    @property
    def status(self) -> RecordingStatus:
        """Where it stands, its deletion included."""
        return RecordingStatus.DELETED if self.custody.is_deleted else self.record.status

    @property
    def idle_since(self) -> datetime:
        """Since when nobody sent a chunk of this upload."""
        return self.record.last_chunk_at or self.started_at

    @property
    def used_bytes(self) -> int:
        """What it takes in the store: looked up, else as reported; 0 once it is deleted."""
        if self.custody.is_deleted:
            return 0
        stored = self.custody.stored_bytes
        return self.record.reported_bytes if stored is None else stored

    def retained_until(self, retention: timedelta | None) -> datetime | None:
        """When it is deleted by itself; None when never, or not known yet because it runs."""
        if retention is None or self.ended_at is None or self.custody.hold or self.custody.deletion:
            return None
        return self.ended_at + retention


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaStand:
    """What all recordings take, against what they may take.

    Attributes:
        used_bytes: now.
        quota_bytes: `[recording] disk_quota`; None when there is none.
    """

    used_bytes: int = 0
    quota_bytes: int | None = None

    @property
    def level(self) -> QuotaLevel:
        """Give where it stands: a warning from 90 % on, exceeded above 100 %."""
        if self.quota_bytes is None or self.used_bytes * 10 < self.quota_bytes * 9:
            return "ok"
        return "exceeded" if self.used_bytes > self.quota_bytes else "warning"

    @property
    def excess_bytes(self) -> int:
        """By how much the quota is exceeded; 0 when it is not."""
        return 0 if self.quota_bytes is None else max(0, self.used_bytes - self.quota_bytes)

    def refusal(self) -> str:
        """Say why no recording may begin; "" when one may."""
        if self.level != "exceeded":
            return ""
        return (
            f"all recordings together take {self.used_bytes} bytes and [recording] disk_quota is"
            f" {self.quota_bytes}; delete some (DELETE /api/v1/recordings/ID) or raise the quota"
        )


def to_free(oldest_first: Sequence[CatalogEntry], *, excess_bytes: int) -> tuple[CatalogEntry, ...]:
    """Choose what is deleted so that the excess is gone; all of them when they are not enough."""
    chosen: list[CatalogEntry] = []
    for entry in oldest_first:
        if excess_bytes <= 0:
            break
        chosen.append(entry)
        excess_bytes -= entry.used_bytes
    return tuple(chosen)


def check_deletable(entry: CatalogEntry) -> None:
    """See that a recording may be deleted; one that is being deleted, or is, may.

    Raises:
        RecordingHeldError: it is under legal hold.
        IllegalTransitionError: it is still being made.
    """
    hold = entry.custody.hold
    if hold is not None:
        raise RecordingHeldError(entry.id, by=hold.by, reason=hold.reason, since=hold.since.isoformat())
    if entry.ended_at is None:
        end = "close it (POST …/storage/merkle)" if entry.record.mode == UPLOAD else "stop it"
        raise IllegalTransitionError(
            f"recording {entry.id} is {entry.status.value}; {end} and wait until it is completed, then"
            " delete it"
        )


def record_of(session_id: SessionId, recording: Recording) -> CatalogRecord:
    """Give what the catalog keeps of a session's recording."""
    return CatalogRecord(
        recording_id=recording.recording_id,
        session_id=session_id,
        status=recording.status,
        store=recording.store,
        mode=recording.mode,
        format=recording.format,
        checkpoints=recording.checkpoints,
        stats=recording.all_stats,
        detail=recording.detail,
    )


def changed_records(before: Session | None, after: Session) -> tuple[CatalogRecord, ...]:
    """Give what a commit writes into the catalog; nothing when its recording is as it was."""
    recording, old = after.recording, None if before is None else before.recording
    if recording is None or recording == old:
        return ()
    record = record_of(after.id, recording)
    if old is None or old.recording_id == recording.recording_id or old.status is not RecordingStatus.STOPPED:
        return (record,)
    return (replace(record_of(after.id, old), is_left=True), record)
