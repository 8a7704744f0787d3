"""Who offers what: durable, replaced, forgotten, and right also when two things happen at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from orchestrator.core.errors import StoreError, WorkerNotFoundError
from orchestrator.core.ids import ServiceId, WorkerId
from orchestrator.core.jobs import JobState
from orchestrator.core.workers import Registration
from orchestrator.service.new_session import NewSession
from orchestrator.service.registry import Registry, Worker
from tests.fakes.assembly import Assembly, assembly
from tests.fakes.workers import FakeLine

W1 = WorkerId("w1")


def registration(running: Assembly, worker_id: str = "w1", **fields: Any) -> Registration:
    now = running.sessions.now()
    return Registration(
        **{
            "worker_id": WorkerId(worker_id),
            "service_id": ServiceId("asr"),
            "registered_at": now,
            "seen_at": now,
            **fields,
        }
    )


async def registry_events(running: Assembly) -> list[str]:
    page = await running.store.feed_after(0, session_id=None, limit=100)
    return [event.name for event in page.events if event.session_id is None]


async def test_a_registration_survives_a_crash() -> None:
    async with assembly() as running:
        asr = registration(running, endpoint="http://127.0.0.1:1", metadata={"a": "b"}, capacity=2)
        await running.registry.register(asr)
        again = await running.restarted()
        (worker,) = again.registry.all()
        assert worker.registration == asr
        assert (worker.status, worker.is_up) == ("Registered", True)  # probed before it is believed dead


async def test_a_pull_worker_of_an_earlier_start_is_not_asked_before_it_is_back() -> None:
    async with assembly() as running:
        await running.registry.register(registration(running), FakeLine())
        again = await running.restarted()
        (worker,) = again.registry.all()
        assert (worker.status, worker.is_up) == ("Disconnected", False)
        assert list(again.registry.candidates(ServiceId("asr"))) == []
        assert again.registry.default_services() == ()


async def test_a_registration_that_is_not_durable_is_none() -> None:
    async with assembly() as running:
        running.store.down = True
        with pytest.raises(StoreError):
            await running.registry.register(registration(running), FakeLine())
        assert running.registry.all() == []


async def test_news_are_events_and_the_same_again_is_not() -> None:
    async with assembly() as running:
        line = FakeLine()
        await running.registry.register(registration(running), line)
        running.clock.advance(60)
        await running.registry.register(registration(running), FakeLine())
        assert await registry_events(running) == ["microservice_registered"]
        await running.registry.register(registration(running, capacity=3), FakeLine())
        assert await registry_events(running) == ["microservice_registered"] * 2
        (stored,) = await running.store.workers()
        assert stored.capacity == 3
        assert stored.registered_at == running.sessions.now() - timedelta(seconds=60)


async def test_a_worker_that_comes_back_is_news() -> None:
    async with assembly() as running:
        worker = await running.registry.register(registration(running), FakeLine())
        worker.line = None
        await running.registry.unavailable(worker, "connection closed")
        await running.registry.register(registration(running), FakeLine())
        assert await registry_events(running) == [
            "microservice_registered",
            "microservice_unavailable",
            "microservice_registered",
        ]


async def test_a_second_connection_closes_the_first_and_keeps_the_jobs() -> None:
    async with assembly() as running:
        first, second = FakeLine(), FakeLine()
        await running.registry.register(registration(running), first)
        created = await running.sessions.create(NewSession(user_identity="a", required_services=("asr",)))
        await running.settled()
        worker = await running.registry.register(registration(running), second)
        assert (first.closed, second.closed) == ("this worker connected again", "")
        assert list(worker.jobs.values()) == [JobState.OFFERED]
        assert (await running.now(created.session.id)).jobs[0].worker_id == "w1"


async def test_of_two_connections_at_once_one_stays_and_the_other_is_closed() -> None:
    async with assembly() as running:
        running.store.slow = asyncio.Event()
        lines = FakeLine(), FakeLine()
        registering = [
            asyncio.create_task(running.registry.register(registration(running), line)) for line in lines
        ]
        await asyncio.sleep(0)
        running.store.slow.set()
        await asyncio.gather(*registering)
        (worker,) = running.registry.all()
        assert [bool(line.closed) for line in lines] == [line is not worker.line for line in lines]


async def test_a_registration_in_the_middle_of_an_unregistration_stays() -> None:
    async with assembly() as running:
        await running.registry.register(registration(running), FakeLine())
        running.store.slow = asyncio.Event()
        leaving = asyncio.create_task(running.registry.unregister(W1))
        await asyncio.sleep(0)
        coming = asyncio.create_task(running.registry.register(registration(running, capacity=7), FakeLine()))
        await asyncio.sleep(0)
        running.store.slow.set()
        await asyncio.gather(leaving, coming)
        assert running.registry.get(W1).registration.capacity == 7
        assert [stored.capacity for stored in await running.store.workers()] == [7]


async def test_a_worker_that_is_said_to_be_gone_after_it_unregistered_is_not_stored_again() -> None:
    async with assembly() as running:
        worker = await running.registry.register(registration(running), FakeLine())
        await running.registry.unregister(W1)
        await running.registry.unavailable(worker, "not heard for 6 s")
        assert await running.store.workers() == []
        assert await registry_events(running) == ["microservice_registered", "microservice_unavailable"]


async def test_unregistering_is_durable_closes_the_line_and_is_said() -> None:
    async with assembly() as running:
        line = FakeLine()
        await running.registry.register(registration(running), line)
        running.store.down = True
        with pytest.raises(StoreError):
            await running.registry.unregister(W1)
        assert running.registry.find(W1) is not None
        running.store.down = False
        await running.registry.unregister(W1)
        assert line.closed == "unregistered"
        assert (running.registry.find(W1), running.registry.find(None)) == (None, None)
        assert (await registry_events(running))[-1] == "microservice_unavailable"
        with pytest.raises(WorkerNotFoundError, match="is not registered"):
            running.registry.get(W1)


async def test_default_services_are_those_of_workers_that_can_be_asked() -> None:
    async with assembly() as running:
        names = ("up", "hidden", "dead", "draining", "away")
        made = {
            name: await running.registry.register(
                registration(running, name, service_id=ServiceId(name), in_default=name != "hidden"),
                None if name == "away" else FakeLine(),
            )
            for name in names
        }
        made["dead"].is_dead = True
        made["draining"].is_draining = True
        assert running.registry.default_services() == ("up",)
        assert [w.registration.worker_id for w in running.registry.all()] == sorted(names)
        assert [bool(list(running.registry.candidates(ServiceId(name)))) for name in names] == [
            True,
            True,
            False,
            False,
            False,
        ]


def worker(running: Assembly, *, jobs: tuple[JobState, ...] = (), **fields: Any) -> Worker:
    made = Worker(registration=registration(running), heard_at=0.0, line=FakeLine(), **fields)
    made.jobs = {str(number): state for number, state in enumerate(jobs)}  # type: ignore[misc]
    return made


async def test_the_reference_word_for_how_a_worker_stands() -> None:
    async with assembly() as running:
        assert worker(running).status == "Registered"
        assert worker(running, jobs=(JobState.OFFERED, JobState.ACCEPTED)).status == "Joining"
        assert worker(running, jobs=(JobState.ACCEPTED, JobState.JOINED)).status == "Ready"
        assert worker(running, jobs=(JobState.JOINED,), is_dead=True).status == "Disconnected"


async def test_a_sign_of_life_ends_the_count_and_says_whether_it_was_given_up() -> None:
    async with assembly() as running:
        made = worker(running, missed=2)
        assert running.registry.heard(made) is False
        assert made.missed == 0
        made.is_dead = True
        assert running.registry.heard(made) is True
        assert running.registry.heard(made) is False


async def test_jobs_are_counted_from_what_is_committed_also_after_a_crash() -> None:
    async with assembly() as running:
        await running.add_push_worker("asr", capacity=2)
        sessions = [
            (await running.sessions.create(NewSession(user_identity="a", required_services=("asr",)))).session
            for _ in range(3)
        ]
        await running.settled()
        assert len(running.registry.get(WorkerId("asr")).jobs) == 2
        again = await running.restarted()
        assert len(again.registry.get(WorkerId("asr")).jobs) == 2
        await again.sessions.terminate(sessions[0].id)
        await again.settled()
        assert len(again.registry.get(WorkerId("asr")).jobs) == 2  # the third took the place
        assert (await again.now(sessions[2].id)).jobs[0].state is JobState.ACCEPTED


async def test_who_was_away_for_a_day_is_forgotten() -> None:
    async with assembly() as running:
        await running.registry.register(registration(running, "here"), FakeLine())
        (await running.registry.register(registration(running, "away"), FakeLine())).line = None
        running.clock.advance(23 * 3600)
        await running.registry.forget_old()
        assert len(running.registry.all()) == 2
        running.clock.advance(2 * 3600)
        await running.registry.forget_old()
        assert [w.registration.worker_id for w in running.registry.all()] == ["here"]
        assert [w.worker_id for w in await running.store.workers()] == ["here"]


async def test_restarts_do_not_keep_those_that_are_away() -> None:
    async with assembly() as running:
        (gone,) = [await running.registry.register(registration(running), FakeLine())]
        gone.line = None
        await running.registry.unavailable(gone, "connection closed")
        for _ in range(3):  # a deploy every ten hours
            running.clock.advance(10 * 3600)
            registry = Registry(store=running.store, clock=running.clock)
            await registry.open()
            await registry.forget_old()
        assert registry.all() == []


async def test_a_dead_push_worker_is_forgotten_though_the_orchestrator_restarts_daily() -> None:
    """Each start probes it three times and gives it up; that is no sign of life."""
    async with assembly() as running:
        await running.registry.register(registration(running, endpoint="http://127.0.0.1:1"))
        for start in range(3):
            registry = Registry(store=running.store, clock=running.clock)
            await registry.open()
            (dead,) = registry.all()
            assert dead.is_up, "it is probed before it is believed dead"
            running.clock.advance(6)
            dead.is_dead = True
            await registry.unavailable(dead, "not heard for 6 s")
            running.clock.advance(10 * 3600)
            await registry.forget_old()
            assert len(registry.all()) == (start < 2)
        assert await running.store.workers() == []


async def test_a_worker_that_lived_until_the_restart_has_its_day_from_then() -> None:
    async with assembly() as running:
        worker = await running.registry.register(registration(running, endpoint="http://127.0.0.1:1"))
        for _ in range(48):  # two days of life, since it registered
            running.clock.advance(3600)
            running.registry.heard(worker)
            await running.registry.forget_old()
        registry = Registry(store=running.store, clock=running.clock)
        await registry.open()
        (again,) = registry.all()
        again.is_dead = True
        await registry.unavailable(again, "not heard for 6 s")
        running.clock.advance(20 * 3600)
        await registry.forget_old()
        assert len(registry.all()) == 1
        running.clock.advance(6 * 3600)
        await registry.forget_old()
        assert registry.all() == []


async def test_a_life_is_noted_once_an_hour_and_is_no_event() -> None:
    async with assembly() as running:
        worker = await running.registry.register(registration(running), FakeLine())
        (stored,) = await running.store.workers()
        for minutes, noted in ((30, False), (31, True), (30, False)):
            running.clock.advance(minutes * 60)
            running.registry.heard(worker)
            await running.registry.forget_old()
            (now,) = await running.store.workers()
            assert (now != stored) is noted
            stored = now
        assert await registry_events(running) == ["microservice_registered"]
