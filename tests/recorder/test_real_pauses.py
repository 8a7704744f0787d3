"""Pauses in a real room: nothing of one is in the export, and it goes on in time, also after a kill."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from greenroom.synthetic_picture import FRAMES_PER_S
from sdk.fake_jobs import FakeJob
from tests.integration.servers import SharedLiveKit
from tests.recorder.room_world import RoomWorld, room_world, until
from vault.core.chunk_header import HEADER_BYTES, decode_header
from vault.core.layout import chunk_name

pytestmark = [pytest.mark.integration, pytest.mark.media]

# From drawing a picture to the recorder that has it. Decoding on a machine that cannot keep up is far behind,
# and what the SDK gives out late it also dates late.
ON_THE_WAY_S = {"passthrough": 0.3, "decoded": 1.5}
SOUND_S, PICTURE_S = 0.02, 1.0  # what may be missing after a resume
JITTER_S = 0.01  # of a packet on its way, on a busy machine


@pytest.fixture(params=["passthrough", "decoded"])
async def world(
    request: pytest.FixtureRequest, livekit_server: SharedLiveKit, tmp_path: Path
) -> AsyncIterator[RoomWorld]:
    async with room_world(livekit_server, tmp_path, mode=request.param) as made:
        yield made


class Drawn:
    """Knows which picture a participant is drawing by now."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[tuple[int, float]] = asyncio.Queue()
        self._zero_s = float("inf")

    def on_second(self, second: int) -> None:
        self.told.put_nowait((second, time.monotonic()))

    async def until_s(self, second: int) -> None:
        while True:
            told, at_s = await asyncio.wait_for(self.told.get(), 15)
            self._zero_s = min(self._zero_s, at_s - told)  # a busy machine tells it late, never early
            if told >= second:
                return

    def now(self) -> float:
        """Seconds of drawing."""
        return time.monotonic() - self._zero_s


async def controlled(world: RoomWorld, job: FakeJob, op: str, n: int) -> None:
    """Say an operation and wait until a report shows it."""
    await world.orchestrator.control(job, op, n=n)  # type: ignore[arg-type]
    await until(lambda: any(report.op == n for report in world.reports(job)), within_s=3)


def read(counters: tuple[int | None, ...]) -> list[float]:
    """Seconds of drawing that are in the export."""
    return [counter / FRAMES_PER_S for counter in counters if counter is not None]


async def test_nothing_of_a_pause_is_recorded_and_it_goes_on_in_time(world: RoomWorld) -> None:
    await world.start_recorder()
    job = await world.capture()
    drawn = Drawn()
    async with world.participant(job) as alice:
        publishing = asyncio.create_task(alice.publish(30, on_second=drawn.on_second))
        await drawn.until_s(4)
        await controlled(world, job, "pause", 1)
        paused_s = drawn.now()
        assert world.reports(job)[-1].state == "paused"
        await drawn.until_s(8)
        resumed_s = drawn.now()
        await controlled(world, job, "resume", 2)
        await drawn.until_s(12)
        await controlled(world, job, "stop", 3)
        await world.orchestrator.reported(job, "done")
        publishing.cancel()
        await asyncio.wait({publishing})
    assert (await world.verify()).exit_code == 0
    media = await world.export()
    seconds = read(media.counters)
    assert media.is_monotonic
    assert not [at_s for at_s in seconds if paused_s < at_s < resumed_s - ON_THE_WAY_S[world.mode]]
    before = max(at_s for at_s in seconds if at_s <= paused_s)
    after = min(at_s for at_s in seconds if at_s > paused_s)
    assert before >= 3.5
    assert after <= resumed_s + PICTURE_S + ON_THE_WAY_S[world.mode]
    manifest = world.manifest()
    (gap,) = [gap for gap in manifest.gaps if gap.reason == "paused"]
    assert manifest.cut_marks_us[0] == gap.start_us
    for track in manifest.tracks:
        first, second = track.runs
        assert first.end_us <= gap.start_us + ON_THE_WAY_S[world.mode] * 1_000_000
        late_s = (second.start_us - gap.end_us) / 1_000_000
        chunk = (world.path / chunk_name(track.attempt, first.init_leaf)).read_bytes()
        is_sound = decode_header(chunk[:HEADER_BYTES]).time_base == Fraction(1, 48_000)
        assert late_s <= (SOUND_S + JITTER_S if is_sound else PICTURE_S)


async def test_a_recorder_killed_while_paused_is_followed_by_one_that_is_paused(world: RoomWorld) -> None:
    recorder = await world.start_recorder()
    job = await world.capture()
    drawn = Drawn()
    async with world.participant(job) as alice:
        publishing = asyncio.create_task(alice.publish(40, on_second=drawn.on_second))
        await drawn.until_s(3)
        await controlled(world, job, "pause", 1)
        paused_s = drawn.now()
        recorder.send_signal(signal.SIGKILL)
        recorder.wait()
        assert (await world.verify()).exit_code == 3
        await world.start_recorder()
        heir = await world.capture(job=job, paused=True, op=1, gaps=world.reports(job)[-1].gaps)
        assert {report.state for report in world.reports(heir)} == {"paused"}
        await drawn.until_s(int(drawn.now()) + 3)
        resumed_s = drawn.now()
        await controlled(world, heir, "resume", 2)
        await drawn.until_s(int(drawn.now()) + 4)
        await controlled(world, heir, "stop", 3)
        await world.orchestrator.reported(heir, "done")
        publishing.cancel()
        await asyncio.wait({publishing})
    assert (await world.verify()).exit_code == 0
    media = await world.export()
    seconds = read(media.counters)
    assert not [at_s for at_s in seconds if paused_s < at_s < resumed_s - ON_THE_WAY_S[world.mode]]
    assert [later - earlier for earlier, later in pairwise(seconds) if later - earlier > 2.0]
    assert max(seconds) > resumed_s
    manifest = world.manifest()
    (gap,) = [gap for gap in manifest.gaps if gap.reason == "paused"]
    assert (gap.end_us - gap.start_us) / 1_000_000 == pytest.approx(resumed_s - paused_s, abs=0.5)
    assert [attempt.attempt for attempt in manifest.attempts] == [1, 2]
