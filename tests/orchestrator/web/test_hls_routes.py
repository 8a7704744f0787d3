"""HLS as a player takes it: FFmpeg opens the playlists by their address and decodes every part."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from aiohttp import ClientSession

from greenroom.synthetic_picture import read_counter
from tests.fakes.counted_media import counted_video, long_sound
from tests.fakes.recordings import RECORDING
from tests.fakes.stored_recordings import StoredRecordings
from tests.orchestrator.web.world import World, error_of

HLS = f"/api/v1/recordings/{RECORDING}/hls"
GAP_S = 30


@pytest.fixture
def stored(tmp_path: Path) -> StoredRecordings:
    return StoredRecordings(tmp_path)


@pytest.fixture
async def world(stored: StoredRecordings) -> World:
    return World(settings=stored.settings)


@pytest.fixture
async def client(world: World) -> AsyncIterator[ClientSession]:
    async with world.running() as client:
        yield client


def two_attempts(stored: StoredRecordings, *, is_complete: bool = True) -> None:
    first = [(1, 250_000, counted_video(14)), (2, 20_000, long_sound(14))]
    second = [(1, 0, long_sound(9)), (2, 500_000, counted_video(9, first=500))]
    stored.write(first, second, apart_us=GAP_S * 1_000_000, is_complete=is_complete)


def pictures(url: str) -> list[tuple[float, int | None]]:
    """Time and counter of every picture."""
    with av.open(url, options={"allowed_extensions": "ALL"}) as container:
        return [
            (float(frame.time or 0), read_counter(np.asarray(frame.to_ndarray(format="gray"), np.uint8)))
            for frame in container.decode(video=0)
        ]


def sounds(url: str) -> list[tuple[float, float]]:
    """Beginning and length of every block of sound, in seconds."""
    with av.open(url, options={"allowed_extensions": "ALL"}) as container:
        return [
            (float(frame.time or 0), frame.samples / frame.sample_rate) for frame in container.decode(audio=0)
        ]


async def text_of(client: ClientSession, path: str) -> str:
    async with client.get(path) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.text()


async def test_every_picture_stands_at_its_time_over_attempts(
    stored: StoredRecordings, world: World, client: ClientSession
) -> None:
    two_attempts(stored)
    found = await asyncio.to_thread(pictures, f"{world.url}{HLS}/1.m3u8")
    assert [counter for _, counter in found] == [*range(140), *range(500, 590)]
    first_s = found[0][0]
    for time_s, counter in found:
        assert counter is not None
        due_s = 0.25 + counter / 10 if counter < 500 else GAP_S + 0.5 + (counter - 500) / 10
        assert time_s - first_s == pytest.approx(due_s - 0.25, abs=0.002)


async def test_sound_stands_beside_its_pictures_in_the_master_playlist(
    stored: StoredRecordings, world: World, client: ClientSession
) -> None:
    two_attempts(stored)
    url = f"{world.url}{HLS}/master.m3u8"
    picture_s = (await asyncio.to_thread(pictures, url))[0][0]
    blocks = await asyncio.to_thread(sounds, url)
    assert picture_s - blocks[0][0] == pytest.approx(0.23, abs=0.03), "250 ms and 20 ms after the start"
    assert sum(length for _, length in blocks) == pytest.approx(23, abs=0.1)


async def test_playlists_say_what_they_must(stored: StoredRecordings, client: ClientSession) -> None:
    two_attempts(stored)
    text = await text_of(client, f"{HLS}/1.m3u8")
    assert text.startswith("#EXTM3U\n#EXT-X-VERSION:7\n")
    target = int(re.findall(r"TARGETDURATION:(\d+)", text)[0])
    durations = [float(length) for length in re.findall(r"#EXTINF:([\d.]+)", text)]
    assert max(durations) <= target + 0.5
    assert text.count("#EXT-X-MAP") == 2
    assert text.count("#EXT-X-DISCONTINUITY\n") == 1
    assert "#EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:30.500Z" in text
    assert text.endswith("#EXT-X-ENDLIST\n")
    master = await text_of(client, f"{HLS}/master.m3u8")
    assert 'CODECS="avc1.' in master
    assert ',opus"' in master
    assert "RESOLUTION=320x180" in master


async def test_parts_stay_as_they_are_while_a_recording_grows(
    stored: StoredRecordings, world: World, client: ClientSession
) -> None:
    two_attempts(stored, is_complete=False)
    growing = await text_of(client, f"{HLS}/1.m3u8")
    assert "#EXT-X-PLAYLIST-TYPE:EVENT" in growing
    assert "ENDLIST" not in growing
    two_attempts(stored)
    world.orchestrator.playback.forget(RECORDING)
    whole = re.findall(r".*\.m4s", await text_of(client, f"{HLS}/1.m3u8"))
    listed = re.findall(r".*\.m4s", growing)
    assert listed == whole[: len(listed)]
    assert len(listed) < len(whole), "the part that may still grow is not listed yet"


async def test_each_part_is_served_and_others_are_not(
    stored: StoredRecordings, client: ClientSession
) -> None:
    two_attempts(stored)
    for track in (1, 2):
        for name in re.findall(r"^\d+/.*", await text_of(client, f"{HLS}/{track}.m3u8"), re.MULTILINE):
            async with client.get(f"{HLS}/{name}") as answer:
                assert answer.status == 200
                assert b"moof" in await answer.read()
    for name in ("1/0/0-999.m4s", "1/0/1-1.m4s", "1/9/init.mp4", "9/0/init.mp4", "1/0/x", "1/0/3-1.m4s"):
        async with client.get(f"{HLS}/{name}") as answer:
            assert answer.status == 404, name


async def test_vp8_is_refused_with_the_other_ways(stored: StoredRecordings, client: ClientSession) -> None:
    stored.write([(1, 0, counted_video(2, codec="vp8")), (2, 0, long_sound(2))])
    for path in ("master.m3u8", "1.m3u8", "2.m3u8", "1/0/init.mp4"):
        async with client.get(f"{HLS}/{path}") as answer:
            body: dict[str, Any] = await error_of(answer)
            assert (answer.status, body["error"]) == (409, "NotPlayable")
            assert "vp8" in body["message"]
            assert "/play" in body["message"]


async def test_a_tampered_part_is_refused_and_named(stored: StoredRecordings, client: ClientSession) -> None:
    two_attempts(stored)
    stored.flip("1/chunk-0000000001", 300)
    first = re.findall(r".*\.m4s", await text_of(client, f"{HLS}/1.m3u8"))[0]
    async with client.get(f"{HLS}/{first}") as answer:
        assert answer.status == 502
        assert "1/chunk-0000000001" in (await error_of(answer))["message"]


async def test_a_name_cannot_break_out_of_its_quotes(stored: StoredRecordings, client: ClientSession) -> None:
    stored.write([(1, 0, counted_video(2, identity='x"\n#EXT-X-ENDLIST,URI="http://evil'))])
    master = await text_of(client, f"{HLS}/master.m3u8")
    [line] = [line for line in master.split("\n") if "evil" in line]
    assert line.count('"') == 6
    assert line.startswith("#EXT-X-MEDIA:TYPE=VIDEO")
