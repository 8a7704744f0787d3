"""What the SQLite store promises beyond the suite: it survives, it refuses, it ends rather than guess."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import apsw
import pytest
from structlog.testing import capture_logs

from orchestrator.adapters import sqlite_schema
from orchestrator.adapters.sqlite_store import COMMIT_FAILED, SqliteSessionStore
from orchestrator.core.errors import SessionNotFoundError, SettingsError, StoreError, VersionConflictError
from orchestrator.core.ids import InstanceId, SessionId
from orchestrator.ports import Change
from tests.contracts.session_changes import first_change, leave_job, next_change, registration
from tests.fakes.clock import START, FakeClock


def make_store(path: Path, *, clock: FakeClock | None = None, instance: str = "one") -> SqliteSessionStore:
    return SqliteSessionStore(path, clock=clock or FakeClock(), instance_id=InstanceId(instance))


async def test_everything_is_there_after_a_new_start(tmp_path: Path) -> None:
    clock = FakeClock()
    store = make_store(tmp_path / "store.db", clock=clock)
    await store.open()
    change = replace(first_change(), commands=(leave_job(1), leave_job(2)))
    rows = await store.commit(change)
    await store.postpone_command(rows[1], 3600)
    await store.save_worker(registration("asr"))
    deployment_id = await store.deployment_id()
    generation = (await store.feed_after(0, session_id=None, limit=1)).generation
    await store.close()

    clock.advance(1)
    store = make_store(tmp_path / "store.db", clock=clock, instance="two")
    await store.open()
    assert await store.open_sessions() == [change.session]
    assert await store.workers() == [registration("asr")]
    assert await store.deployment_id() == deployment_id
    page = await store.feed_after(0, session_id=None, limit=9)
    assert (page.generation, page.head_seq, len(page.events)) == (generation, 1, 1)
    assert await store.claim_commands(9) == []  # by the lease they still belong to the instance before
    claimed = await store.claim_commands(9, all_orphaned=True)
    assert [(row.id, row.command) for row in claimed] == [(row.id, row.command) for row in rows]
    assert all(new.fence > old.fence for new, old in zip(claimed, rows, strict=True))
    assert await store.claim_commands(9, all_orphaned=True) == []
    await store.close()


async def test_numbers_go_on_after_everything_was_trimmed(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store.db")
    await store.open()
    change = first_change()
    await store.commit(change)
    assert await store.trim_feed(START + timedelta(seconds=1)) == 1
    await store.close()
    heads: list[int] = []
    store = SqliteSessionStore(
        tmp_path / "store.db", clock=FakeClock(), instance_id=InstanceId("two"), on_commit=heads.append
    )
    await store.open()
    page = await store.feed_after(0, session_id=None, limit=9)
    assert (page.events, page.oldest_seq, page.head_seq) == ((), 2, 1)
    await store.commit(next_change(change.session))
    assert heads == []  # no event, no new head
    await store.commit(next_change(next_change(change.session).session, "second"))
    assert heads == [2]
    await store.close()


async def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    script = f"""
import asyncio, itertools
from pathlib import Path
from tests.contracts.session_changes import first_change
from tests.orchestrator.adapters.test_sqlite_store import make_store
async def work(store, worker):
    for n in itertools.count():
        await store.commit(first_change(f"room-{{worker}}-{{n}}", session_id=f"{{worker}}-{{n}}"))
        print(f"{{worker}}-{{n}}", flush=True)
async def main():
    store = make_store(Path({str(path)!r}))
    await store.open()
    await asyncio.gather(*(work(store, worker) for worker in range(8)))
asyncio.run(main())
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        acknowledged = [process.stdout.readline().strip() for _ in range(200)]
    finally:
        process.kill()
        rest, _ = process.communicate(timeout=10)
    acknowledged += rest.split()[:-1]  # the last line may be torn
    store = make_store(path, instance="two")
    await store.open()
    there = {session.id for session in await store.open_sessions()}
    page = await store.feed_after(0, session_id=None, limit=10**6)
    assert len(acknowledged) >= 200
    assert set(acknowledged) <= there
    assert {event.session_id for event in page.events} == there  # no event without its session, nor one less
    await store.close()


def test_a_commit_that_fails_ends_the_process_and_acknowledges_nothing(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    script = f"""
import asyncio, os, resource
from pathlib import Path
from tests.contracts.session_changes import first_change
from tests.orchestrator.adapters.test_sqlite_store import make_store
async def main():
    store = make_store(Path({str(path)!r}))
    await store.open()
    await store.commit(first_change())
    print("first", flush=True)
    limit = os.path.getsize({str(path)!r} + "-wal")  # the log cannot grow: an I/O error, no ENOSPC
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        await store.commit(first_change("room-2", session_id="s2"))
    finally:
        print("second", flush=True)
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == COMMIT_FAILED
    first, logged = (done.stdout + done.stderr).splitlines()
    assert first == "first"
    assert "store_commit_failed" in logged
    asyncio.run(_assert_sessions(path, {"s1"}))


async def _assert_sessions(path: Path, expected: set[str]) -> None:
    store = make_store(path)
    await store.open()
    assert {session.id for session in await store.open_sessions()} == expected
    await store.close()


async def test_one_store_has_the_file(tmp_path: Path) -> None:
    store, second = make_store(tmp_path / "store.db"), make_store(tmp_path / "store.db")
    await store.open()
    with pytest.raises(SettingsError, match="is in use by process"):
        await second.open()
    await store.commit(first_change())
    await store.close()
    third = make_store(tmp_path / "store.db")
    await third.open()
    await third.close()


async def test_the_folder_is_made(tmp_path: Path) -> None:
    store = make_store(tmp_path / "data" / "deep" / "store.db")
    await store.open()
    await store.close()
    assert (tmp_path / "data" / "deep" / "store.db").is_file()


@pytest.mark.parametrize("kind", ["not a database", "torn", "a folder", "below a file"])
async def test_what_cannot_be_a_store_is_refused_with_one_sentence(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "store.db"
    match kind:
        case "not a database":
            path.write_bytes(b"my notes " * 1000)
        case "torn":
            store = make_store(path)
            await store.open()
            await store.close()
            path.write_bytes(path.read_bytes()[:100] + b"\xff" * 8000)
        case "a folder":
            path.mkdir()
        case "below a file":
            path.write_text("")
            path = path / "store.db"
    store = make_store(path)
    with pytest.raises(SettingsError, match=r"store\.url: .* cannot be opened as a store: ") as caught:
        await store.open()
    assert "\n" not in str(caught.value)
    with pytest.raises(StoreError, match="not open"):
        await store.load(SessionId("s1"))


async def test_a_store_that_is_closed_says_so(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store.db")
    await store.open()
    await store.close()
    await store.close()
    with pytest.raises(StoreError, match="not open"):
        await store.commit(first_change())


async def test_closing_finishes_what_was_submitted(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store.db")
    await store.open()
    changes = [first_change(f"room-{n}", session_id=f"s{n}") for n in range(50)]
    commits = [asyncio.create_task(store.commit(change)) for change in changes]
    await asyncio.sleep(0)
    await store.close()
    assert len(await asyncio.gather(*commits)) == 50
    await _assert_sessions(tmp_path / "store.db", {f"s{n}" for n in range(50)})


async def test_who_holds_the_file_too_long_costs_a_retry_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_schema, "BUSY_MS", 20)
    store = make_store(tmp_path / "store.db")
    await store.open()
    other = apsw.Connection(str(tmp_path / "store.db"))
    other.execute("BEGIN IMMEDIATE")
    change = first_change()
    with capture_logs() as logs, pytest.raises(StoreError, match="the store refused: BusyError"):
        await store.commit(change)
    assert [entry["event"] for entry in logs] == ["store_failed"]
    with pytest.raises(SessionNotFoundError):
        await store.load(change.session.id)
    other.execute("ROLLBACK")
    other.close()
    await store.commit(change)
    await store.close()


async def test_a_failure_within_a_group_undoes_the_group(tmp_path: Path) -> None:
    """What fails in the middle of writing may not leave half of it, nor be acknowledged."""
    store = make_store(tmp_path / "store.db")
    await store.open()
    good, bad = first_change(), first_change("room-2", session_id="s2")
    huge = replace(bad, session=replace(bad.session, version=1, events=2**70))  # no SQLite integer
    with capture_logs():
        outcomes = await asyncio.gather(store.commit(good), store.commit(huge), return_exceptions=True)
    assert all(isinstance(outcome, StoreError) for outcome in outcomes)
    assert await store.open_sessions() == []
    await store.commit(good)
    assert [session.id for session in await store.open_sessions()] == ["s1"]
    await store.close()


async def test_cancelled_callers_harm_nobody(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store.db")
    await store.open()
    changes = [first_change(f"room-{n}", session_id=f"s{n}") for n in range(40)]
    commits = [asyncio.create_task(store.commit(change)) for change in changes]
    await asyncio.sleep(0)
    for commit in commits[::2]:
        commit.cancel()
    outcomes = await asyncio.gather(*commits, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes[::2])
    assert all(isinstance(outcome, tuple) for outcome in outcomes[1::2])
    there = {session.id for session in await store.open_sessions()}
    assert {f"s{n}" for n in range(1, 40, 2)} <= there
    for change in changes[::2]:  # done or not done, never half: the version says which
        await _commit_or_conflict(store, change)
    assert len(await store.open_sessions()) == 40
    await store.close()


async def _commit_or_conflict(store: SqliteSessionStore, change: Change) -> None:
    try:
        await store.commit(change)
    except VersionConflictError:
        pass
