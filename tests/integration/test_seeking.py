"""A random seek in a long recording: soon there, over HTTP, and at most two chunks of each track are read."""

from __future__ import annotations

import asyncio
import io
import os
import random
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from aiohttp import ClientSession

from greenroom.synthetic_picture import read_counter
from orchestrator.service.playback import Playback
from tests.fakes.counted_media import KEYFRAME_S, counted_video, long_sound
from tests.fakes.recordings import RECORDING
from tests.fakes.stored_recordings import CountingStore, StoredRecordings
from tests.orchestrator.web.world import World

pytestmark = pytest.mark.media
FULL = bool(os.environ.get("GREENROOM_FULL"))
BASE = f"/api/v1/recordings/{RECORDING}"
LIMIT_S = 0.3
MOST_CHUNKS = 2
SEEKS = 200 if FULL else 40


@dataclass(frozen=True, kw_only=True)
class Length:
    """How long, and how heavy, a recording is."""

    seconds: int
    frames_per_s: int
    size: tuple[int, int]
    noise: int


# 30 minutes with the bit rate of a real camera, and two hours for the number of chunks
LENGTHS = (
    (
        Length(seconds=1_800, frames_per_s=30, size=(640, 360), noise=20),
        Length(seconds=7_200, frames_per_s=10, size=(320, 180), noise=0),
    )
    if FULL
    else (Length(seconds=300, frames_per_s=10, size=(320, 180), noise=20),)
)


@dataclass(kw_only=True)
class Viewer:
    """A client that seeks as the player does, and the store that it reads of in the end."""

    client: ClientSession
    store: CountingStore
    playback: Playback
    url: str
    length: Length
    lists: dict[int, dict[str, Any]] = field(default_factory=dict)

    async def list_segments(self, track: int) -> dict[str, Any]:
        async with self.client.get(f"{BASE}/tracks/{track}/segments") as answer:
            run: dict[str, Any] = (await answer.json())["runs"][0]
        self.lists[track] = run
        return run

    async def fetch(self, track: int, start: int, size: int) -> bytes:
        headers = {"Range": f"bytes={start}-{start + size - 1}"}
        async with self.client.get(f"{BASE}/tracks/{track}/media", headers=headers) as answer:
            assert answer.status == 206, await answer.text()
            return await answer.read()

    async def first_of(self, track: int, time_s: float) -> bytes:
        """Init part, and the last segment up to this time that decoding can begin in."""
        run = self.lists[track]
        segment = next(
            one
            for one in reversed(run["segments"])
            if one["has_keyframe"] and one["start_us"] <= time_s * 1e6
        )
        init = await self.fetch(track, 0, run["init_bytes"])
        return init + await self.fetch(track, segment["start_byte"], segment["size_bytes"])

    async def seek(self, time_s: float) -> int:
        """Give the counter of the first picture; a block of sound is decoded too."""
        picture = first_picture(await self.first_of(1, time_s))
        first_sound(await self.first_of(2, time_s))
        return picture


def first_picture(media: bytes) -> int:
    with av.open(io.BytesIO(media), "r") as container:
        for frame in container.decode(video=0):
            counter = read_counter(np.asarray(frame.to_ndarray(format="gray"), np.uint8))
            if counter is not None:
                return counter
    raise AssertionError("no picture can be decoded")


def first_sound(media: bytes) -> None:
    with av.open(io.BytesIO(media), "r") as container:
        assert next(container.decode(audio=0)).samples > 0


@asynccontextmanager
async def watching(folder: Path, length: Length) -> AsyncIterator[Viewer]:
    stored = StoredRecordings(folder)
    video = counted_video(
        length.seconds, frames_per_s=length.frames_per_s, size=length.size, noise=length.noise
    )
    stored.write([(1, 0, video), (2, 0, long_sound(length.seconds))])
    del video
    world = World(settings=stored.settings)
    store = CountingStore(folder / "recordings")
    world.orchestrator.playback = playback = stored.playback(store)
    async with world.running() as client:
        yield Viewer(client=client, store=store, playback=playback, url=world.url, length=length)


def check_near(shown: int, time_s: float, length: Length) -> None:
    """The first picture is the keyframe before the time, or one that the same segment holds after it."""
    behind_s = time_s - shown / length.frames_per_s
    assert -1.0 <= behind_s <= KEYFRAME_S + 1.0, (shown, time_s)


@pytest.mark.parametrize("length", LENGTHS, ids=lambda length: f"{length.seconds}s")
@pytest.mark.timeout(1800 if FULL else 120)
async def test_the_first_picture_after_a_seek_is_soon_there(tmp_path: Path, length: Length) -> None:
    draw = random.Random(9)
    async with watching(tmp_path, length) as viewer:
        times_s = [draw.uniform(0, length.seconds - 1) for _ in range(SEEKS)]

        cold_s: list[float] = []
        for time_s in times_s[: SEEKS // 10]:  # nothing is open yet: as after a restart
            viewer.playback.forget(RECORDING)
            viewer.store.read_names.clear()
            began = time.perf_counter()
            for track in (1, 2):
                await viewer.list_segments(track)
            check_near(await viewer.seek(time_s), time_s, length)
            cold_s.append(time.perf_counter() - began)
            assert viewer.store.chunks_read <= 2 * MOST_CHUNKS

        seeks_s: list[float] = []
        most = 0
        for time_s in times_s:
            viewer.store.read_names.clear()
            began = time.perf_counter()
            shown = await viewer.seek(time_s)
            seeks_s.append(time.perf_counter() - began)
            check_near(shown, time_s, length)
            most = max(most, viewer.store.chunks_read)
        p95_s = sorted(seeks_s)[int(0.95 * len(seeks_s))]
        chunk_bytes = statistics.median(one["size_bytes"] for one in viewer.lists[1]["segments"])
        print(
            f"\n{length.seconds} s, chunks of {chunk_bytes / 1000:.0f} kB, {SEEKS} seeks: first picture "
            f"median {1000 * statistics.median(seeks_s):.0f} ms, p95 {1000 * p95_s:.0f} ms, at most {most} "
            f"chunks of two tracks; cold {1000 * statistics.median(cold_s):.0f} ms; "
            f"load {os.getloadavg()[0]:.1f}"
        )
        assert most <= 2 * MOST_CHUNKS
        assert p95_s <= LIMIT_S


@pytest.mark.parametrize("length", LENGTHS[:1], ids=lambda length: f"{length.seconds}s")
@pytest.mark.timeout(1800 if FULL else 120)
async def test_a_player_that_knows_no_segments_reads_far_more(tmp_path: Path, length: Length) -> None:
    """The control: the same run as a plain file, sought by FFmpeg."""
    async with watching(tmp_path, length) as viewer:
        time_s = 0.8 * length.seconds
        await viewer.list_segments(1)
        viewer.store.read_names.clear()

        def seek() -> int:
            with av.open(f"{viewer.url}{BASE}/tracks/1/media") as container:
                container.seek(round(time_s * 1e6))
                frame = next(container.decode(video=0))
                counter = read_counter(np.asarray(frame.to_ndarray(format="gray"), np.uint8))
                assert counter is not None
                return counter

        check_near(await asyncio.to_thread(seek), time_s, length)
        assert viewer.store.chunks_read > 10 * MOST_CHUNKS
