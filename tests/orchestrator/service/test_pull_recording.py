"""What a recorder reports: committed before it is acknowledged, and told to stop until that shows."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.core.errors import StoreError
from orchestrator.core.recording import RecordingStatus
from orchestrator.core.session import Session
from orchestrator.core.states import RoomStatus
from orchestrator.service.new_session import NewSession
from sdk.wire import Accept, Ack, Control, HeldJob, RecordingReport, Report, Stale, TokenRenewed, TokenWanted
from tests.fakes.assembly import Assembly, assembly
from tests.fakes.pull_worker import Pulled, hello

RECORDED = NewSession(user_identity="anna", required_services=(), record=True)


async def recording(running: Assembly) -> tuple[Pulled, Session, HeldJob]:
    """Have a recorder in the room that said that it records."""
    pulled = await hello(running, "rec", service="recorder")
    session = await running.now((await running.sessions.create(RECORDED)).session.id)
    held = HeldJob(job_id=session.jobs[0].job_id, attempt=1)
    await pulled.say(Accept(job_id=held.job_id, attempt=1))
    running.fake_rooms.add_participant(
        session.room_name, "recorder", service_id="recorder", attempt=1, role="recorder"
    )
    await running.reconciler.look(session.id)
    await pulled.say(report(session, held, n=1, state="recording"))
    return pulled, await running.now(session.id), held


def report(session: Session, held: HeldJob, *, n: int, state: str, **fields: Any) -> RecordingReport:
    assert session.recording is not None
    recording_id = fields.pop("recording_id", session.recording.recording_id)
    return RecordingReport(
        job_id=held.job_id,
        attempt=held.attempt,
        n=n,
        recording_id=recording_id,
        state=state,  # type: ignore[arg-type]
        **fields,
    )


async def test_a_report_is_acknowledged_once_it_is_committed() -> None:
    async with assembly() as running:
        pulled, session, held = await recording(running)
        assert session.recording is not None
        assert session.recording.status is RecordingStatus.RECORDING
        assert pulled.line.last(Ack).n == 1
        await pulled.say(
            report(session, held, n=2, state="recording", tree_size=5, root="ab", checkpoint="c")
        )
        after = (await running.now(session.id)).recording
        assert after is not None
        assert [(c.size, c.root) for c in after.checkpoints] == [(5, "ab")]
        assert pulled.line.last(Ack).n == 2


async def test_a_recorder_gets_a_token_for_a_second_connection() -> None:
    async with assembly() as running:
        pulled, _, held = await recording(running)
        await pulled.say(TokenWanted(job_id=held.job_id, attempt=1))
        renewed = pulled.line.last(TokenRenewed)
        assert renewed.second_token
        assert renewed.second_token != renewed.access_token


async def test_a_repeated_report_is_acknowledged_and_changes_nothing() -> None:
    async with assembly() as running:
        pulled, session, held = await recording(running)
        await pulled.say(report(session, held, n=1, state="recording"))
        assert pulled.line.count(Ack) == 2
        assert await running.now(session.id) == session


async def test_a_report_that_is_not_committed_is_not_acknowledged() -> None:
    async with assembly() as running:
        pulled, session, held = await recording(running)
        running.store.down = True
        with pytest.raises(StoreError):
            await pulled.say(report(session, held, n=2, state="recording", tree_size=1))
        assert pulled.line.last(Ack).n == 1


async def test_a_report_of_another_recording_is_stale() -> None:
    async with assembly() as running:
        pulled, session, held = await recording(running)
        await pulled.say(report(session, held, n=2, state="recording", recording_id="another"))
        assert pulled.line.count(Stale) == 1
        assert await running.now(session.id) == session


@pytest.mark.parametrize(
    "fields", [{"state": "deleted"}, {"state": "recording", "tree_size": 1, "closes": [{"attempt": "x"}]}]
)
async def test_a_report_that_makes_no_sense_ends_the_connection(fields: dict[str, Any]) -> None:
    async with assembly() as running:
        pulled, session, held = await recording(running)
        await pulled.say(report(session, held, n=2, **fields))
        assert pulled.line.closed
        assert pulled.line.count(Ack) == 1
        assert await running.now(session.id) == session


async def test_a_stop_is_said_until_a_report_shows_it() -> None:
    async with assembly() as running:
        pulled, session, held = await recording(running)
        await running.sessions.terminate(session.id)
        await running.settled()
        control = pulled.line.last(Control)
        assert (control.job_id, control.n, control.op) == (held.job_id, 1, "stop")
        await running.after(1.0, session.id)
        assert pulled.line.count(Control) == 2
        back = await hello(running, "rec", service="recorder", resuming=[held])
        assert back.line.count(Control) == 1  # whoever comes back hears it at once
        await back.say(report(session, held, n=2, state="stopping", op=1))
        said = back.line.count(Control)
        await running.after(1.1, session.id)
        assert back.line.count(Control) == said


async def test_a_stop_is_said_again_after_a_crash() -> None:
    async with assembly() as running:
        _, session, held = await recording(running)
        await running.sessions.terminate(session.id)
        again = await running.restarted()
        back = await hello(again, "rec", service="recorder", resuming=[held])
        assert back.line.last(Control).op == "stop"
        again.commands.submit(tuple(await again.store.claim_commands(10, all_orphaned=True)))
        await again.settled()
        assert back.line.count(Control) == 2


async def test_a_recorder_goes_on_sealing_after_the_rooms_end() -> None:
    async with assembly() as running:
        pulled, session, held = await recording(running)
        await running.sessions.terminate(session.id)
        await running.settled()
        await pulled.say(report(session, held, n=2, state="stopping", op=1))
        ended = await running.now(session.id)
        assert ended.room_status is RoomStatus.TERMINATED
        for n, state in enumerate(("stopped", "processing", "completed"), start=3):
            await pulled.say(report(session, held, n=n, state=state, op=1))
            assert pulled.line.last(Ack).n == n
        await pulled.say(Report(job_id=held.job_id, attempt=1, state="done"))
        after = await running.store.load(session.id)
        assert after.recording is not None
        assert after.recording.status is RecordingStatus.COMPLETED
        assert not after.is_open
