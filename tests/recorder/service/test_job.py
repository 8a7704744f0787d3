"""The recorder as a worker against a fake orchestrator: stop, leave, complete, drain, stale."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from recorder.adapters.job_reports import JobReports
from recorder.service.archive import Archive
from recorder.service.job import RecorderHandler, RecorderParts
from sdk.fake_jobs import FakeJob
from sdk.job import Job
from sdk.testing import WorkerHarness
from sdk.wire import RecordingReport, RecordingTask
from sdk.worker import Worker
from tests.fakes.chunk_stores import MemoryChunkStore
from tests.fakes.encoders import FakeEncoders
from tests.fakes.media_clock import FakeMediaClock
from tests.fakes.tracks import QuickTracks
from vault.adapters.key_files import KeyFiles
from vault.core.ids import RecordingId
from vault.verification import check_recording

RECORDING = RecordingId("11111111-2222-4333-8444-555555555555")
CAPTURE = RecordingTask(recording_id=RECORDING, task="capture")
COMPLETE = RecordingTask(recording_id=RECORDING, task="complete")


class Bench:
    """A recorder, its orchestrator, and one store for all its attempts."""

    def __init__(self, folder: Path) -> None:
        self.store = MemoryChunkStore()
        self.keys = KeyFiles.create_or_open(folder / "keys")
        self.clock = FakeMediaClock()
        self.rooms: list[QuickTracks] = []
        self.qualities: list[str] = []
        parts = RecorderParts(
            archive=Archive(self.store, self.keys, "memory:"),
            clock=self.clock,
            encoders=self._encoders,
            tracks=self._tracks,
            reporter=lambda job: JobReports(job, location="memory:"),
        )
        self.handler = RecorderHandler(parts)
        self.harness = WorkerHarness(
            lambda settings, rooms: Worker(settings, self.handler, rooms=rooms),
            service_id="recorder",
            in_default=False,
            drain_timeout_s=0.1,
        )

    def _encoders(self, quality: str, _: str) -> FakeEncoders:
        self.qualities.append(quality)
        return FakeEncoders()

    def _tracks(self, _: Job) -> QuickTracks:
        self.rooms.append(QuickTracks(self.clock))
        return self.rooms[-1]

    async def start(self, task: RecordingTask = CAPTURE, *, attempt: int = 1, job_id: str = "") -> FakeJob:
        return await self.harness.start_job(recording=task, attempt=attempt, job_id=job_id)

    async def until_played(self) -> None:
        await until(lambda: bool(self.rooms) and self.rooms[-1].played.is_set())

    def reports(self, job: FakeJob) -> list[RecordingReport]:
        seen: dict[int, RecordingReport] = {
            report.n: report for report in self.harness.orchestrator.recordings(job)
        }
        return [seen[n] for n in sorted(seen)]

    def states(self, job: FakeJob) -> list[str]:
        states: list[str] = []
        for report in self.reports(job):
            if not states or states[-1] != report.state:
                states.append(report.state)
        return states

    def status(self) -> str:
        files = self.store.files(RECORDING)
        return check_recording(files, self.keys.public_key, recording_id=RECORDING).report.status


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    async with bench.harness:
        yield bench


async def test_stop_makes_the_cut_mark_and_the_recording_goes_on_to_completed(bench: Bench) -> None:
    job = await bench.start()
    await bench.until_played()
    await bench.harness.orchestrator.control(job, "stop", n=3)
    await until(lambda: "completed" in bench.states(job))
    assert bench.states(job) == ["recording", "stopping", "stopped", "processing", "completed"]
    reports = bench.reports(job)
    assert [report.n for report in reports] == list(range(1, len(reports) + 1))
    assert [report.op for report in reports if report.state == "stopping"] == [3]
    assert reports[-1].store == "memory:"
    await bench.harness.orchestrator.reported(job, "done")
    assert bench.status() == "complete"
    assert bench.qualities == ["high"]


async def test_leave_alone_ends_the_capture_and_done_comes_when_all_is_verified(bench: Bench) -> None:
    job = await bench.start()
    await bench.until_played()
    await bench.harness.end_job(job)
    assert bench.states(job)[-1] == "completed"
    assert bench.status() == "complete"


async def test_stop_then_leave_completes_once(bench: Bench) -> None:
    job = await bench.start()
    await bench.until_played()
    await bench.harness.orchestrator.control(job, "stop", n=1)
    await bench.harness.end_job(job)
    assert bench.states(job) == ["recording", "stopping", "stopped", "processing", "completed"]


async def test_a_deleted_room_ends_the_capture_and_the_recording_is_completed(bench: Bench) -> None:
    job = await bench.start()
    await bench.until_played()
    bench.harness.rooms.delete(job.room_name)
    await bench.harness.orchestrator.reported(job, "done")
    assert bench.states(job)[-1] == "completed"


async def test_a_worker_that_goes_away_closes_its_attempt_and_the_next_completes_both(bench: Bench) -> None:
    job = await bench.start()
    await bench.until_played()
    await bench.harness.worker.stop()
    await bench.harness.orchestrator.reported(job, "failed")
    assert bench.states(job) == ["recording"]
    closes = [close for report in bench.reports(job) for close in report.closes]
    assert [close["attempt"] for close in closes] == [1]
    assert bench.status() == "incomplete"


async def test_what_a_dead_attempt_left_is_completed_without_a_room(bench: Bench) -> None:
    first = await bench.start()
    await bench.until_played()
    await until(lambda: len(bench.store.recordings[RECORDING]) >= 8)
    await bench.harness.orchestrator.stale(first)
    second = await bench.harness.orchestrator.offer(job_id=first.job_id, attempt=2)
    await bench.harness.orchestrator.accepted(second)
    await bench.harness.orchestrator.assign(second, recording=COMPLETE)
    await bench.harness.orchestrator.reported(second, "done")
    assert bench.states(second) == ["stopping", "stopped", "processing", "completed"]
    assert bench.status() == "complete"
    assert len(bench.rooms) == 1  # no room was captured for the second one


async def test_a_stale_attempt_says_and_stores_nothing_more(bench: Bench) -> None:
    job = await bench.start()
    await bench.until_played()
    await bench.harness.orchestrator.stale(job)
    await until(lambda: bench.harness.worker.job_count == 0)
    before = dict(bench.store.recordings[RECORDING])
    await asyncio.sleep(0.3)
    assert bench.store.recordings[RECORDING] == before
    assert bench.states(job) == ["recording"]
    assert "manifest" not in before


async def test_a_job_without_a_recording_is_refused_with_a_sentence(bench: Bench) -> None:
    job = await bench.harness.start_job()
    report = await bench.harness.orchestrator.reported(job, "failed")
    assert report.detail == "this recorder got a job without a recording"


async def test_a_pause_and_its_end_are_shown_in_reports(bench: Bench) -> None:
    job = await bench.start()
    await bench.until_played()
    await bench.harness.orchestrator.control(job, "pause", n=1)
    await until(lambda: bench.states(job) == ["recording", "paused"])
    (paused,) = [report for report in bench.reports(job) if report.state == "paused"]
    assert (paused.op, [sorted(gap) for gap in paused.gaps]) == (1, [["reason", "start_us"]])
    await bench.harness.orchestrator.control(job, "resume", n=2)
    await until(lambda: bench.states(job) == ["recording", "paused", "recording"])
    assert (bench.reports(job)[-1].op, "end_us" in bench.reports(job)[-1].gaps[0]) == (2, True)
    await bench.harness.end_job(job)
    assert bench.status() == "complete"


async def test_a_pause_that_comes_before_the_capture_has_begun_is_not_lost(bench: Bench) -> None:
    job = await bench.harness.orchestrator.offer()
    bench.harness.rooms.create(job.room_name)
    await bench.harness.orchestrator.accepted(job)
    await bench.harness.orchestrator.assign(job, recording=CAPTURE)
    await bench.harness.orchestrator.control(job, "pause", n=1)
    await until(lambda: bool(bench.states(job)) and bench.states(job)[-1] == "paused")
    assert bench.reports(job)[-1].op == 1


async def test_who_takes_over_a_paused_recording_stores_nothing_and_says_so(bench: Bench) -> None:
    gaps = [{"start_us": bench.clock.wall_us() - 1_000_000, "reason": "paused"}]
    task = RecordingTask(recording_id=RECORDING, task="capture", paused=True, op=3, gaps=gaps)
    job = await bench.start(task)
    await bench.until_played()
    assert bench.states(job) == ["paused"]
    assert bench.reports(job)[0].op == 3
    assert not [name for name in bench.store.recordings[RECORDING] if "chunk" in name]
    await bench.harness.orchestrator.control(job, "stop", n=4)
    await until(lambda: "completed" in bench.states(job))
