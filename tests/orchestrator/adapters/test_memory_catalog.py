"""The memory catalog keeps values: a caller changes nothing by what it holds. Suite: tests/contracts."""

from __future__ import annotations

from orchestrator.adapters.memory_catalog import MemoryCatalog
from orchestrator.core.catalog import CatalogRecord
from orchestrator.core.ids import RecordingId, SessionId
from orchestrator.core.recording import RecordingStatus
from tests.fakes.clock import FakeClock


async def test_what_was_saved_is_no_longer_the_callers() -> None:
    catalog = MemoryCatalog(now=FakeClock().now, append=lambda events: None)
    stats = {"bytes": 1.0}
    await catalog.save(
        CatalogRecord(
            recording_id=RecordingId("r1"),
            session_id=SessionId("s1"),
            status=RecordingStatus.RECORDING,
            stats=stats,
        )
    )
    stats["bytes"] = 2.0
    assert (await catalog.usage()).used_bytes == 1
