"""The catalog in the SQLite file: it survives a restart, and what sweeps ask for is found by an index."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from orchestrator.adapters.sqlite_catalog import USAGE
from orchestrator.adapters.sqlite_store import SqliteSessionStore
from orchestrator.core.catalog import Custody, Deletion
from orchestrator.core.ids import InstanceId, RecordingId
from orchestrator.core.recording import RecordingStatus
from tests.contracts.test_catalog_store import HOLD, record
from tests.fakes.clock import START, FakeClock


def opened(path: Path) -> SqliteSessionStore:
    return SqliteSessionStore(path, clock=FakeClock(), instance_id=InstanceId("me"))


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    store = opened(tmp_path / "store.db")
    await store.open()
    await store.catalog.save(record(status=RecordingStatus.COMPLETED))
    custody = Custody(
        hold=HOLD, deletion=Deletion(cause="asked", by="a", asked_at=START), stored_bytes=3, version=1
    )
    await store.catalog.save_custody(RecordingId("r1"), custody)
    before = await store.catalog.entry(RecordingId("r1"))
    await store.close()
    store = opened(tmp_path / "store.db")
    await store.open()
    assert await store.catalog.entry(RecordingId("r1")) == before
    assert before.custody == custody
    await store.close()


@pytest.mark.parametrize(
    ("where", "index"),
    [
        ("deletion = 1 ORDER BY id", "recordings_deletion"),
        (
            "ended_at IS NOT NULL AND measured IS NULL AND deletion = 0 ORDER BY id",
            "recordings_unmeasured",
        ),
        ("session_id = 's1' ORDER BY id DESC", "recordings_session"),
        ("ended_at < 1 AND is_held = 0 AND deletion = 0 ORDER BY ended_at, id", "recordings_ended"),
    ],
)
async def test_what_sweeps_ask_for_is_found_by_an_index(tmp_path: Path, where: str, index: str) -> None:
    store = opened(tmp_path / "store.db")
    await store.open()
    await store.close()
    database = apsw.Connection(str(tmp_path / "store.db"))
    plan = database.execute(f"EXPLAIN QUERY PLAN SELECT record FROM recordings WHERE {where}").fetchall()
    database.close()
    words = " ".join(str(row[3]) for row in plan)
    assert index in words
    assert "TEMP B-TREE" not in words


async def test_what_all_take_is_added_up_without_reading_a_record(tmp_path: Path) -> None:
    store = opened(tmp_path / "store.db")
    await store.open()
    await store.close()
    database = apsw.Connection(str(tmp_path / "store.db"))
    plan = database.execute(f"EXPLAIN QUERY PLAN {USAGE}").fetchall()
    database.close()
    assert "COVERING INDEX recordings_usage" in " ".join(str(row[3]) for row in plan)
