"""A full disk refuses commits and ends nothing: what was acknowledged stays, what was refused never was.

The process goes on, reads, and commits again once there is space. Decision 0010.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from orchestrator.adapters.sqlite_store import COMMIT_FAILED, SqliteSessionStore
from orchestrator.core.errors import StoreError
from orchestrator.core.ids import SessionId
from tests.contracts.session_changes import first_change
from tests.integration.small_disk import mounted_disk
from tests.orchestrator.adapters.test_sqlite_store import make_store


@contextmanager
def full_log(path: Path) -> Iterator[None]:
    """Let writes to the open write-ahead logs fail as on a full disk: they go to /dev/full."""
    logs = [
        int(entry.name)
        for entry in Path("/proc/self/fd").iterdir()
        if os.path.islink(entry) and os.readlink(entry) == f"{path}-wal"
    ]
    assert logs
    kept = {number: os.dup(number) for number in logs}
    full = os.open("/dev/full", os.O_RDWR | os.O_CLOEXEC)
    try:
        for number in logs:
            os.dup2(full, number, inheritable=False)
        yield
    finally:
        for number, original in kept.items():
            os.dup2(original, number, inheritable=False)
            os.close(original)
        os.close(full)


async def sessions_of(store: SqliteSessionStore) -> set[str]:
    return {session.id for session in await store.open_sessions()}


async def test_a_commit_that_finds_the_disk_full_is_refused_whole_and_the_next_one_is_taken(
    tmp_path: Path,
) -> None:
    path = tmp_path / "store.db"
    store = make_store(path)
    await store.open()
    await store.commit(first_change())
    refused = [first_change(f"room-{n}", session_id=f"s{n}") for n in (2, 3)]
    with full_log(path), capture_logs() as logs:
        outcomes = await asyncio.gather(*map(store.commit, refused), return_exceptions=True)
    assert all(isinstance(outcome, StoreError) for outcome in outcomes), outcomes
    assert {entry["detail"] for entry in logs} == {"database or disk is full"}
    assert await sessions_of(store) == {"s1"}
    await store.commit(refused[0])  # at its old version: nothing of it had been written
    page = await store.feed_after(0, session_id=None, limit=9)
    assert [(event.seq, event.session_id) for event in page.events] == [(1, "s1"), (2, "s2")]
    await store.close()
    store = make_store(path)
    await store.open()
    assert await sessions_of(store) == {"s1", "s2"}
    await store.close()


def fill(file: io.FileIO) -> None:
    with pytest.raises(OSError, match="No space"):
        file.writelines(itertools.repeat(bytes(4096), 10_000))


@pytest.fixture
async def small_disk(tmp_path: Path) -> AsyncIterator[Path]:
    """A file system of 1 MiB; needs the right to mount."""
    async with mounted_disk(tmp_path / "disk", 1) as folder:
        yield folder


async def test_a_disk_that_stays_full_keeps_refusing_until_there_is_space(small_disk: Path) -> None:
    path = small_disk / "store.db"
    store = make_store(path)
    await store.open()
    with open(small_disk / "other", "wb", buffering=0) as other:
        fill(other)
        acknowledged, refused = set(), set()
        for number in range(60):
            if number in (20, 40):
                other.truncate(other.tell() - 32768 * (number // 20))  # somebody tidied up, a little
            try:
                await store.commit(first_change(f"room-{number}", session_id=f"s{number}"))
                acknowledged.add(f"s{number}")
            except StoreError:
                refused.add(f"s{number}")
            assert await sessions_of(store) == acknowledged
        assert len(refused) > 20
        assert acknowledged
        other.truncate(0)
    await store.commit(first_change("room-last", session_id="last"))
    acknowledged.add("last")
    again = make_store(path, instance="two")
    await store.close()
    await again.open()
    assert await sessions_of(again) == acknowledged
    events = (await again.feed_after(0, session_id=None, limit=100)).events
    assert {event.session_id for event in events} == acknowledged
    assert (await again.load(SessionId("last"))).version == 1
    await again.close()


def test_what_must_end_the_process_ends_it_also_when_that_cannot_be_logged() -> None:
    script = """
import apsw
from orchestrator.adapters.sqlite_store import _end_process
_end_process(apsw.IOError("disk I/O error"))
"""
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", script], stdout=full, stderr=full, timeout=60, check=False
        )
    assert done.returncode == COMMIT_FAILED
