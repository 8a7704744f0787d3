"""What every catalog promises: rows in the commit of their session, custody beside them, pages and sums."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.adapters.memory_store import MemorySessionStore
from orchestrator.adapters.sqlite_store import SqliteSessionStore
from orchestrator.catalog_ports import CatalogStore, Usage
from orchestrator.core.catalog import CatalogRecord, Custody, Deletion, Hold
from orchestrator.core.errors import RecordingNotFoundError, VersionConflictError
from orchestrator.core.events import MicroserviceUnavailable
from orchestrator.core.ids import InstanceId, RecordingId, SessionId
from orchestrator.core.recording import Checkpoint, RecordingStatus
from orchestrator.ports import SessionStore
from tests.contracts.session_changes import first_change, next_change
from tests.fakes.clock import START, FakeClock

S = RecordingStatus
HOLD = Hold(by="anna", reason="case 7", since=START)


@dataclass
class Kept:
    store: SessionStore
    catalog: CatalogStore
    clock: FakeClock


@pytest.fixture(params=["memory", "sqlite"])
async def kept(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kept]:
    clock, me = FakeClock(), InstanceId("me")
    store: MemorySessionStore | SqliteSessionStore
    if request.param == "memory":
        store = MemorySessionStore(clock=clock, instance_id=me)
    else:
        store = SqliteSessionStore(tmp_path / "store.db", clock=clock, instance_id=me)
    await store.open()
    yield Kept(store, store.catalog, clock)
    await store.close()


def record(name: str = "r1", *, status: S = S.RECORDING, used: int = 0, session: str = "s1") -> CatalogRecord:
    return CatalogRecord(
        recording_id=RecordingId(name),
        session_id=SessionId(session),
        status=status,
        store="file:///data/ü",
        mode="passthrough",
        checkpoints=(Checkpoint(attempt=1, size=5, root="ab", note="signed"),),
        stats={"bytes": float(used), "duration_s": 1.5},
    )


async def names(kept: Kept, **filters: object) -> list[str]:
    page = await kept.catalog.entries(limit=9, **filters)  # type: ignore[arg-type]
    assert page.total == len(page.entries)
    return [entry.id for entry in page.entries]


async def test_a_row_is_written_by_the_commit_of_its_session_and_by_no_other(kept: Kept) -> None:
    first = first_change()
    await kept.store.commit(replace(first, recordings=(record(),)))
    entry = await kept.catalog.entry(RecordingId("r1"))
    assert (entry.record, entry.custody, entry.started_at) == (record(), Custody(), START)
    assert (entry.status, entry.ended_at) == (S.RECORDING, None)
    refused = replace(first_change("room-2", session_id="s2"), recordings=(record("r2"),))
    stale = replace(refused.session, version=7)
    with pytest.raises(VersionConflictError):
        await kept.store.commit(replace(refused, session=stale))
    assert await names(kept) == ["r1"]
    kept.clock.advance(30)
    await kept.store.commit(replace(next_change(first.session), recordings=(record(status=S.COMPLETED),)))
    kept.clock.advance(30)
    await kept.catalog.save(record(status=S.COMPLETED))
    entry = await kept.catalog.entry(RecordingId("r1"))
    assert (entry.started_at, entry.ended_at) == (START, START + timedelta(seconds=30))


async def test_an_unknown_recording_is_an_error_of_its_own(kept: Kept) -> None:
    for name in ("r1", "ü", "\x00", "\ud800"):
        with pytest.raises(RecordingNotFoundError):
            await kept.catalog.entry(RecordingId(name))
    with pytest.raises(RecordingNotFoundError):
        await kept.catalog.save_custody(RecordingId("r1"), Custody(version=1))


async def test_pages_are_newest_first_and_filtered(kept: Kept) -> None:
    for number in range(5):
        status = S.COMPLETED if number % 2 else S.FAILED
        await kept.catalog.save(record(f"r{number}", status=status, session=f"s{number % 2}"))
    await kept.catalog.save(record("r1", status=S.COMPLETED, session="s1"))  # again: it keeps its place
    assert await names(kept) == ["r4", "r3", "r2", "r1", "r0"]
    assert await names(kept, session_id="s1") == ["r3", "r1"]
    assert await names(kept, session_id="s1", status=S.FAILED) == []
    assert await names(kept, status=S.FAILED) == ["r4", "r2", "r0"]
    first = await kept.catalog.entries(limit=2)
    rest = await kept.catalog.entries(limit=2, before=first.entries[-1].number)
    assert [entry.id for entry in rest.entries] == ["r2", "r1"]
    assert (first.total, rest.total) == (5, 5)


async def test_custody_is_replaced_by_its_next_version_only_and_survives_what_makers_report(
    kept: Kept,
) -> None:
    r1 = RecordingId("r1")
    await kept.catalog.save(record())
    held = Custody(hold=HOLD, version=1)
    gone = MicroserviceUnavailable(service_id="x", worker_id="x", reason="an event")
    await kept.catalog.save_custody(r1, held, [gone])
    with pytest.raises(VersionConflictError):
        await kept.catalog.save_custody(r1, Custody(version=1), [gone])
    with pytest.raises(VersionConflictError):
        await kept.catalog.save_custody(r1, Custody(version=3), [gone])
    page = await kept.store.feed_after(0, session_id=None, limit=9)
    assert [event.name for event in page.events] == ["microservice_unavailable"]
    await kept.catalog.save(record(status=S.COMPLETED))
    entry = await kept.catalog.entry(r1)
    assert (entry.custody, entry.status) == (held, S.COMPLETED)


async def test_what_is_deleted_stays_listed_as_deleted_and_takes_nothing(kept: Kept) -> None:
    r1 = RecordingId("r1")
    await kept.catalog.save(record(status=S.COMPLETED, used=10))
    asked = Deletion(cause="asked", by="anna", asked_at=START)
    await kept.catalog.save_custody(r1, Custody(deletion=asked, version=1))
    assert [entry.id for entry in await kept.catalog.being_deleted(9)] == ["r1"]
    assert (await kept.catalog.entry(r1)).status is S.COMPLETED
    done = Custody(deletion=replace(asked, done_at=START), version=2)
    await kept.catalog.save_custody(r1, done)
    assert await kept.catalog.being_deleted(9) == []
    await kept.catalog.save(record(status=S.COMPLETED, used=10))
    assert await names(kept, status=S.COMPLETED) == []
    assert await names(kept, status=S.DELETED) == ["r1"]
    assert await kept.catalog.usage() == Usage(used_bytes=0, counts={"deleted": 1})
    gone = MicroserviceUnavailable(service_id="x", worker_id="x", reason="an event")
    await kept.catalog.forget(r1, [gone])
    await kept.catalog.forget(r1, [gone])  # of a missing one nothing is said
    await kept.catalog.say(gone, gone)
    assert (await kept.store.feed_after(0, session_id=None, limit=9)).head_seq == 3
    assert await names(kept) == []
    await kept.catalog.save(record("r2"))
    assert (await kept.catalog.entry(RecordingId("r2"))).number > 1  # a number is never used twice


async def test_what_ended_may_go_the_oldest_first_unless_it_is_held_or_going(kept: Kept) -> None:
    for number, name in enumerate(("r3", "r1", "held", "going", "r2", "late")):
        ended_at = START + timedelta(seconds=number)
        await kept.catalog.save(record(name, status=S.COMPLETED), ended_at=ended_at)
    await kept.catalog.save(record("runs"))
    await kept.catalog.save_custody(RecordingId("held"), Custody(hold=HOLD, version=1))
    going = Custody(deletion=Deletion(cause="quota", by="quota", asked_at=START), version=1)
    await kept.catalog.save_custody(RecordingId("going"), going)
    before = START + timedelta(seconds=5)
    assert [e.id for e in await kept.catalog.deletable(ended_before=before, limit=9)] == ["r3", "r1", "r2"]
    assert [e.id for e in await kept.catalog.deletable(ended_before=before, limit=1)] == ["r3"]
    failed = kept.catalog.deletable(ended_before=before, limit=9, status=S.FAILED)
    assert await failed == []


async def test_bytes_count_as_reported_until_somebody_looked(kept: Kept) -> None:
    await kept.catalog.save(record("runs", used=1000))
    await kept.catalog.save(record("r1", status=S.COMPLETED, used=100))
    await kept.catalog.save(record("r2", status=S.FAILED, used=10))
    assert await kept.catalog.usage() == Usage(
        used_bytes=1110, counts={"recording": 1, "completed": 1, "failed": 1}
    )
    assert [entry.id for entry in await kept.catalog.unmeasured(9)] == ["r1", "r2"]
    await kept.catalog.save_custody(RecordingId("r1"), Custody(stored_bytes=120, version=1))
    assert (await kept.catalog.usage()).used_bytes == 1130
    assert (await kept.catalog.entry(RecordingId("r1"))).used_bytes == 120
    assert [entry.id for entry in await kept.catalog.unmeasured(9)] == ["r2"]
