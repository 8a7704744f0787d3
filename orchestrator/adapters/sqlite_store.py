"""The durable store of one machine: SQLite, one writer thread that commits many callers in one fsync.

What a call returned from survives a power cut: write-ahead log with `synchronous=FULL`. A COMMIT that fails
ends the process: after a failed fsync nobody knows what the disk holds, and only a new start reads it anew.
One that found the disk full does not: it failed before the fsync, and SQLite has undone it (decision 0010).
Reads have a thread and a connection of their own, so that they never wait for the disk's fsync.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final, NoReturn, TypeVar

import apsw
import structlog

from orchestrator.adapters import sqlite_request_keys as request_keys
from orchestrator.adapters import sqlite_rows as rows
from orchestrator.adapters.session_json import encode_worker
from orchestrator.adapters.sqlite_catalog import SqliteCatalog
from orchestrator.adapters.sqlite_commits import Written, commit_changes, prepare_change
from orchestrator.adapters.sqlite_lane import Job, Lane
from orchestrator.adapters.sqlite_schema import FileLock, connect, make_folder, prepare
from orchestrator.adapters.sqlite_time import begin_time
from orchestrator.adapters.sqlite_webhooks import SqliteWebhooks
from orchestrator.core.errors import OrchestratorError, SessionNotFoundError, SettingsError, StoreError
from orchestrator.core.events import RegistryEvent
from orchestrator.core.ids import InstanceId, SessionId, WorkerId
from orchestrator.core.request_keys import BoundKey, KeyScope, RequestKey
from orchestrator.core.session import Session
from orchestrator.core.workers import Registration
from orchestrator.ports import Change, Clock, CommandRow, FeedPage

_T = TypeVar("_T")

COMMIT_FAILED: Final = 70  # exit code: EX_SOFTWARE

log = structlog.get_logger(__name__)


class SqliteSessionStore:
    """Implements `SessionStore` on one file.

    Args:
        path: the file; its folder is made. `<path>.lock` beside it keeps other processes out.
        clock: the store's time; it does not go back across starts though the clock may (`sqlite_time`).
        instance_id: who claims commands.
        lease_s: how long a claim holds.
        timeout_s: how long a call waits for its thread.
        on_commit: called on the event loop with the new head of the feed after each group of commits that
            appended events, before its callers go on.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        instance_id: InstanceId,
        lease_s: float = 10.0,
        timeout_s: float = 10.0,
        on_commit: Callable[[int], None] | None = None,
    ) -> None:
        self._path = path
        self._clock = clock
        self._ahead = timedelta()  # of the clock
        self._instance_id = instance_id
        self._lease = round(lease_s * 1e6)
        self._on_commit = on_commit
        self._head = 0
        self._generation = 0
        self._deployment_id = ""
        self._lock: FileLock | None = None
        self._connections: list[apsw.Connection] = []
        self._cursors: list[apsw.Cursor] = []  # the writer's and the reader's
        self._writer: Lane[apsw.Cursor] = Lane(
            name="store-writer", run_group=self._write_group, timeout_s=timeout_s
        )
        self._reader: Lane[apsw.Cursor] = Lane(
            name="store-reader", run_group=self._read_group, timeout_s=timeout_s
        )
        self.webhooks = SqliteWebhooks(writer=self._writer, reader=self._reader)
        self.catalog = SqliteCatalog(writer=self._writer, reader=self._reader, now=self.now)

    async def open(self) -> None:
        """Open the file, make the tables if it is new, take it."""
        await asyncio.to_thread(self._open_file)
        self._writer.start()
        self._reader.start()

    async def close(self) -> None:
        """Finish what was submitted and let go."""
        await self._writer.stop()
        await self._reader.stop()
        await asyncio.to_thread(self._close_file)

    def now(self) -> datetime:
        """Give the store's time: the clock's, unless that was set back since the file was last used."""
        return self._clock.now() + self._ahead

    async def commit(self, change: Change, *, is_patient: bool = False) -> tuple[CommandRow, ...]:
        """Write a change in one atomic operation."""
        work = _Commit(prepare_change(change))
        return await self._writer.call(work, is_patient=is_patient)

    async def load(self, session_id: SessionId) -> Session:
        """Give the session as last committed."""
        if not session_id.isascii():
            raise SessionNotFoundError(session_id)  # ids are ASCII; others might not even be encodable
        return await self._reader.call(partial(rows.read_session, session_id=session_id))

    async def open_sessions(self) -> list[Session]:
        """Give all sessions that are open, oldest first."""
        return await self._reader.call(rows.read_open_sessions)

    async def due_sessions(self, limit: int) -> list[SessionId]:
        """Give sessions with a due deadline, the earliest first."""
        return await self._reader.call(partial(rows.read_due_sessions, limit=limit, now=self._ticks()))

    async def claim_commands(self, limit: int, *, all_orphaned: bool = False) -> list[CommandRow]:
        """Claim commands whose lease lapsed or whose pause is over."""
        return await self._writer.call(
            lambda database: rows.claim_commands(
                database,
                limit,
                owner=self._instance_id,
                now=self._ticks(),
                lease=self._lease,
                all_orphaned=all_orphaned,
            )
        )

    async def postpone_command(self, row: CommandRow, delay_s: float) -> None:
        """Give the claim back and let the row rest."""
        until = rows.to_ticks(self.now() + timedelta(seconds=delay_s))
        await self._writer.call(partial(rows.postpone_command, row=row, until=until))

    async def finish_command(self, row: CommandRow) -> None:
        """Remove a row."""
        await self._writer.call(partial(rows.finish_command, row=row))

    async def feed_after(self, seq: int, *, session_id: SessionId | None, limit: int) -> FeedPage:
        """Give events with a number above ``seq``."""
        return await self._reader.call(
            partial(rows.read_feed, seq=seq, session_id=session_id, limit=limit, generation=self._generation)
        )

    async def trim_feed(self, before: datetime) -> int:
        """Forget events older than ``before``, in batches between which others commit."""
        count, is_more = 0, True
        while is_more:
            forgotten, is_more = await self._writer.call(
                partial(rows.trim_feed, before=rows.to_ticks(before))
            )
            count += forgotten
        return count

    async def save_worker(
        self, worker: Registration, events: Sequence[RegistryEvent] = (), *, key: RequestKey | None = None
    ) -> None:
        """Insert or replace a registration."""
        record = encode_worker(worker)

        def write(database: apsw.Cursor) -> None:
            if key is not None:
                request_keys.bind_key(database, key, worker.worker_id, now=self._ticks())
            rows.save_worker(database, worker.worker_id, record)

        await self._write_registry(write, events)

    async def delete_worker(self, worker_id: WorkerId, events: Sequence[RegistryEvent] = ()) -> None:
        """Forget a registration."""
        await self._write_registry(lambda database: rows.delete_worker(database, worker_id), events)

    async def workers(self) -> list[Registration]:
        """Give all registrations."""
        return await self._reader.call(rows.read_workers)

    async def bound_key(self, scope: KeyScope) -> BoundKey | None:
        """Give what a key was bound to."""
        return await self._reader.call(partial(request_keys.read_key, scope=scope, now=self._ticks()))

    async def forget_keys(self) -> int:
        """Drop keys that are free by their age, in batches between which others commit."""
        count, is_more = 0, True
        while is_more:
            dropped, is_more = await self._writer.call(partial(request_keys.forget_keys, now=self._ticks()))
            count += dropped
        return count

    async def deployment_id(self) -> str:
        """Give the id made with the file."""
        if not self._deployment_id:
            raise StoreError("the store is not open")
        return self._deployment_id

    async def _write_registry(
        self, write: Callable[[apsw.Cursor], None], events: Sequence[RegistryEvent]
    ) -> None:
        encoded = [(None, *event) for event in rows.prepare_events(events, first=0)]

        def work(database: apsw.Cursor) -> None:
            write(database)
            rows.append_events(database, encoded, now=self._ticks())

        await self._writer.call(work)

    def _ticks(self) -> int:
        return rows.to_ticks(self.now())

    # --- in threads ---

    def _open_file(self) -> None:
        try:
            make_folder(self._path.parent)
            self._lock = FileLock(self._path)
            writer = connect(self._path, is_writer=True)
            self._connections.append(writer)
            self._generation, self._deployment_id = prepare(writer, self._path, self._clock)
            self._ahead = begin_time(writer, self._clock)
            self._connections.append(connect(self._path, is_writer=False))
            self._cursors = [connection.cursor() for connection in self._connections]
            self._head = rows.read_head(self._cursors[0])
        except (apsw.Error, OSError, SettingsError) as error:
            self._close_file()
            if isinstance(error, SettingsError):
                raise
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise SettingsError(
                f"store.url: {self._path} cannot be opened as a store: {reason}; see that it is a file of"
                " Greenroom on a disk that this user may write, or choose another one"
            ) from error

    def _close_file(self) -> None:
        self._cursors.clear()
        while self._connections:
            self._connections.pop().close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _read_group(self, group: list[Job[apsw.Cursor]]) -> None:
        for job in group:
            try:
                job.result = job.work(self._cursors[1])
            except OrchestratorError as error:
                job.error = error
            except apsw.Error as error:
                job.error = _store_error(error)

    def _carry_out(self, database: apsw.Cursor, group: list[Job[apsw.Cursor]]) -> None:
        """Do the jobs in their order; commits that follow each other are written together."""
        batch: list[Job[apsw.Cursor]] = []
        keys: set[object] = set()
        for job in group:
            own = job.work.written.keys if isinstance(job.work, _Commit) else None
            if own is None or keys & own:
                self._commit_batch(database, batch)
                batch, keys = [], set()
            if own is not None:
                batch.append(job)
                keys |= own
                continue
            try:
                job.result = job.work(database)
            except OrchestratorError as error:
                job.error = error  # raised by a check, before this job wrote anything
        self._commit_batch(database, batch)

    def _commit_batch(self, database: apsw.Cursor, batch: list[Job[apsw.Cursor]]) -> None:
        if not batch:
            return
        outcomes = commit_changes(
            database,
            _written(batch),
            owner=self._instance_id,
            now=self._ticks(),
            lease=self._lease,
        )
        for job, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, OrchestratorError):
                job.error = outcome
            else:
                job.result = outcome

    def _write_group(self, group: list[Job[apsw.Cursor]]) -> Callable[[], None] | None:
        database = self._cursors[0]
        try:
            database.execute("BEGIN IMMEDIATE")
            self._carry_out(database, group)
            head = rows.read_head(database)
        except apsw.Error as error:
            _roll_back(database)
            for job in group:
                job.error = _store_error(error)
            return None
        except BaseException:
            _roll_back(database)
            raise
        try:
            database.execute("COMMIT")
        except apsw.FullError as error:
            _roll_back(database)
            for job in group:
                job.error = _store_error(error)
            return None
        except apsw.Error as error:
            _end_process(error)
        if head == self._head or self._on_commit is None:
            return None
        self._head = head
        return partial(self._on_commit, head)


class _Commit:
    """The work of one `commit`; the writer takes several of them together."""

    __slots__ = ("written",)

    def __init__(self, written: Written) -> None:
        self.written = written

    def __call__(self, database: apsw.Cursor) -> tuple[CommandRow, ...]:
        raise AssertionError("commits are carried out in batches")


def _written(batch: list[Job[apsw.Cursor]]) -> list[Written]:
    return [job.work.written for job in batch if isinstance(job.work, _Commit)]


def _store_error(error: apsw.Error) -> StoreError:
    log.error("store_failed", error=type(error).__name__, detail=str(error))
    return StoreError(f"the store refused: {type(error).__name__}")


def _roll_back(database: apsw.Cursor) -> None:
    try:
        if database.connection.in_transaction:
            database.execute("ROLLBACK")
    except apsw.Error as error:
        _end_process(error)


def _end_process(error: apsw.Error) -> NoReturn:
    """End the process at once: no caller was told that its change is durable, and none may be."""
    try:
        log.critical("store_commit_failed", error=type(error).__name__, detail=str(error))
        sys.stdout.flush()
        sys.stderr.flush()
    finally:  # also when the log's disk takes no more
        os._exit(COMMIT_FAILED)
