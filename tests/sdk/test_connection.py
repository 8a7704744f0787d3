"""The pull connection with the world broken: cut sockets, silence, restarts, a busy and a stuck loop."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from sdk.errors import JobStaleError, UnavailableError, WorkerRefusedError
from sdk.settings import WorkerSettings
from sdk.testing import FakeRooms
from sdk.wire import HeldJob, RecordingTask
from sdk.worker import Worker
from tests.fakes.worker_author import Author, harness, until

RECORDING = RecordingTask(recording_id="rec-1")


def held(job: object) -> HeldJob:
    assert hasattr(job, "job_id")
    assert hasattr(job, "attempt")
    return HeldJob(job_id=job.job_id, attempt=job.attempt)


async def test_a_cut_socket_is_back_within_a_second_with_its_jobs() -> None:
    author = Author()
    async with harness(author) as h:
        job = await h.start_job()
        began = time.monotonic()
        await h.orchestrator.cut()
        hello = await h.orchestrator.hello(2)
        assert time.monotonic() - began < 1.0
        assert hello.resuming == [held(job)]
        await until(lambda: h.worker.is_connected)
        assert h.rooms.participants(job.room_name) == ["tested"]
        assert author.cancelled == 0
        await h.end_job(job)


async def test_only_the_first_hello_of_a_process_is_a_new_one() -> None:
    async with harness(Author()) as h:
        first = await h.orchestrator.hello(1)
        assert (first.again, first.draining) == (False, False)
        await h.orchestrator.cut()
        assert (await h.orchestrator.hello(2)).again


async def test_a_draining_worker_says_so_when_it_connects_again() -> None:
    async with harness(Author()) as h:
        job = await h.start_job()
        await h.orchestrator.drain(deadline=5.0)
        await asyncio.sleep(0.2)  # the frame has come by then
        await h.orchestrator.cut()
        hello = await h.orchestrator.hello(2)
        assert (hello.again, hello.draining) == (True, True)
        await h.end_job(job)


async def test_a_restart_resumes_what_it_lists_and_stops_the_rest() -> None:
    author = Author()
    async with harness(author, capacity=2) as h:
        kept = await h.start_job()
        gone = await h.start_job()
        h.orchestrator.forget(gone)
        await h.orchestrator.go_away()
        await asyncio.sleep(0.5)
        await h.orchestrator.come_back()
        hello = await h.orchestrator.hello(2)
        assert set(hello.resuming) == {held(kept), held(gone)}
        await until(lambda: h.worker.job_count == 1)
        assert h.rooms.participants(gone.room_name) == []
        assert h.rooms.participants(kept.room_name) == ["tested"]
        assert author.left == [("stale", False)]
        assert h.orchestrator.states(gone) == ["joined"]


async def test_a_report_made_while_away_arrives_and_its_job_is_still_listed() -> None:
    author = Author()
    async with harness(author) as h:
        job = await h.start_job()
        await h.orchestrator.go_away()
        await author.job.fail("while nobody listens")
        await until(lambda: h.worker.job_count == 0)
        await h.orchestrator.come_back()
        hello = await h.orchestrator.hello(2)
        assert hello.resuming == [held(job)]
        assert (await h.orchestrator.reported(job, "failed")).detail == "while nobody listens"


async def test_a_report_is_repeated_until_a_pong_proves_it() -> None:
    author = Author()
    async with harness(author, heartbeat_interval=0.5) as h:
        job = await h.start_job()
        await asyncio.sleep(1.1)  # `joined` is proven by now
        h.orchestrator.script.is_silent = True
        await asyncio.sleep(0.2)
        await h.orchestrator.leave(job)
        await h.orchestrator.reported(job, "done")
        h.orchestrator.script.is_silent = False
        await h.orchestrator.cut()
        assert (await h.orchestrator.hello(2)).resuming == [held(job)]
        await until(lambda: h.orchestrator.states(job).count("done") == 2)
        await asyncio.sleep(1.1)
        await h.orchestrator.cut()
        assert (await h.orchestrator.hello(3)).resuming == []
        assert h.orchestrator.states(job) == ["joined", "done", "done"]


async def test_silence_makes_the_worker_out_of_touch_and_connect_again() -> None:
    author = Author()
    async with harness(author, heartbeat_interval=0.1) as h:
        await h.start_job()
        await until(lambda: h.worker.is_connected)
        assert author.job.is_in_touch
        await until(lambda: author.job.last_pong_age_s < 0.3)
        h.orchestrator.script.is_silent = True
        await until(lambda: not author.job.is_in_touch)
        await h.orchestrator.hello(2)
        h.orchestrator.script.is_silent = False
        await until(lambda: author.job.is_in_touch)


async def test_old_pongs_prove_nothing_about_now() -> None:
    """What a frozen process finds in its buffers: the age counts from when the ping was sent."""
    author = Author()
    async with harness(author, heartbeat_interval=0.1) as h:
        await h.start_job()
        h.orchestrator.script.is_silent = True
        await asyncio.sleep(0.25)
        age_s = author.job.last_pong_age_s
        assert 0.2 <= age_s <= author.job.last_pong_age_s


async def test_heartbeats_go_on_while_the_jobs_loop_is_busy() -> None:
    async with harness(Author(), heartbeat_interval=0.2) as h:
        await h.start_job()
        await asyncio.sleep(0.3)
        before = len(h.orchestrator.ping_times)
        until_s = time.monotonic() + 3.0
        while time.monotonic() < until_s:  # pure Python, holding the interpreter as a busy handler does
            sum(range(1000))
        beats = h.orchestrator.ping_times[before:]
        assert len(beats) >= 10
        assert max(later - earlier for earlier, later in itertools.pairwise(beats)) < 0.6
        assert h.orchestrator.connections == 1


async def test_a_stuck_loop_gives_its_connection_up_and_comes_back_when_it_turns() -> None:
    async with harness(Author(), heartbeat_interval=0.1, busy_limit_s=1.0) as h:
        job = await h.start_job()
        time.sleep(2.5)
        connections = h.orchestrator.connections
        last_beat_age_s = time.monotonic() - h.orchestrator.ping_times[-1]
        assert connections == 1
        assert last_beat_age_s > 0.7
        assert (await h.orchestrator.hello(2)).resuming == [held(job)]
        await until(lambda: h.worker.is_connected)


async def test_reconnect_keeps_the_old_connection_until_it_dials() -> None:
    author = Author()
    async with harness(author) as h:
        job = await h.start_job()
        await h.orchestrator.ask_to_reconnect(deadline=1.0)
        assert (await h.orchestrator.hello(2)).resuming == [held(job)]
        await h.end_job(job)
        assert author.cancelled == 1


async def test_a_worker_waits_for_an_orchestrator_that_is_not_there_yet() -> None:
    async with harness(Author()) as h:
        await h.orchestrator.hello()
        await h.orchestrator.go_away()
        late = Worker(WorkerSettings(h.orchestrator.url, "late"), Author(), rooms=FakeRooms().link)
        async with late:
            await asyncio.sleep(0.3)
            assert not late.is_connected
            h.orchestrator.hellos.clear()
            await h.orchestrator.come_back()
            await late.wait_connected()
            assert "late" in {hello.service_id for hello in h.orchestrator.hellos}


async def test_a_refusal_ends_the_worker_with_the_reason() -> None:
    async with harness(Author()) as h:
        await h.orchestrator.hello()
        h.orchestrator.script.refuses_with = "service_id is taken by another key"
        refused = Worker(WorkerSettings(h.orchestrator.url, "other"), Author(), rooms=FakeRooms().link)
        with pytest.raises(WorkerRefusedError, match="taken by another key"):
            await asyncio.wait_for(refused.serve(), 5)


async def test_recording_reports_are_numbered_acknowledged_and_resent_after_a_cut() -> None:
    author = Author()
    async with harness(author) as h:
        job = await h.start_job(recording=RECORDING)
        await author.job.report_recording("starting")
        h.orchestrator.script.acks = False
        waiting = asyncio.create_task(author.job.report_recording("recording", tree_size=1))
        await h.orchestrator.recorded(job, n=2)
        behind = asyncio.create_task(author.job.report_recording("recording", tree_size=2, closes=[{"n": 1}]))
        newest = asyncio.create_task(author.job.report_recording("recording", tree_size=3))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        h.orchestrator.script.acks = True
        await h.orchestrator.cut()
        await asyncio.gather(waiting, behind, newest)
        reports = h.orchestrator.recordings(job)
        assert [report.n for report in reports] == [1, 2, 2, 3]
        assert (reports[-1].tree_size, reports[-1].closes) == (3, [{"n": 1}])
        assert {report.recording_id for report in reports} == {"rec-1"}


async def test_a_recording_report_has_a_deadline_and_is_still_delivered() -> None:
    author = Author()
    async with harness(author) as h:
        job = await h.start_job(recording=RECORDING)
        await h.orchestrator.go_away()
        with pytest.raises(UnavailableError, match="not acknowledged"):
            await author.job.report_recording("recording", timeout_s=0.1)
        await h.orchestrator.come_back()
        assert (await h.orchestrator.recorded(job, n=1)).state == "recording"


async def test_a_stale_recording_report_raises() -> None:
    author = Author()
    async with harness(author) as h:
        job = await h.start_job(recording=RECORDING)
        h.orchestrator.script.acks = False
        waiting = asyncio.create_task(author.job.report_recording("recording"))
        await h.orchestrator.recorded(job, n=1)
        await h.orchestrator.stale(job)
        with pytest.raises(JobStaleError):
            await waiting
        with pytest.raises(JobStaleError):
            await author.job.report_recording("failed")


async def test_a_wish_for_a_token_outlives_the_connection() -> None:
    author = Author()
    async with harness(author) as h:
        await h.start_job()
        h.orchestrator.script.renews_tokens = False
        wish = asyncio.create_task(author.job.token())
        await asyncio.sleep(0.1)
        h.orchestrator.script.renews_tokens = True
        await h.orchestrator.cut()
        assert "tested" in await asyncio.wait_for(wish, 3)
