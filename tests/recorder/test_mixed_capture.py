"""A room where one track cannot be taken as it is: the others still are, in one recording."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import av
import pytest
from livekit import rtc

from tests.integration.servers import SharedLiveKit
from tests.recorder.publishers import Room
from tests.recorder.room_world import RoomWorld, room_world, until
from vault.adapters.key_files import KeyFiles
from vault.export import export_recording

pytestmark = [pytest.mark.integration, pytest.mark.media]


@pytest.fixture
async def world(livekit_server: SharedLiveKit, tmp_path: Path) -> AsyncIterator[RoomWorld]:
    async with room_world(livekit_server, tmp_path) as made:
        yield made


async def test_one_track_in_another_codec_is_decoded_beside_the_others(world: RoomWorld) -> None:
    await world.start_recorder()
    job = await world.capture()
    room = Room(world.server, job.room_name)
    async with room.publisher("alice") as alice, room.publisher("bob") as bob:
        await alice.publish_camera(rtc.VideoCodec.VP9)
        await alice.publish_microphone()
        await bob.publish_camera(rtc.VideoCodec.H264)
        await until(lambda: world.reports(job)[-1].stats.get("video_frames", 0) > 60, within_s=20)
        await world.orchestrator.control(job, "stop", n=1)
        await world.orchestrator.reported(job, "done")
    last = world.reports(job)[-1]
    assert (last.state, last.stats["tracks"], last.stats["tracks_decoded"]) == ("completed", 3, 1)
    assert (await world.verify()).exit_code == 0
    assert world.manifest().capture == "decoded"
    out = world.folder / "out.mp4"
    export_recording(world.path, KeyFiles.open(world.folder / "keys"), out)
    with av.open(str(out)) as file:
        count = len(file.streams.video), len(file.streams.audio)
    assert count == (2, 1)
    for index in range(2):
        with av.open(str(out)) as file:
            times = [frame.time for frame in file.decode(video=index)]
        assert len(times) > 15
        assert all(later > earlier for earlier, later in pairwise(times))
