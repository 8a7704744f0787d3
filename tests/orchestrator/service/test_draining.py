"""A drained worker gets nothing new and keeps what runs until its deadline; a new registration ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from orchestrator.core.errors import StoreError, WorkerNotFoundError
from orchestrator.core.ids import WorkerId
from orchestrator.core.jobs import JobState
from orchestrator.core.session import Session
from orchestrator.core.waiting import WaitReason
from orchestrator.ports import Change, CommandRow
from orchestrator.service import draining
from orchestrator.service.new_session import NewSession
from orchestrator.service.registry import Worker
from sdk.wire import Accept, Drain, HeldJob, Offer, Ping, Stale
from tests.fakes.assembly import Assembly, assembly
from tests.fakes.pull_worker import Pulled, hello
from tests.fakes.workers import FakeLine

ASR = NewSession(user_identity="anna", required_services=("asr",))
W1 = WorkerId("w1")


async def create(running: Assembly) -> Session:
    return await running.now((await running.sessions.create(ASR)).session.id)


async def with_job(running: Assembly) -> tuple[Pulled, Session]:
    """Have a pull worker with room for more whose job is joined."""
    pulled = await hello(running, capacity=5)
    session = await create(running)
    await pulled.say(Accept(job_id=session.jobs[0].job_id, attempt=1))
    running.fake_rooms.add_participant(session.room_name, "asr", service_id="asr", attempt=1)
    await running.reconciler.look(session.id)
    return pulled, await running.now(session.id)


async def test_a_pull_worker_is_told_gets_nothing_new_and_keeps_what_runs() -> None:
    async with assembly() as running:
        pulled, session = await with_job(running)
        worker = await running.drains.drain(W1, 20.0)
        assert worker.drains
        assert pulled.line.last(Drain).deadline == 20.0
        late = await create(running)
        assert late.jobs[0].state is JobState.PENDING
        waiting = running.dispatch.why_waiting(late, late.jobs[0])
        assert waiting is not None
        assert waiting.reason is WaitReason.DRAINING
        running.clock.advance(19.0)
        await pulled.say(Ping(draining=False))  # its own word does not end the operator's drain
        await running.drains.hand_over()
        assert (await running.now(session.id)).jobs[0].state is JobState.JOINED
        assert pulled.line.count(Offer) == 1


async def test_a_drain_that_comes_while_an_offer_is_committed_holds_for_that_offer_too() -> None:
    async with assembly() as running:
        pulled = await hello(running, capacity=5)
        commit = running.store.commit

        async def commit_while_it_drains(
            change: Change, *, is_patient: bool = False
        ) -> tuple[CommandRow, ...]:
            rows = await commit(change, is_patient=is_patient)
            if any(job.state is JobState.OFFERED for job in change.session.jobs):
                await running.drains.drain(W1, 20.0)
            return rows

        running.store.commit = commit_while_it_drains  # type: ignore[assignment,method-assign]
        session = await create(running)
        assert pulled.line.count(Drain) == 1
        assert pulled.line.count(Offer) == 0
        assert (await running.now(session.id)).jobs[0].state is JobState.PENDING


async def test_at_the_deadline_its_jobs_are_a_new_attempt_of_another_and_it_is_told_to_leave() -> None:
    async with assembly() as running:
        pulled, session = await with_job(running)
        other = await hello(running, "w2", capacity=5)
        await running.drains.drain(W1, 20.0)
        running.clock.advance(20.1)
        await running.drains.hand_over()
        job = (await running.now(session.id)).jobs[0]
        assert (job.attempt, job.worker_id) == (2, "w2")
        assert other.line.last(Offer).attempt == 2
        assert pulled.line.last(Stale).attempt == 1
        await running.drains.hand_over()
        assert (await running.now(session.id)).jobs[0].attempt == 2


async def test_without_another_worker_the_job_waits_for_one() -> None:
    async with assembly() as running:
        _, session = await with_job(running)
        await running.drains.drain(W1, 0.0)
        await running.drains.hand_over()
        assert (await running.now(session.id)).jobs[0].state is JobState.PENDING
        other = await hello(running, "w2")
        assert other.line.last(Offer).session_id == session.id


async def test_a_push_worker_drains_without_a_word_and_is_told_to_leave_at_the_deadline() -> None:
    async with assembly() as running:
        await running.add_push_worker("asr", "w1")
        session = await create(running)
        await running.drains.drain(W1, 5.0)
        running.push.heartbeat("asr", "w1", load=None, draining=False)
        await running.add_push_worker("asr", "w2")
        await create(running)
        assert [endpoint[-2:] for endpoint, _ in running.caller.joins] == ["w1", "w2"]
        await running.after(5.1, session.id)
        await running.drains.hand_over()
        assert (await running.now(session.id)).jobs[0].worker_id == "w2"
        assert [endpoint[-2:] for endpoint, _ in running.caller.leaves] == ["w1"]


async def test_a_repeat_changes_nothing_and_never_moves_the_deadline_back() -> None:
    async with assembly() as running:
        await with_job(running)
        first = (await running.drains.drain(W1, 20.0)).registration.drain_by
        running.clock.advance(3.0)
        assert (await running.drains.drain(W1, 20.0)).registration.drain_by == first
        sooner = (await running.drains.drain(W1, 1.0)).registration.drain_by
        assert sooner == running.sessions.now() + timedelta(seconds=1)
        page = await running.store.feed_after(0, session_id=None, limit=100)
        said = [event.name for event in page.events if event.session_id is None]
        assert said == ["microservice_registered", "microservice_unavailable"]


async def test_a_registration_of_a_new_process_ends_it() -> None:
    async with assembly() as running:
        _, session = await with_job(running)
        await running.drains.drain(W1, 20.0)
        new = await hello(running)
        assert not new.worker.drains
        await running.after(1.0, session.id)
        assert new.line.last(Offer).attempt == 2
        await running.drains.drain(W1, 20.0)
        await running.add_push_worker("asr", "w1")
        assert not running.registry.get(W1).drains


async def test_the_same_process_that_connects_again_drains_on_and_is_told_again() -> None:
    async with assembly() as running:
        _, session = await with_job(running)
        await running.drains.drain(W1, 20.0)
        running.clock.advance(5.0)
        held = HeldJob(job_id=session.jobs[0].job_id, attempt=1)
        again = await hello(running, again=True, resuming=[held])
        assert again.worker.drains
        assert again.line.last(Drain).deadline == 15.0


async def test_a_worker_that_drains_by_itself_is_asked_nothing_between_hello_and_ping() -> None:
    async with assembly() as running:
        await create(running)
        pulled = await hello(running, again=True, draining=True)
        assert pulled.line.count(Offer) == 0


async def test_a_drain_outlives_a_restart_of_the_orchestrator() -> None:
    async with assembly() as running:
        await running.add_push_worker("asr", "w1")
        session = await create(running)
        await running.drains.drain(W1, 5.0)
        again = await running.restarted()
        assert again.registry.get(W1).drains
        again.clock.advance(5.1)
        await again.drains.hand_over()
        assert (await again.now(session.id)).jobs[0].state is JobState.PENDING


async def test_a_drain_that_is_not_durable_is_none() -> None:
    async with assembly() as running:
        pulled, _ = await with_job(running)
        running.store.down = True
        with pytest.raises(StoreError):
            await running.drains.drain(W1, 5.0)
        assert not pulled.worker.drains
        assert pulled.line.count(Drain) == 0


async def test_nobody_can_be_drained_who_is_not_there() -> None:
    async with assembly() as running:
        with pytest.raises(WorkerNotFoundError, match="'w1' is not registered"):
            await running.drains.drain(W1, 5.0)


async def test_the_sweep_goes_on_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "SWEEP_S", 0.01)
    async with assembly() as running:
        _, session = await with_job(running)
        await running.drains.drain(W1, 0.0)
        running.store.down = True
        sweeping = asyncio.create_task(running.drains.run())
        await asyncio.sleep(0.03)
        running.store.down = False
        async with asyncio.timeout(2):
            while (await running.sessions.get(session.id)).jobs[0].state is not JobState.PENDING:
                await asyncio.sleep(0.005)
        sweeping.cancel()


@pytest.mark.parametrize("order", list(permutations(["drain", "again", "again too"])))
async def test_a_drain_holds_though_the_worker_came_back_while_it_was_written(order: tuple[str, ...]) -> None:
    async with assembly() as running:
        pulled = await hello(running)
        slow = running.store.slow = asyncio.Event()  # holds back the first write, not those behind it
        going = {}
        for place, what in enumerate(order):
            if what == "drain":
                doing: Coroutine[Any, Any, Worker] = running.drains.drain(W1, 60.0)
            else:
                again = replace(pulled.worker.registration, capacity=7 + place)  # what it says again is news
                doing = running.registry.register(again, FakeLine(), is_again=True)
            going[what] = asyncio.create_task(doing)
            await asyncio.sleep(0)
            running.store.slow = None
        slow.set()
        await asyncio.gather(*going.values())
        worker = running.registry.get(W1)
        assert going["drain"].result().registration.drain_by == worker.registration.drain_by is not None
        assert await running.store.workers() == [worker.registration]
