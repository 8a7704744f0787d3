"""The recorder in a real room: in sync, stopped at once, killed, sent away, reconnected, started again."""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest

from greenroom.synthetic_picture import FRAMES_PER_S
from tests.integration.servers import SharedLiveKit
from tests.recorder.room_world import RoomWorld, room_world, until

pytestmark = [pytest.mark.integration, pytest.mark.media]


@pytest.fixture(params=["passthrough", "decoded"])
async def world(
    request: pytest.FixtureRequest, livekit_server: SharedLiveKit, tmp_path: Path
) -> AsyncIterator[RoomWorld]:
    async with room_world(livekit_server, tmp_path, mode=request.param) as made:
        yield made


async def test_a_session_is_recorded_in_sync_and_stops_at_the_cut_mark(world: RoomWorld) -> None:
    await world.start_recorder()
    job = await world.capture()
    async with world.participant(job) as alice:
        publishing = asyncio.create_task(alice.publish(30))
        await asyncio.sleep(7)
        asked = time.monotonic()
        await world.orchestrator.control(job, "stop", n=1)
        await until(lambda: any(report.op == 1 for report in world.reports(job)), within_s=2)
        stopped_s = time.monotonic() - asked
        await world.orchestrator.leave(job)
        await world.orchestrator.reported(job, "done")
        publishing.cancel()
        await asyncio.wait({publishing})
    assert stopped_s <= 2.0
    assert world.reports(job)[-1].state == "completed"
    assert (await world.verify()).exit_code == 0
    media = await world.export()
    assert media.is_monotonic
    assert media.unread_frames == 0
    assert media.video_frames >= 5 * FRAMES_PER_S
    assert media.duration_s <= 7.5
    assert media.av_offset_ms is not None
    assert abs(media.av_offset_ms) <= 80


async def test_kill_of_the_recorder_loses_at_most_two_seconds_and_the_completer_finishes(
    world: RoomWorld,
) -> None:
    recorder = await world.start_recorder()
    job = await world.capture()
    async with world.participant(job) as alice:
        publishing = asyncio.create_task(alice.publish(30))
        await asyncio.sleep(6)
        frames_before = world.reports(job)[-1].stats.get("video_frames", 0)
        recorder.send_signal(signal.SIGKILL)
        publishing.cancel()
        await asyncio.wait({publishing})
    recorder.wait()
    assert (await world.verify()).exit_code == 3
    media = await world.export()
    # alice began about 0.3 s after she was told to and is seen by her first keyframe
    assert media.video_frames >= (6 - 2 - 1.2) * FRAMES_PER_S
    assert media.video_frames >= frames_before - 2 * FRAMES_PER_S
    assert media.is_monotonic
    await world.start_recorder()
    last = await world.complete(job)
    assert (last.state, [close["attempt"] for close in last.closes]) in (
        ("completed", []),
        ("completed", [1]),
    )
    assert (await world.verify()).exit_code == 0


async def test_sigterm_flushes_within_five_seconds_and_the_next_recorder_goes_on(world: RoomWorld) -> None:
    recorder = await world.start_recorder()
    job = await world.capture()
    async with world.participant(job) as alice:
        publishing = asyncio.create_task(alice.publish(12))
        await asyncio.sleep(4)
        began = time.monotonic()
        recorder.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(recorder.wait, 5) == 0
        assert time.monotonic() - began <= 5
        await world.orchestrator.reported(job, "failed")  # so that it is offered again
        (close,) = [close for report in world.reports(job) for close in report.closes]
        report = await world.verify()
        assert (close["attempt"], close["tree_size"]) == (1, report.attempts[0].size)
        assert {state.state for state in world.reports(job)} == {"recording"}
        await world.start_recorder()
        second = await world.capture(job=job)
        await publishing
    await world.orchestrator.leave(second)
    await world.orchestrator.reported(second, "done")
    report = await world.verify()
    assert report.exit_code == 0
    assert [attempt.attempt for attempt in report.attempts] == [1, 2]
    media = await world.export()
    assert media.is_monotonic
    assert media.unread_frames == 0
    counters = [counter for counter in media.counters if counter is not None]
    assert max(later - earlier for earlier, later in pairwise(counters)) > FRAMES_PER_S  # the gap
    assert counters[-1] >= 11 * FRAMES_PER_S


async def test_a_participant_that_comes_back_goes_on_as_the_same_tracks(world: RoomWorld) -> None:
    await world.start_recorder()
    job = await world.capture()
    for first in (0, 10):
        async with world.participant(job) as alice:
            await alice.publish(3, first_frame=first * FRAMES_PER_S)
    await world.orchestrator.leave(job)
    await world.orchestrator.reported(job, "done")
    report = await world.verify()
    assert report.exit_code == 0
    assert [track.track for track in report.tracks] == [1, 2]
    assert all(track.gaps for track in report.tracks)
    media = await world.export()
    assert media.is_monotonic
    counters = [counter for counter in media.counters if counter is not None]
    assert any(counter < 3 * FRAMES_PER_S for counter in counters)
    assert any(counter >= 10 * FRAMES_PER_S for counter in counters)


async def test_after_a_stop_the_room_is_recorded_again_as_another_recording(world: RoomWorld) -> None:
    await world.start_recorder()
    job = await world.capture()
    async with world.participant(job) as alice:
        publishing = asyncio.create_task(alice.publish(30))
        await asyncio.sleep(3)
        await world.orchestrator.control(job, "stop", n=1)
        await world.orchestrator.reported(job, "done")
        assert (await world.verify()).exit_code == 0
        first = await world.export()
        world.recording_id = str(uuid.uuid4())
        again = await world.capture(job=job)
        await asyncio.sleep(3)
        await world.orchestrator.control(again, "stop", n=1)
        await world.orchestrator.reported(again, "done")
        publishing.cancel()
        await asyncio.wait({publishing})
    report = await world.verify()
    assert report.exit_code == 0
    assert [attempt.attempt for attempt in report.attempts] == [2]
    second = await world.export()
    counters = [[number for number in media.counters if number is not None] for media in (first, second)]
    assert max(counters[0]) < min(counters[1])
