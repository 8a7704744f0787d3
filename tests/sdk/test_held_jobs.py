"""What a worker holds: capacity, waiting for the end, handing over."""

from __future__ import annotations

import asyncio

from sdk.fake_room import FAKE_URL, FakeRooms, fake_token
from sdk.held_jobs import HeldJobs
from sdk.job import JobFacts
from sdk.job_run import Assignment, JobRun
from sdk.ports import Grant
from sdk.settings import WorkerSettings
from tests.fakes.job_line import FakeLine
from tests.fakes.worker_author import Author, until

SETTINGS = WorkerSettings("http://127.0.0.1:1", "x", capacity=2)


class Bench:
    def __init__(self, *, max_jobs: int = 2) -> None:
        self.author = Author()
        self.jobs = HeldJobs(max_jobs=max_jobs)
        self.rooms = FakeRooms()
        self.lines: dict[str, FakeLine] = {}

    def accept(self, job_id: str) -> JobRun:
        self.lines[job_id] = FakeLine()
        facts = JobFacts(job_id=job_id, attempt=1, session_id=job_id, service_id="x", room_name=job_id)
        run = JobRun(
            facts,
            settings=SETTINGS,
            handler=self.author,
            line=self.lines[job_id],
            on_end=self.jobs.remove,
        )
        self.jobs.add(run)
        return run

    async def start(self, job_id: str) -> JobRun:
        run = self.accept(job_id)
        self.rooms.create(job_id)
        grant = Grant(livekit_url=FAKE_URL, access_token=fake_token(job_id, "x"))
        self.jobs.start(run, Assignment(grant=grant), self.rooms.link())
        assert await run.entered()
        return run


async def test_capacity() -> None:
    bench = Bench()
    assert bench.jobs.has_room
    first = await bench.start("a")
    bench.accept("b")
    assert not bench.jobs.has_room
    assert bench.jobs.get("a", 1) is first
    assert bench.jobs.get("a", 2) is None
    first.withdraw()
    assert bench.jobs.has_room  # another worker holds it: what is left is tidying up
    await bench.jobs.hand_over()
    assert len(bench.jobs) == 0


async def test_a_drain_ends_when_the_last_job_does() -> None:
    bench = Bench()
    run = await bench.start("a")
    draining = asyncio.create_task(bench.jobs.drain(timeout_s=5))
    await asyncio.sleep(0.05)
    assert not draining.done()
    run.leave()
    await asyncio.wait_for(draining, 2)
    assert bench.lines["a"].reports == [("joined", ""), ("done", "")]


async def test_a_drain_gives_back_what_was_not_assigned_yet() -> None:
    bench = Bench()
    bench.accept("a")
    await asyncio.wait_for(bench.jobs.drain(timeout_s=5), 2)
    assert bench.lines["a"].reports == [("failed", "the worker goes away")]


async def test_a_drain_has_its_time() -> None:
    bench = Bench()
    await bench.start("a")
    await asyncio.wait_for(bench.jobs.drain(timeout_s=0.1), 2)
    assert len(bench.jobs) == 1
    await bench.jobs.hand_over()


async def test_handing_over_reports_and_leaves() -> None:
    bench = Bench()
    await bench.start("a")
    await bench.start("b")
    await bench.jobs.hand_over()
    assert [line.reports[-1] for line in bench.lines.values()] == [("failed", "the worker goes away")] * 2
    assert bench.rooms.participants("a") == bench.rooms.participants("b") == []
    assert bench.author.left == [("drained", True)] * 2


async def test_a_cancelled_job_leaves_nothing_behind() -> None:
    bench = Bench()
    run = bench.accept("a")
    bench.rooms.create("a")
    link = bench.rooms.link()
    grant = Grant(livekit_url=FAKE_URL, access_token=fake_token("a", "x"))
    task = run.start(Assignment(grant=grant), link)
    assert await run.entered()
    await until(lambda: bool(bench.author.jobs))
    task.cancel()
    await asyncio.wait({task}, timeout=2)
    assert not link.is_connected
    assert bench.author.cancelled == 1
