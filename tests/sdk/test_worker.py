"""A worker as a program: decorators, draining, signals, and what a wrong start says."""

from __future__ import annotations

import asyncio
import signal
import sys
import time

import pytest

from sdk.fake_orchestrator import FakeOrchestrator
from sdk.job import Job
from sdk.settings import WorkerSettings
from sdk.testing import FakeRooms, WorkerHarness
from sdk.wire import Control, Ping, RecordingTask
from sdk.worker import Worker
from tests.fakes.worker_author import Author, harness, until

PROGRAM = """
import asyncio, logging, sys
from sdk.fake_room import FakeRooms, FAKE_URL
from sdk.settings import WorkerSettings
from sdk.worker import Worker

logging.basicConfig(level=logging.INFO)
rooms = FakeRooms()
rooms.create("room-s1")
worker = Worker(WorkerSettings.from_env(), rooms=rooms.link)

@worker.job
async def serve(job):
    print("joined", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        print("ended", job.end_reason, flush=True)

worker.run()
print("returned", flush=True)
"""


def functions(settings: WorkerSettings, rooms: object, log: list[str]) -> Worker:
    worker = Worker(settings, rooms=rooms)  # type: ignore[arg-type]

    @worker.job
    async def serve(job: Job) -> None:
        log.append("job")

    @worker.on_leave
    async def leave(job: Job) -> None:
        log.append(f"leave {job.end_reason}")

    @worker.on_control
    async def control(job: Job, control: Control) -> None:
        log.append(control.op)

    @worker.on_rejoined
    async def rejoined(job: Job) -> None:
        log.append("rejoined")

    @worker.health
    async def is_healthy() -> bool:
        log.append("health")
        return True

    return worker


async def test_the_decorated_form_calls_each_function() -> None:
    log: list[str] = []
    async with WorkerHarness(lambda settings, rooms: functions(settings, rooms, log)) as h:
        job = await h.start_job(recording=RecordingTask(recording_id="rec-1"))
        await h.orchestrator.control(job, "pause", n=1)
        await until(lambda: "pause" in log)
        h.rooms.drop(job.room_name, "tested")
        await until(lambda: "rejoined" in log)
        await h.end_job(job)
    assert log == ["health", "job", "pause", "rejoined", "leave leave"]


def test_decorators_and_a_handler_do_not_mix() -> None:
    worker = Worker(WorkerSettings("http://127.0.0.1:1", "x"), Author())
    with pytest.raises(ValueError, match="has a handler object"):
        worker.job(Author().join_room)


async def test_a_worker_without_a_job_does_not_start() -> None:
    with pytest.raises(ValueError, match="has no job"):
        await Worker(WorkerSettings("http://127.0.0.1:1", "x")).serve()


async def test_a_drain_waits_for_jobs_that_end() -> None:
    author = Author()
    async with harness(author, capacity=2) as h:
        job = await h.start_job()
        draining = asyncio.create_task(h.worker.drain(5))
        await until(lambda: any(isinstance(f, Ping) and f.draining for f in h.orchestrator.frames))
        other = await h.orchestrator.offer()
        assert (await h.orchestrator.refused(other)).reason == "draining"
        assert not draining.done()
        await h.end_job(job)
        await asyncio.wait_for(draining, 5)
        assert author.left == [("leave", True)]


async def test_a_drain_hands_over_what_outlasts_it_after_it_was_put_away() -> None:
    author = Author()
    author.leave_takes_s = 0.3
    async with harness(author) as h:
        job = await h.start_job()
        await h.worker.drain(0.2)
        report = await h.orchestrator.reported(job, "failed")
        assert report.detail == "the worker goes away"
        assert author.left == [("drained", True)]
        assert h.rooms.participants(job.room_name) == []


async def test_the_orchestrator_can_ask_to_drain() -> None:
    async with harness(Author()) as h:
        job = await h.start_job()
        await h.orchestrator.drain(deadline=0.2)
        await h.orchestrator.reported(job, "failed")
        await until(lambda: not h.worker.is_connected)


async def test_sigterm_drains_and_a_second_one_hands_over() -> None:
    async with FakeOrchestrator() as fake:
        program = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            PROGRAM,
            env={"GREENROOM_URL": fake.url, "GREENROOM_SERVICE_ID": "tested", "PATH": ""},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert program.stdout is not None
        try:
            job = await fake.offer(session_id="s1")
            await fake.accepted(job)
            await fake.assign(job)
            assert await asyncio.wait_for(program.stdout.readline(), 5) == b"joined\n"
            program.send_signal(signal.SIGTERM)
            await until(lambda: any(isinstance(f, Ping) and f.draining for f in fake.frames))
            assert program.returncode is None
            began = time.monotonic()
            program.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(program.stdout.readline(), 5) == b"ended drained\n"
            assert await asyncio.wait_for(program.stdout.readline(), 5) == b"returned\n"
            assert await asyncio.wait_for(program.wait(), 5) == 0
            assert time.monotonic() - began < 4
            assert fake.states(job) == ["joined", "failed"]
        finally:
            if program.returncode is None:
                program.kill()
                await program.wait()


async def test_stop_before_the_orchestrator_was_ever_there() -> None:
    worker = Worker(WorkerSettings("http://127.0.0.1:9", "x"), Author(), rooms=FakeRooms().link)
    began = time.monotonic()
    async with worker:
        assert worker.job_count == 0
    assert time.monotonic() - began < 2
