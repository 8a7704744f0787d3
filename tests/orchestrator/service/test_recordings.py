"""A recording is started and stopped on callers' word, by a recorder that hears of it until it says so."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.core.errors import IllegalTransitionError
from orchestrator.core.ids import RecordingId
from orchestrator.core.recording import Manner, RecordingStatus
from orchestrator.core.session import Session
from orchestrator.service.new_session import NewSession
from orchestrator.service.recordings import RecordingControl
from sdk.wire import Accept, Assign, Control, HeldJob, RecordingReport, RecordingTask
from tests.fakes.assembly import Assembly, assembly
from tests.fakes.pull_worker import Pulled, hello


async def seal(text: str, recording_id: RecordingId) -> str:
    return f"sealed {text} of {recording_id}"


def control_of(running: Assembly) -> RecordingControl:
    return RecordingControl(
        repeats=running.repeats,
        clock=running.clock,
        default=Manner(mode="passthrough", quality="high"),
        seal=seal,
    )


async def say(
    pulled: Pulled, session: Session, n: int, state: str, *, attempt: int = 1, op: int = 0, **fields: Any
) -> None:
    assert session.recording is not None
    await pulled.say(
        RecordingReport(
            job_id=session.jobs[0].job_id,
            attempt=attempt,
            n=n,
            recording_id=session.recording.recording_id,
            state=state,  # type: ignore[arg-type]
            op=op,
            **fields,
        )
    )


async def accepted(pulled: Pulled, session: Session, attempt: int = 1) -> RecordingTask:
    await pulled.say(Accept(job_id=session.jobs[0].job_id, attempt=attempt))
    task = pulled.line.last(Assign).recording
    assert isinstance(task, RecordingTask)
    return task


async def test_a_start_is_offered_at_once_with_the_mode_that_was_asked_for() -> None:
    async with assembly() as running:
        pulled = await hello(running, "rec", service="recorder")
        created = await running.sessions.create(NewSession(user_identity="anna", required_services=()))
        await running.now(created.session.id)
        asked = Manner(mode="composite", quality="low", layout="speaker")
        session = await control_of(running).start(created.session.id, asked, None, e2ee_key="swordfish")
        task = await accepted(pulled, session)
        assert session.recording is not None
        assert (task.recording_id, task.task) == (session.recording.recording_id, "capture")
        assert (task.mode, task.quality) == ("composite", "low")
        assert (task.format, task.layout) == ("mp4", "speaker")
        assert task.e2ee_key == f"sealed swordfish of {task.recording_id}"
        assert "swordfish" not in repr(pulled.line.last(Assign))
        assert (task.paused, task.op) == (False, 0)


async def test_who_takes_a_paused_recording_over_is_told_with_the_job() -> None:
    async with assembly() as running:
        pulled = await hello(running, "rec", service="recorder")
        created = await running.sessions.create(NewSession(user_identity="anna", required_services=()))
        await running.now(created.session.id)
        control = control_of(running)
        session = await control.start(created.session.id, Manner(), None)
        await accepted(pulled, session)
        await say(pulled, session, 1, "recording")
        await control.control(session.id, "pause", None)
        await running.settled()
        said = pulled.line.last(Control)
        assert (said.n, said.op) == (1, "pause")
        gaps = [{"start_us": 1, "end_us": 2, "reason": "paused"}, {"start_us": 3, "reason": "paused"}]
        await say(pulled, session, 2, "paused", op=1, gaps=gaps)
        second = await hello(running, "rec2", service="recorder")
        await running.dispatch.lose_jobs(pulled.worker.registration.worker_id, "dead")
        task = await accepted(second, session, attempt=2)
        assert (task.task, task.paused, task.op) == ("capture", True, 1)
        assert task.gaps == [{"start_us": 1, "end_us": 2}, {"start_us": 3}]
        await say(second, session, 1, "paused", attempt=2, op=1)
        after = await running.now(session.id)
        assert after.recording is not None
        assert after.recording.status is RecordingStatus.PAUSED


async def test_an_operation_that_a_newer_one_replaced_is_not_said_again() -> None:
    async with assembly() as running:
        pulled = await hello(running, "rec", service="recorder")
        created = await running.sessions.create(NewSession(user_identity="anna", required_services=()))
        await running.now(created.session.id)
        control = control_of(running)
        session = await control.start(created.session.id, Manner(), None)
        await accepted(pulled, session)
        await control.control(session.id, "pause", None)
        await control.control(session.id, "resume", None)
        await running.settled()
        await running.after(1.0, session.id)
        assert pulled.line.last(Control).op == "resume"
        back = await hello(
            running, "rec", service="recorder", resuming=[HeldJob(job_id=session.jobs[0].job_id, attempt=1)]
        )
        assert [back.line.last(Control).op, back.line.count(Control)] == ["resume", 1]


async def test_what_is_refused_is_the_sessions_sentence() -> None:
    async with assembly() as running:
        created = await running.sessions.create(NewSession(user_identity="anna", required_services=()))
        with pytest.raises(IllegalTransitionError, match="start a recording first"):
            await control_of(running).control(created.session.id, "stop", None)
