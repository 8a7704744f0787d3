"""The disk quota: said at its marks, new recordings refused above it, the oldest deleted if wanted."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ByteSize

from orchestrator.core.errors import QuotaExceededError
from orchestrator.core.ids import RecordingId
from orchestrator.core.recording import RecordingStatus
from orchestrator.recording_settings import RecordingSettings
from orchestrator.service.new_session import NewSession
from orchestrator.service.recordings import RecordingControl
from tests.fakes.assembly import assembly
from tests.fakes.clock import START
from tests.fakes.kept_recordings import Kept, id_of, stored_size

S = RecordingStatus
RECORDED = NewSession(user_identity="anna", required_services=(), record=True)


def small(policy: str = "refuse", quota: int = 1000) -> RecordingSettings:
    return RecordingSettings(disk_quota=ByteSize(quota), quota_policy=policy)  # type: ignore[arg-type]


async def test_each_mark_is_said_once_when_it_is_passed() -> None:
    async with assembly() as running:
        kept = Kept(running=running, settings=small())
        quota = kept.keeping.quota
        said = []
        for used in (800, 950, 960, 1001, 1200, 900, 100):
            await kept.record(1, status=S.RECORDING, used=used)
            await quota.look()
            said.append((quota.stand.level, len(await kept.events())))
        assert said == [
            ("ok", 0),
            ("warning", 1),
            ("warning", 1),
            ("exceeded", 2),
            ("exceeded", 2),
            ("warning", 3),
            ("ok", 4),
        ]
        page = await running.store.feed_after(0, session_id=None, limit=1)
        assert page.events[0].data == (
            b'{"type":"RecordingQuota","level":"warning","used_bytes":950,"quota_bytes":1000}'
        )
        kept.keeping.close()


async def test_above_the_quota_nothing_is_deleted_and_no_recording_begins() -> None:
    async with assembly() as running:
        kept = Kept(running=running, settings=small())
        await kept.record(1, status=S.RECORDING, used=2000)
        old = await kept.record(2)
        await kept.keeping.quota.look()
        await kept.custodian.sweep()
        assert kept.files(old)
        created = await running.sessions.create(RECORDED)
        session = await running.now(created.session.id)
        assert session.room_status.value == "Ready"
        assert session.recording is not None
        assert session.recording.status is S.FAILED
        assert "all recordings together take " in session.recording.detail
        assert "raise the quota" in session.recording.detail
        entry = await kept.catalog.entry(RecordingId(session.recording.recording_id))
        assert (entry.status, entry.record.detail) == (S.FAILED, session.recording.detail)
        control = RecordingControl(
            repeats=running.repeats,
            clock=running.clock,
            default=running.settings.recording.manner,
            seal=kept.keeping.seal,
            refusal=kept.keeping.quota.refusal,
        )
        manner = running.settings.recording.manner
        with pytest.raises(QuotaExceededError, match=r"disk_quota is 1000; delete some"):
            await control.start(session.id, manner, None)
        await kept.record(1, status=S.RECORDING, used=10)
        await kept.custodian.delete(old, by="anna")
        await kept.custodian.sweep()
        await kept.keeping.quota.look()
        started = await control.start(session.id, manner, None)
        assert started.recording is not None
        assert started.recording.status is S.STARTING
        kept.keeping.close()


async def test_the_oldest_completed_that_nobody_holds_make_room_if_that_is_wanted() -> None:
    async with assembly() as running:
        kept = Kept(running=running, settings=small("delete_oldest", 4 * stored_size()))
        for number in range(1, 6):
            await kept.record(number, ended_at=START + timedelta(seconds=number))
        failed = await kept.record(6, status=S.FAILED, ended_at=START)
        await kept.custodian.hold(id_of(2), by="legal", reason="case")
        await kept.keeping.quota.look()
        await kept.keeping.quota.look()  # what is on its way out is not chosen twice
        await kept.custodian.sweep()
        await kept.keeping.quota.look()
        left = [number for number in range(1, 6) if kept.files(id_of(number))]
        assert left == [2, 5]  # two would do, were it not for the bytes of the hold
        assert kept.files(failed)
        assert kept.keeping.quota.stand.excess_bytes == 0
        entry = await kept.catalog.entry(id_of(1))
        assert entry.custody.deletion is not None
        assert entry.custody.deletion.cause == "quota"
        kept.keeping.close()


async def test_without_a_quota_it_only_counts() -> None:
    async with assembly() as running:
        kept = Kept(running=running)
        await kept.record(1, status=S.RECORDING, used=10**15)
        await kept.record(2)
        await kept.keeping.quota.look()
        stored = sum(map(len, kept.files(id_of(2)).values()))
        assert kept.keeping.quota.usage.used_bytes == 10**15 + stored
        assert kept.keeping.quota.usage.counts == {"recording": 1, "completed": 1}
        assert (kept.keeping.quota.refusal(), await kept.events()) == ("", [])
        kept.keeping.close()
