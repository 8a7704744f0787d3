"""A commit holds all that must be durable at the same moment, the catalog's row included."""

from __future__ import annotations

from orchestrator.core.ids import RecordingId
from orchestrator.core.recording import RecordingStatus
from orchestrator.service.changes import change_of
from orchestrator.service.new_session import NewSession
from tests.fakes.assembly import assembly
from tests.orchestrator.core.playing import CREATED, decide, opened
from tests.orchestrator.service.test_pull_recording import recording, report


def test_a_change_carries_the_decision_and_what_follows_from_it() -> None:
    before = opened()
    decision = decide(before, CREATED)
    change = change_of(before, decision)
    assert (change.session, change.events, change.commands) == (
        decision.session,
        decision.events,
        decision.commands,
    )
    assert (change.recordings, change.freed_key, change.key, change.finished) == ((), None, None, ())


async def test_what_a_recorder_reports_stands_in_the_catalog_with_the_session() -> None:
    async with assembly() as running:
        pulled, session, held = await recording(running)
        assert session.recording is not None
        recording_id = RecordingId(session.recording.recording_id)
        await pulled.say(
            report(session, held, n=2, state="recording", tree_size=5, root="ab", stats={"bytes": 9.0})
        )
        entry = await running.parts.catalog.entry(recording_id)
        assert (entry.status, entry.record.session_id) == (RecordingStatus.RECORDING, session.id)
        assert [(c.size, c.root) for c in entry.record.checkpoints] == [(5, "ab")]
        assert entry.used_bytes == 9


async def test_a_session_that_is_not_recorded_has_no_row() -> None:
    async with assembly() as running:
        await running.sessions.create(NewSession(user_identity="anna", required_services=()))
        await running.settled()
        assert (await running.parts.catalog.entries(limit=9)).total == 0
