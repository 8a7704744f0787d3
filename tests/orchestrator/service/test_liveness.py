"""Who is alive: three missed is dead, dead is probed more rarely, and the first answer brings it back."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.core.errors import StoreError
from orchestrator.core.ids import ServiceId, WorkerId
from orchestrator.core.jobs import JobState
from orchestrator.core.session import Session
from orchestrator.service.liveness import Liveness
from orchestrator.service.new_session import NewSession
from orchestrator.service.registry import Worker
from sdk.wire import Accept, Hello, Offer, Ping
from tests.fakes.assembly import Assembly, assembly
from tests.fakes.workers import FakeLine

ASR = NewSession(user_identity="anna", required_services=("asr",))


async def with_job(running: Assembly) -> tuple[Worker, Session]:
    """Have a push worker that took a job."""
    await running.add_push_worker("asr")
    session = await running.now((await running.sessions.create(ASR)).session.id)
    assert session.jobs[0].state is JobState.ACCEPTED
    return running.registry.get(WorkerId("asr")), session


async def passes(running: Assembly, count: int) -> None:
    """Let so many heartbeat intervals pass, each with its look at every worker."""
    for _ in range(count):
        running.clock.advance(2.0)
        for worker in running.registry.all():
            await running.liveness.check(worker)
    await running.settled()


async def test_who_was_heard_within_the_interval_is_not_probed() -> None:
    async with assembly() as running:
        worker, _ = await with_job(running)
        running.caller.healthy = set()
        running.clock.advance(1.9)
        await running.liveness.check(worker)
        assert worker.missed == 0


async def test_an_answered_probe_is_a_sign_of_life() -> None:
    async with assembly() as running:
        worker, session = await with_job(running)
        await passes(running, 20)
        assert (worker.missed, worker.is_dead) == (0, False)
        assert (await running.now(session.id)).jobs[0].state is JobState.ACCEPTED


async def test_two_missed_are_forgiven_and_three_in_a_row_are_death() -> None:
    async with assembly() as running:
        worker, session = await with_job(running)
        running.caller.healthy = set()
        await passes(running, 2)
        running.caller.healthy = None
        await passes(running, 1)
        running.caller.healthy = set()
        await passes(running, 2)
        assert not worker.is_dead
        await passes(running, 1)
        assert worker.is_dead
        assert worker.status == "Disconnected"
        assert list(running.registry.candidates(ServiceId("asr"))) == []
        job = (await running.now(session.id)).jobs[0]
        assert (job.state, job.detail) == (JobState.PENDING, "the worker was not heard for 6 s")


async def test_the_dead_are_probed_each_interval_first_and_each_retry_interval_later() -> None:
    async with assembly() as running:
        probed = 0
        _, _ = await with_job(running)

        async def refuse(endpoint: str) -> bool:
            nonlocal probed
            probed += 1
            return False

        running.caller.is_healthy = refuse  # type: ignore[method-assign]
        await passes(running, 15)  # 30 s: the registration timeout
        assert probed == 15
        await passes(running, 30)  # 60 s
        assert probed == 17


async def test_the_first_answer_brings_the_dead_back_and_they_are_asked_again() -> None:
    async with assembly() as running:
        worker, session = await with_job(running)
        running.caller.healthy = set()
        await passes(running, 20)
        assert (await running.now(session.id)).jobs[0].state is JobState.PENDING
        running.caller.healthy = None
        await passes(running, 15)
        assert worker.status != "Disconnected"
        job = (await running.after(0.0, session.id)).jobs[0]
        assert (job.state, job.attempt) == (JobState.ACCEPTED, 2)


async def test_a_heartbeat_brings_the_dead_back_too() -> None:
    async with assembly() as running:
        worker, session = await with_job(running)
        running.caller.healthy = set()
        await passes(running, 3)
        running.clock.advance(30.0)
        running.push.heartbeat("asr", None, load=None, draining=False)
        assert not worker.is_dead
        assert (await running.after(0.0, session.id)).jobs[0].state is JobState.ACCEPTED


async def test_jobs_of_the_dead_go_to_others_though_the_store_fails_in_between() -> None:
    async with assembly() as running:
        _, session = await with_job(running)
        running.caller.healthy = set()
        await passes(running, 2)
        running.store.down = True
        with pytest.raises(StoreError):
            await passes(running, 1)
        running.store.down = False
        await passes(running, 1)
        assert (await running.now(session.id)).jobs[0].state is JobState.PENDING
        page = await running.store.feed_after(0, session_id=None, limit=100)
        assert [e.name for e in page.events].count("microservice_unavailable") == 1


async def test_all_jobs_of_the_dead_go_though_one_of_them_could_not_be_committed() -> None:
    async with assembly() as running:
        _, first = await with_job(running)
        second = await running.now((await running.sessions.create(ASR)).session.id)
        running.caller.healthy = set()
        await passes(running, 2)
        running.store.fail_commits = frozenset({running.store.commits + 1})
        with pytest.raises(StoreError):
            await passes(running, 1)
        await passes(running, 1)
        for session in (first, second):
            assert (await running.now(session.id)).jobs[0].state is JobState.PENDING


async def test_a_probe_of_an_old_address_says_nothing_about_the_new_registration() -> None:
    async with assembly() as running:
        _, session = await with_job(running)
        running.caller.healthy = set()
        await passes(running, 2)

        async def moves_meanwhile(endpoint: str) -> bool:
            await running.add_push_worker("asr")
            return False

        running.caller.is_healthy = moves_meanwhile  # type: ignore[method-assign]
        await passes(running, 1)
        assert running.registry.get(WorkerId("asr")).status == "Joining"
        assert (await running.now(session.id)).jobs[0].attempt == 1


async def test_a_frozen_worker_is_dead_in_time_though_each_probe_of_it_hangs() -> None:
    async with assembly() as running:
        worker, session = await with_job(running)

        async def hangs(endpoint: str) -> bool:
            running.clock.advance(2.0)  # until the probe's own deadline
            return False

        running.caller.is_healthy = hangs  # type: ignore[method-assign]
        heard_at = running.clock.seconds
        while not worker.is_dead:
            running.clock.advance(1.0)
            await running.liveness.check(worker)
        assert 6.0 <= running.clock.seconds - heard_at <= 8.0
        assert (await running.now(session.id)).jobs[0].state is JobState.PENDING


async def test_who_was_heard_while_its_probe_hung_missed_nothing() -> None:
    async with assembly() as running:
        worker, _ = await with_job(running)

        async def beats_meanwhile(endpoint: str) -> bool:
            running.clock.advance(2.0)
            running.push.heartbeat("asr", None, load=None, draining=False)
            return False

        running.caller.is_healthy = beats_meanwhile  # type: ignore[method-assign]
        await passes(running, 5)
        assert (worker.missed, worker.is_dead) == (0, False)


async def test_nobody_is_dead_because_we_were_asleep() -> None:
    async with assembly() as running:
        pulled, line, _ = await pull_worker(running)
        await running.add_push_worker("tts")
        pushed = running.registry.get(WorkerId("tts"))
        running.caller.healthy = set()
        running.clock.advance(60.0)
        for worker in (pulled, pushed):
            await running.liveness.check(worker)
        assert (line.closed, pulled.is_dead, pushed.is_dead) == ("", False, False)


# --- pull workers ---


async def pull_worker(running: Assembly) -> tuple[Worker, FakeLine, Session]:
    """Have a pull worker that took a job."""
    line = FakeLine()
    worker = await running.pull.welcome(line, Hello(service_id="asr", worker_id="w1"))
    session = (await running.sessions.create(ASR)).session
    await running.settled()
    await running.pull.frame(worker, line, Accept(job_id=line.last(Offer).job_id, attempt=1))
    return worker, line, await running.now(session.id)


async def test_a_silent_socket_is_closed_after_three_intervals_and_its_jobs_go_to_others() -> None:
    async with assembly() as running:
        worker, line, session = await pull_worker(running)
        await passes(running, 2)
        assert line.closed == ""
        await passes(running, 1)
        assert (line.closed, worker.line) == ("no heartbeat", None)
        assert (await running.now(session.id)).jobs[0].state is JobState.PENDING


async def test_a_ping_is_a_sign_of_life() -> None:
    async with assembly() as running:
        worker, line, session = await pull_worker(running)
        for _ in range(10):
            await passes(running, 2)
            await running.pull.frame(worker, line, Ping())
        assert line.closed == ""
        assert (await running.now(session.id)).jobs[0].attempt == 1


async def test_the_jobs_of_a_silent_socket_go_though_the_store_fails_in_between() -> None:
    async with assembly() as running:
        _, line, session = await pull_worker(running)
        await passes(running, 2)
        running.store.down = True
        with pytest.raises(StoreError):
            await passes(running, 1)
        running.store.down = False
        await passes(running, 1)
        assert line.closed == "no heartbeat"
        assert (await running.now(session.id)).jobs[0].state is JobState.PENDING


# --- the loop ---


def quick(running: Assembly) -> Liveness:
    return Liveness(
        registry=running.registry,
        dispatch=running.dispatch,
        caller=running.caller,
        clock=running.clock,
        heartbeat_interval_s=0.02,
        registration_timeout_s=30.0,
        retry_interval_s=30.0,
    )


async def test_one_that_hangs_or_fails_keeps_nobody_else_from_being_looked_at() -> None:
    async with assembly() as running:
        probes: list[str] = []
        for name in ("a", "hangs", "z"):
            await running.add_push_worker(name)

        async def probe(endpoint: str) -> bool:
            probes.append(endpoint.rpartition("/")[2])
            if endpoint.endswith("hangs"):
                await asyncio.Event().wait()
            if endpoint.endswith("a"):
                raise StoreError("as a commit behind it may")
            return True

        running.caller.is_healthy = probe  # type: ignore[method-assign]
        watching = asyncio.create_task(quick(running).run())
        async with asyncio.timeout(2):
            while probes.count("a") < 5:
                running.clock.advance(2.0)
                await asyncio.sleep(0.01)
        watching.cancel()
        assert probes.count("z") >= 4
        assert probes.count("hangs") == 1, "one probe of a worker at a time"


async def test_the_end_of_the_loop_ends_its_probes() -> None:
    async with assembly() as running:
        await running.add_push_worker("asr")
        running.clock.advance(2.0)
        asked = asyncio.Event()

        async def probe(endpoint: str) -> bool:
            asked.set()
            await asyncio.Event().wait()
            return True

        running.caller.is_healthy = probe  # type: ignore[method-assign]
        before = asyncio.all_tasks()
        watching = asyncio.create_task(quick(running).run())
        await asyncio.wait_for(asked.wait(), 2)
        watching.cancel()
        await asyncio.wait({watching})
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before
