"""An end-to-end encrypted room is recorded with its key, and without it fails with a word that says so."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest

from greenroom.synthetic_picture import read_counter
from sdk.fake_jobs import FakeJob
from sdk.wire import RecordingReport
from tests.integration.servers import SharedLiveKit
from tests.recorder.counting_publishers import counting
from tests.recorder.decoded_files import stopped
from tests.recorder.room_world import RoomWorld, room_world, until
from vault.adapters.key_files import KeyFiles
from vault.core.ids import parse_recording_id
from vault.sealed_text import seal_text

pytestmark = [pytest.mark.integration, pytest.mark.media]

IS_FULL = os.environ.get("GREENROOM_FULL") == "1"
KEY = "the room's own key"
HZ = 440


@pytest.fixture(params=["passthrough", "tracks", "composite"] if IS_FULL else ["passthrough"])
async def world(
    request: pytest.FixtureRequest, livekit_server: SharedLiveKit, tmp_path: Path
) -> AsyncIterator[RoomWorld]:
    async with room_world(livekit_server, tmp_path, mode=request.param) as made:
        await made.start_recorder()
        yield made


async def capture(world: RoomWorld, key: str) -> FakeJob:
    ring = KeyFiles.open(world.folder / "keys")
    sealed = seal_text(key, ring, recording_id=parse_recording_id(world.recording_id)) if key else ""
    return await world.capture(quality="low", e2ee_key=sealed)


async def test_with_the_key_pictures_and_sound_are_there(world: RoomWorld) -> None:
    job = await capture(world, KEY)
    async with counting(world.server, job, "alice", first=0, hz=HZ, e2ee_key=KEY):
        await asyncio.sleep(3.5)
        decoded = await stopped(world, job)
    last = world.reports(job)[-1]
    assert (last.state, last.stats["participants_unopened"]) == ("completed", 0)
    counters = [counter for luma in decoded.lumas if (counter := read_counter(luma)) is not None]
    assert len(counters) > 20
    assert all(later >= earlier for earlier, later in pairwise(counters))
    assert decoded.strength(HZ, decoded.sound_from_s + 1, decoded.sound_from_s + 2) > 0.1


async def test_without_the_key_the_recording_fails_and_says_why(world: RoomWorld) -> None:
    job = await capture(world, "")
    async with counting(world.server, job, "alice", first=0, hz=HZ, e2ee_key=KEY):
        await until(lambda: world.reports(job)[-1].state == "failed", within_s=15)
    assert world.reports(job)[-1].detail.startswith("e2ee_key_missing: track TR_")


async def test_a_wrong_key_opens_nothing_and_that_is_said(world: RoomWorld) -> None:
    job = await capture(world, "another key")

    def told() -> list[RecordingReport]:
        return world.reports(job)

    async with counting(world.server, job, "alice", first=0, hz=HZ, e2ee_key=KEY):
        await until(lambda: told()[-1].stats.get("participants_unopened") == 1, within_s=15)
        assert told()[-1].state == "recording"  # it is said while there is time to begin anew
        decoded = await stopped(world, job)
    assert told()[-1].state == "failed"
    assert told()[-1].detail.startswith("e2ee_key_wrong: the e2ee_key opens nothing of ")
    assert not [luma for luma in decoded.lumas if read_counter(luma) is not None]
    assert decoded.strength(HZ, decoded.sound_from_s + 1, decoded.sound_from_s + 2) < 0.01
