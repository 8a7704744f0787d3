"""The pull protocol: who may come back, what counts, what is stale, and what is said until it is heard."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from orchestrator.core.errors import StoreError
from orchestrator.core.ids import WorkerId
from orchestrator.core.jobs import JobState
from orchestrator.core.session import Session
from orchestrator.service.new_session import NewSession
from orchestrator.service.pull import COME_BACK_AT_START_S, COME_BACK_S, PullWorkers
from sdk.wire import (
    Accept,
    Assign,
    HeldJob,
    Hello,
    Leave,
    Offer,
    Ping,
    Pong,
    RecordingReport,
    Refuse,
    Report,
    Stale,
    TokenRenewed,
    TokenWanted,
    Welcome,
    WorkerFrame,
    encode_frame,
)
from tests.fakes.assembly import Assembly, assembly
from tests.fakes.pull_worker import Pulled, hello
from tests.fakes.workers import FakeLine

ASR = NewSession(user_identity="anna", required_services=("asr",))
RECORDED = NewSession(user_identity="anna", required_services=(), record=True)


async def with_job(running: Assembly) -> tuple[Pulled, Session, HeldJob]:
    """Have a pull worker that took a job and is in the room."""
    pulled = await hello(running)
    session = await running.now((await running.sessions.create(ASR)).session.id)
    held = HeldJob(job_id=session.jobs[0].job_id, attempt=1)
    await pulled.say(Accept(job_id=held.job_id, attempt=1))
    running.fake_rooms.add_participant(session.room_name, "asr", service_id="asr", attempt=1)
    await running.reconciler.look(session.id)
    return pulled, await running.now(session.id), held


def impatient(running: Assembly, **graces: float) -> PullWorkers:
    """The same with graces that a test can wait for."""
    return PullWorkers(
        sessions=running.sessions,
        registry=running.registry,
        dispatch=running.dispatch,
        drains=running.drains,
        looker=running.reconciler,
        feed=running.feed,
        keys=running.keys,
        clock=running.clock,
        instance="i",
        heartbeat_interval_s=2.0,
        **({"come_back_s": 0.03, "come_back_at_start_s": 0.03, "try_again_s": 0.02} | graces),
    )


# --- coming back ---


def test_the_graces_are_those_of_the_design() -> None:
    assert (COME_BACK_S, COME_BACK_AT_START_S) == (1.0, 6.0)


async def test_the_newest_connection_speaks_for_a_worker_and_the_older_is_not_heard() -> None:
    async with assembly() as running:
        old, session, held = await with_job(running)
        new = await hello(running, resuming=[held])
        assert old.line.closed == "this worker connected again"
        await old.say(Report(job_id=held.job_id, attempt=1, state="failed"))
        job = (await running.now(session.id)).jobs[0]
        assert (job.state, job.attempt) == (JobState.JOINED, 1)
        await new.say(Report(job_id=held.job_id, attempt=1, state="failed"))
        assert (await running.now(session.id)).jobs[0].state is JobState.PENDING


async def test_a_closed_socket_has_its_grace_before_its_jobs_are_offered_to_others() -> None:
    async with assembly() as running:
        pulled, session, _ = await with_job(running)
        other = await hello(running, "w2")
        closing = asyncio.create_task(impatient(running).closed(pulled.worker, pulled.line))
        await asyncio.sleep(0.01)
        assert (await running.now(session.id)).jobs[0].state is JobState.JOINED
        assert pulled.worker.status == "Disconnected"
        await closing
        after = await running.now(session.id)
        assert (after.jobs[0].worker_id, after.degraded) == ("w2", True)
        assert other.line.last(Offer).attempt == 2


async def test_who_is_back_within_the_grace_keeps_its_jobs() -> None:
    async with assembly() as running:
        pulled, session, held = await with_job(running)
        closing = asyncio.create_task(impatient(running).closed(pulled.worker, pulled.line))
        await asyncio.sleep(0)
        again = await hello(running, resuming=[held])
        await closing
        assert again.line.last(Welcome).resumed == [held]
        after = await running.now(session.id)
        assert (after.jobs[0].state, after.jobs[0].attempt) == (JobState.JOINED, 1)


async def test_an_old_socket_that_closes_late_takes_nothing_from_the_new_one() -> None:
    async with assembly() as running:
        pulled, session, held = await with_job(running)
        again = await hello(running, resuming=[held])
        assert pulled.line.closed == "this worker connected again"
        await asyncio.wait_for(running.pull.closed(pulled.worker, pulled.line), 30)
        assert again.worker.line is again.line
        assert (await running.now(session.id)).jobs[0].attempt == 1


async def test_after_a_start_everybody_has_longer() -> None:
    async with assembly() as running:
        pulled, session, _ = await with_job(running)
        running.clock.advance(1.0)
        patient = impatient(running, come_back_at_start_s=0.2)
        closing = asyncio.create_task(patient.closed(pulled.worker, pulled.line))
        await asyncio.sleep(0.1)
        assert (await running.now(session.id)).jobs[0].state is JobState.JOINED
        await closing
        assert (await running.now(session.id)).jobs[0].state is JobState.PENDING


async def test_a_worker_resumes_at_an_orchestrator_that_crashed() -> None:
    async with assembly() as running:
        _, session, held = await with_job(running)
        again = await running.restarted()
        back = await hello(again, resuming=[held])
        assert back.line.last(Welcome).resumed == [held]
        await impatient(again).after_start()
        job = (await again.now(session.id)).jobs[0]
        assert (job.state, job.attempt) == (JobState.JOINED, 1)


async def test_a_worker_that_does_not_come_back_after_a_crash_loses_its_jobs() -> None:
    async with assembly() as running:
        _, session, _ = await with_job(running)
        again = await running.restarted()
        other = await hello(again, "w2")
        await impatient(again).after_start()
        await again.settled()
        assert other.line.last(Offer).attempt == 2
        assert (await again.now(session.id)).jobs[0].worker_id == "w2"


async def test_a_pending_job_is_offered_again_after_a_crash() -> None:
    async with assembly() as running:
        session = await running.now((await running.sessions.create(ASR)).session.id)
        again = await running.restarted()
        pulled = await hello(again)
        assert pulled.line.last(Offer).session_id == session.id


async def test_an_offer_that_crashed_with_its_orchestrator_is_made_again() -> None:
    async with assembly() as running:
        await hello(running)
        session = await running.now((await running.sessions.create(ASR)).session.id)
        assert session.jobs[0].state is JobState.OFFERED
        again = await running.restarted()
        pulled = await hello(again)
        await again.after(1.0, session.id)
        assert pulled.line.last(Offer).attempt == 2


async def test_a_job_of_a_registration_that_is_gone_is_offered_again_after_a_crash() -> None:
    async with assembly() as running:
        _, session, _ = await with_job(running)
        await running.store.delete_worker(WorkerId("w1"))
        again = await running.restarted()
        await impatient(again).after_start()
        job = (await again.now(session.id)).jobs[0]
        assert (job.state, job.detail) == (JobState.PENDING, "the worker is unknown")


@pytest.mark.parametrize("is_known", [True, False])
async def test_jobs_are_taken_back_though_the_store_is_down_for_a_while(is_known: bool) -> None:
    async with assembly() as running:
        _, session, _ = await with_job(running)
        if not is_known:
            await running.store.delete_worker(WorkerId("w1"))
        again = await running.restarted()
        again.store.down = True
        with capture_logs() as logged:
            starting = asyncio.create_task(impatient(again).after_start())
            await asyncio.sleep(0.06)
            assert not starting.done(), "it is neither given up, nor does it end the process"
            again.store.down = False
            await asyncio.wait_for(starting, 1)
        assert (await again.now(session.id)).jobs[0].state is JobState.PENDING
        assert "jobs_not_taken_back" in [line["event"] for line in logged]


async def test_the_jobs_of_a_closed_socket_go_though_the_store_is_down_for_a_while() -> None:
    async with assembly() as running:
        pulled, session, _ = await with_job(running)
        running.store.down = True
        closing = asyncio.create_task(impatient(running).closed(pulled.worker, pulled.line))
        await asyncio.sleep(0.06)
        running.store.down = False
        await asyncio.wait_for(closing, 1)
        assert (await running.now(session.id)).jobs[0].state is JobState.PENDING


# --- welcome ---


async def test_a_hello_that_is_not_durable_is_not_welcome() -> None:
    async with assembly() as running:
        running.store.down = True
        line = FakeLine()
        with pytest.raises(StoreError):
            await running.pull.welcome(line, Hello(service_id="asr", worker_id="w1"))
        assert line.frames == []


async def test_a_recorder_is_never_a_default_service() -> None:
    async with assembly() as running:
        await hello(running, "rec", service="recorder", in_default=True)
        await hello(running, "w1")
        assert running.registry.default_services() == ("asr",)


async def test_who_comes_back_to_a_session_that_ended_is_told_so() -> None:
    async with assembly() as running:
        _, session, held = await with_job(running)
        await running.sessions.terminate(session.id)
        again = await hello(running, resuming=[held])
        assert again.line.last(Leave).job_id == held.job_id
        await again.say(Report(job_id=held.job_id, attempt=1, state="done"))
        await running.after(0.0, session.id)
        late = await hello(running, resuming=[held])
        assert late.line.last(Welcome).resumed == []
        assert late.line.last(Stale).job_id == held.job_id


# --- frames ---


async def test_a_ping_carries_load_and_drain_and_is_answered_with_the_position() -> None:
    async with assembly() as running:
        pulled = await hello(running)
        await pulled.say(Ping(load=0.5, draining=True))
        assert pulled.line.last(Pong).position == running.feed.position
        assert (pulled.worker.load, pulled.worker.is_up) == (0.5, False)
        session = await running.now((await running.sessions.create(ASR)).session.id)
        assert session.jobs[0].state is JobState.PENDING
        await pulled.say(Ping(draining=False))
        assert pulled.line.last(Offer).session_id == session.id


@pytest.mark.parametrize(
    "frame",
    [
        Accept(job_id="x-1", attempt=1),
        Refuse(job_id="x-1", attempt=1),
        Report(job_id="x-1", attempt=1, state="joined"),
        Report(job_id="x-1", attempt=1, state="ready"),
        TokenWanted(job_id="x-1", attempt=1),
        RecordingReport(job_id="x-1", attempt=1, n=1, recording_id="r", state="recording"),
    ],
)
async def test_what_is_said_about_a_job_that_is_not_held_is_stale(frame: WorkerFrame) -> None:
    async with assembly() as running:
        pulled = await hello(running)
        await pulled.say(frame)
        assert pulled.line.last(Stale) == Stale(job_id="x-1", attempt=1)


async def test_a_job_of_another_worker_or_attempt_is_stale() -> None:
    async with assembly() as running:
        pulled, session, held = await with_job(running)
        other = await hello(running, "w2")
        await other.say(TokenWanted(job_id=held.job_id, attempt=1))
        await pulled.say(TokenWanted(job_id=held.job_id, attempt=2))
        assert (other.line.count(Stale), pulled.line.count(Stale)) == (1, 1)
        assert other.line.count(TokenRenewed) == pulled.line.count(TokenRenewed) == 0
        assert (await running.now(session.id)).jobs[0].worker_id == "w1"


async def test_an_end_that_is_said_again_needs_no_answer() -> None:
    async with assembly() as running:
        pulled, _, held = await with_job(running)
        done = Report(job_id=held.job_id, attempt=1, state="done")
        await pulled.say(done)
        frames = len(pulled.line.frames)
        await pulled.say(done)
        assert len(pulled.line.frames) == frames


async def test_a_refusal_and_a_failure_hand_the_job_on() -> None:
    async with assembly() as running:
        pulled = await hello(running)
        session = await running.now((await running.sessions.create(ASR)).session.id)
        job_id = session.jobs[0].job_id
        await pulled.say(Refuse(job_id=job_id, attempt=1, reason="r" * 1000))
        job = (await running.now(session.id)).jobs[0]
        assert (job.state, len(job.detail)) == (JobState.PENDING, 200)
        other = await hello(running, "w2")
        await other.say(Accept(job_id=job_id, attempt=2))
        await other.say(Report(job_id=job_id, attempt=2, state="failed", detail="no model"))
        assert (await running.now(session.id)).jobs[0].detail == "no model"


async def test_a_report_that_cannot_be_committed_ends_the_connection() -> None:
    async with assembly() as running:
        pulled, _, held = await with_job(running)
        running.store.down = True
        with pytest.raises(StoreError):
            await pulled.say(Report(job_id=held.job_id, attempt=1, state="done"))


async def test_a_second_hello_changes_nothing() -> None:
    async with assembly() as running:
        pulled = await hello(running)
        await pulled.say(Hello(service_id="tts", worker_id="w1"))
        assert running.registry.get(WorkerId("w1")).registration.service_id == "asr"


async def test_a_token_is_renewed_for_who_holds_the_job_and_shows_nowhere() -> None:
    async with assembly() as running:
        with capture_logs() as logged:
            pulled, session, held = await with_job(running)
            await pulled.say(TokenWanted(job_id=held.job_id, attempt=1))
            running.store.fail_commits = frozenset({running.store.commits + 1})
            with pytest.raises(StoreError):
                await pulled.say(Report(job_id=held.job_id, attempt=1, state="failed"))
            await running.sessions.terminate(session.id)
            await running.settled()
        tokens = {pulled.line.last(Assign).access_token, pulled.line.last(TokenRenewed).access_token}
        on_the_wire = "".join(encode_frame(frame) for frame in pulled.line.frames)
        assert all(token in on_the_wire for token in tokens)
        page = await running.store.feed_after(0, session_id=None, limit=100)
        shown = repr((pulled.line.frames, logged, page.events, await running.now(session.id), pulled.worker))
        assert not [token for token in tokens if token in shown]
