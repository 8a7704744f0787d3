"""Composite and audio recordings of a real room, decoded: who stands where, who is heard, and in sync."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from greenroom.synthetic_picture import read_counter
from recorder.core.layout import Box, Layout, fit, tiles
from recorder.core.quality import QUALITIES
from tests.integration.servers import SharedLiveKit
from tests.recorder.counting_publishers import HEIGHT, WIDTH, counting
from tests.recorder.decoded_files import Decoded, stopped
from tests.recorder.room_world import RoomWorld, room_world

pytestmark = [pytest.mark.integration, pytest.mark.media]

LOW = QUALITIES["low"]
ALICE_HZ, BOB_HZ = 440, 1_000
BOBS = 100_000  # bob's numbers begin here


@pytest.fixture
async def world(livekit_server: SharedLiveKit, tmp_path: Path) -> AsyncIterator[RoomWorld]:
    async with room_world(livekit_server, tmp_path, mode="composite") as made:
        await made.start_recorder()
        yield made


def whose(luma: npt.NDArray[np.uint8], box: Box) -> str:
    """Read who stands in a box: the participant's letter, or "-"."""
    inner = fit(box, width=WIDTH, height=HEIGHT)
    counter = read_counter(luma[inner.y : inner.y + inner.height, inner.x : inner.x + inner.width])
    return "-" if counter is None else "b" if counter >= BOBS else "a"


def stage(luma: npt.NDArray[np.uint8], layout: Layout) -> str:
    """Read who stands on the canvas, in order."""
    for count in (1, 2):
        boxes = tiles(layout, count, width=LOW.width, height=LOW.height)
        if "-" not in (seen := "".join(whose(luma, box) for box in boxes)):
            return seen
    return ""


def scenes(decoded: Decoded, layout: Layout) -> list[tuple[str, float, float]]:
    """Who stood on the canvas from when to when; what stands for less than 0.3 s is a change."""
    read = [(stage(luma, layout), at_s) for luma, at_s in zip(decoded.lumas, decoded.times, strict=True)]
    found = [(seen, [at_s for _, at_s in group]) for seen, group in groupby(read, key=lambda one: one[0])]
    lasting = [(seen, times[0], times[-1]) for seen, times in found if times[-1] - times[0] >= 0.3]
    merged: list[tuple[str, float, float]] = []
    for seen, begin, end in lasting:
        if merged and merged[-1][0] == seen:
            merged[-1] = (seen, merged[-1][1], end)
        else:
            merged.append((seen, begin, end))
    return merged


async def test_a_grid_of_who_is_there_with_the_sound_of_all(world: RoomWorld) -> None:
    job = await world.capture(quality="low", format="webm")
    async with counting(world.server, job, "alice", first=0, hz=ALICE_HZ) as alice:
        await asyncio.sleep(2)
        async with counting(world.server, job, "bob", first=BOBS, hz=BOB_HZ):
            await asyncio.sleep(2.5)
            alice.mute_camera(is_muted=True)
            await asyncio.sleep(1.5)
            alice.mute_camera(is_muted=False)
            await asyncio.sleep(2)
        await asyncio.sleep(1.5)
        decoded = await stopped(world, job)
    assert decoded.codecs == ["vp8", "opus"]
    assert {luma.shape for luma in decoded.lumas} == {(LOW.height, LOW.width)}
    seen = scenes(decoded, "grid")
    assert [who for who, _, _ in seen] == ["a", "ab", "b", "ab", "a"]
    steps = [later - earlier for earlier, later in pairwise(decoded.times)]
    assert sorted(steps)[len(steps) // 2] == pytest.approx(1 / LOW.frames_per_s, abs=0.002)
    for who, begin, end in seen:
        assert decoded.strength(BOB_HZ, begin, end) > 0.1 or who == "a"
        # her microphone is not muted with her camera
        assert decoded.strength(ALICE_HZ, begin, end) > 0.1
        assert decoded.strength(700, begin, end) < 0.01
    assert decoded.strength(BOB_HZ, seen[0][1], seen[0][2] - 1) < 0.01


async def test_who_speaks_is_shown_large(world: RoomWorld) -> None:
    job = await world.capture(quality="low", layout="speaker")
    async with (
        counting(world.server, job, "alice", first=0, hz=ALICE_HZ) as alice,
        counting(world.server, job, "bob", first=BOBS, hz=BOB_HZ) as bob,
    ):
        bob.is_loud = False
        await asyncio.sleep(4)
        bob.is_loud, alice.is_loud = True, False
        await asyncio.sleep(4)
        decoded = await stopped(world, job)
    assert decoded.codecs == ["h264", "opus"]
    assert [who for who, _, _ in scenes(decoded, "speaker")][-2:] == ["ab", "ba"]


async def test_a_composite_is_in_sync_and_stops_at_the_cut_mark(world: RoomWorld) -> None:
    job = await world.capture(quality="low")
    async with world.participant(job) as alice:
        publishing = asyncio.create_task(alice.publish(30))
        await asyncio.sleep(7)
        await world.orchestrator.control(job, "stop", n=1)
        await world.orchestrator.reported(job, "done")
        publishing.cancel()
        await asyncio.wait({publishing})
    assert (await world.verify()).exit_code == 0
    media = await world.export()
    # On an even clock a picture that comes late is drawn twice.
    counters = [counter for counter in media.counters if counter is not None]
    assert counters == sorted(counters)
    assert media.unread_frames <= 1
    assert 5 * LOW.frames_per_s <= media.video_frames <= 7.5 * LOW.frames_per_s
    assert media.av_offset_ms is not None
    assert abs(media.av_offset_ms) <= 80


async def test_audio_is_the_mix_alone(livekit_server: SharedLiveKit, tmp_path: Path) -> None:
    async with room_world(livekit_server, tmp_path, mode="audio") as world:
        await world.start_recorder()
        job = await world.capture()
        async with (
            counting(world.server, job, "alice", first=0, hz=ALICE_HZ),
            counting(world.server, job, "bob", first=BOBS, hz=BOB_HZ),
        ):
            await asyncio.sleep(3)
            decoded = await stopped(world, job)
    assert decoded.codecs == ["opus"]
    begin_s = decoded.sound_from_s + 1
    assert decoded.strength(ALICE_HZ, begin_s, begin_s + 1) > 0.1
    assert decoded.strength(BOB_HZ, begin_s, begin_s + 1) > 0.1
    assert decoded.strength(700, begin_s, begin_s + 1) < 0.01
