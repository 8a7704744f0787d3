"""Recordings where they lie: holds, deletion and sizes in the chunk store, on threads, in our errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

import structlog

from orchestrator.core.catalog import CatalogEntry, Deletion, Hold
from orchestrator.core.errors import (
    CustodyError,
    IllegalTransitionError,
    RecordingHeldError,
    SettingsError,
)
from orchestrator.core.ids import RecordingId as OwnRecordingId
from orchestrator.ports import Clock
from orchestrator.service.threads import BusyError, StoppedError, Threads
from vault.copied_checkpoints import CopiedCheckpoints
from vault.core.ids import RecordingId, is_recording_id
from vault.core.store_location import parse_location
from vault.custody import place_hold, read_custody, release_hold
from vault.errors import (
    HeldError,
    IntegrityError,
    KeyFileError,
    NotARecordingError,
    ShreddedError,
    StoreSetupError,
    VaultError,
)
from vault.listing import read_listing
from vault.ports import ChunkStore, KeyRing
from vault.sealed_text import seal_text
from vault.shredding import delete_recording, sweep_remains
from vault.stores import open_chunk_store, url_of

log = structlog.get_logger(__name__)

_T = TypeVar("_T")
_DEADLINE_S: Final = 30.0
_DELETE_DEADLINE_S: Final = 900.0  # a day of chunks is some 200,000 files


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkPlace:
    """The chunk store of this orchestrator, and its keys.

    Attributes:
        chunks: the store.
        url: of it, as recorders name theirs.
        open_keys: reads the keys that are there; raises KeyFileError.
        make_keys: the same, after making what a first start has to make.
    """

    chunks: ChunkStore
    url: str
    open_keys: Callable[[], KeyRing]
    make_keys: Callable[[], KeyRing]


def open_chunk_place(
    text: str, *, copies: str = "", open_keys: Callable[[], KeyRing], make_keys: Callable[[], KeyRing]
) -> ChunkPlace:
    """Open `[recording] chunk_store`, and the place of copies of checkpoints; nothing is read yet.

    Raises:
        SettingsError: one cannot be used as it is set.
    """
    location = parse_location(text)
    chunks = _open(text, "chunk_store")
    if copies:
        chunks = CopiedCheckpoints(chunks, _open(copies, "checkpoint_copies"), say=_warn)
    return ChunkPlace(chunks=chunks, url=url_of(location), open_keys=open_keys, make_keys=make_keys)


def _warn(sentence: str) -> None:
    log.warning("checkpoints_not_copied", reason=sentence)


def _open(text: str, key: str) -> ChunkStore:
    try:
        return open_chunk_store(parse_location(text))
    except StoreSetupError as error:
        raise SettingsError(f"[recording] {key} cannot be used: {error}") from error


class StoredRecordings:
    """The chunk store of this orchestrator.

    Every method may raise `IllegalTransitionError` (shredded, or its custody records are bad: nobody can tell
    whether it is held) and `CustodyError` (the store or the keys cannot be reached, or it lies elsewhere).

    Args:
        place: where they lie.
        clock: gives moments.
    """

    def __init__(self, *, place: ChunkPlace, clock: Clock) -> None:
        self._chunks = place.chunks
        self.url = place.url
        self._open_keys = place.open_keys
        self._clock = clock
        self._threads = Threads("custody", threads=2, waiting=64)

    def close(self) -> None:
        """Stop; what runs is not waited for."""
        self._threads.close()

    async def place_hold(self, entry: CatalogEntry, hold: Hold) -> None:
        """Store a hold beside the recording; repeated, it is no other one."""

        def work(recording_id: RecordingId) -> None:
            place_hold(
                self._chunks,
                self._open_keys(),
                recording_id=recording_id,
                by=hold.by,
                reason=hold.reason,
                at_us=_microseconds(hold.since),
            )

        await self.reach(entry, work)

    async def release_hold(self, entry: CatalogEntry, *, by: str, reason: str) -> None:
        """End the hold beside the recording, if there is one."""
        at_us = _microseconds(self._clock.now())

        def work(recording_id: RecordingId) -> None:
            release_hold(
                self._chunks, self._open_keys(), recording_id=recording_id, by=by, reason=reason, at_us=at_us
            )

        await self.reach(entry, work)

    async def hold_of(self, entry: CatalogEntry) -> Hold | None:
        """Give the hold that stands beside the recording, whoever placed it."""

        def work(recording_id: RecordingId) -> Hold | None:
            files = self._chunks.files(recording_id)
            if read_listing(files).is_empty:
                return None
            record = read_custody(files, self._open_keys().public_key, recording_id=recording_id)
            if record is None or record.action != "hold":
                return None
            since = datetime.fromtimestamp(record.at_us / 1e6, UTC)
            return Hold(by=record.by, reason=record.reason, since=since)

        return await self.reach(entry, work)

    async def delete(self, entry: CatalogEntry, deletion: Deletion) -> None:
        """Shred the recording and remove all of it; repeated, it is finished.

        Raises:
            RecordingHeldError: it is held beside the recording; nothing was destroyed.
        """
        at_us = _microseconds(self._clock.now())

        def work(recording_id: RecordingId) -> None:
            if not read_listing(self._chunks.files(recording_id)).is_empty:
                delete_recording(
                    self._chunks,
                    self._open_keys(),
                    recording_id=recording_id,
                    by=deletion.by,
                    reason=deletion.cause,
                    at_us=at_us,
                )

        await self.reach(entry, work, deadline_s=_DELETE_DEADLINE_S)

    async def sweep_remains(self, entry: CatalogEntry, deletion: Deletion) -> int:
        """Remove what came after the recording was deleted; give how many files there were.

        Raises:
            RecordingHeldError: it is held beside them; nothing was removed.
        """
        at_us = _microseconds(self._clock.now())

        def work(recording_id: RecordingId) -> int:
            return sweep_remains(
                self._chunks,
                self._open_keys(),
                recording_id=recording_id,
                by=deletion.by,
                reason=deletion.cause,
                at_us=at_us,
            )

        return await self.reach(entry, work, deadline_s=_DELETE_DEADLINE_S) or 0

    async def names(self) -> list[RecordingId]:
        """Give every recording of which something is in the store.

        Raises:
            CustodyError: the store does not answer.
        """
        try:
            return await self._threads.run(
                lambda check: self._chunks.list_recordings(), deadline_s=_DEADLINE_S
            )
        except (VaultError, OSError) as error:
            raise CustodyError(f"[recording] chunk_store {self.url} does not answer: {error}") from error
        except (BusyError, StoppedError) as error:
            raise CustodyError(str(error)) from error

    async def bytes_of(self, entry: CatalogEntry) -> int:
        """Give what the recording takes in the store."""
        found = await self.reach(entry, lambda stored: read_listing(self._chunks.files(stored)).total_bytes)
        return found or 0

    async def seal(self, text: str, recording_id: OwnRecordingId) -> str:
        """Encrypt a short secret of a recording that is about to begin, as its recorder can open it.

        Raises:
            CustodyError: there are no keys to do it with.
        """
        stored = RecordingId(recording_id)
        try:
            return await self._threads.run(
                lambda check: seal_text(text, self._open_keys(), recording_id=stored), deadline_s=_DEADLINE_S
            )
        except VaultError as error:
            raise CustodyError(f"the keys ([encryption] key_dir) cannot be used: {error}") from error
        except (BusyError, StoppedError) as error:
            raise CustodyError(str(error)) from error

    async def reach(
        self, entry: CatalogEntry, work: Callable[[RecordingId], _T], *, deadline_s: float = _DEADLINE_S
    ) -> _T | None:
        """Do something with the recording on a thread; None when nothing of it was ever stored."""
        if not is_recording_id(entry.id):
            return None  # no store takes such a name
        stored = RecordingId(entry.id)

        def checked() -> _T:
            said = entry.record.store
            if said not in ("", self.url) and read_listing(self._chunks.files(stored)).is_empty:
                raise CustodyError(
                    f"recording {stored} lies in {said}, and this orchestrator reads {self.url};"
                    " let [recording] chunk_store be the recorder's"
                )
            return work(stored)

        with _translated(entry, self.url):
            try:
                return await self._threads.run(lambda check: checked(), deadline_s=deadline_s)
            except NotARecordingError:
                return None


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1e6)


@contextmanager
def _translated(entry: CatalogEntry, url: str) -> Iterator[None]:
    try:
        yield
    except HeldError as error:
        raise RecordingHeldError(entry.id, by="another program", reason=str(error), since="then") from error
    except (IntegrityError, ShreddedError) as error:
        raise IllegalTransitionError(f"recording {entry.id} is left as it is: {error}") from error
    except KeyFileError as error:
        raise CustodyError(f"the keys ([encryption] key_dir) cannot be used: {error}") from error
    except (VaultError, OSError) as error:
        raise CustodyError(f"[recording] chunk_store {url} does not answer: {error}") from error
    except (BusyError, StoppedError) as error:
        raise CustodyError(str(error)) from error
