"""The file of a run over HTTP: whole and in parts, and of a chunk that was tampered with not one byte."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import av
import pytest
import structlog
from aiohttp import ClientSession

from tests.fakes.media import Track, make_audio, make_video
from tests.fakes.recordings import RECORDING
from tests.fakes.stored_recordings import CountingStore, StoredRecordings
from tests.orchestrator.web.world import World, error_of, until

BASE = f"/api/v1/recordings/{RECORDING}/tracks"
VIDEO = make_video(5)


@pytest.fixture
def stored(tmp_path: Path) -> StoredRecordings:
    stored = StoredRecordings(tmp_path)
    stored.write([(1, 0, VIDEO), (2, 0, make_audio(5))])
    return stored


@pytest.fixture
async def client(stored: StoredRecordings) -> AsyncIterator[ClientSession]:
    async with World(settings=stored.settings).running() as client:
        yield client


def file_of(track: Track) -> bytes:
    return track.init_part + b"".join(fragment.data for fragment in track.fragments)


async def test_the_whole_file_plays(client: ClientSession) -> None:
    async with client.get(f"{BASE}/1/media") as answer:
        body = await answer.read()
        assert (answer.status, body) == (200, file_of(VIDEO))
        assert answer.headers["Content-Type"] == VIDEO.prologue.mime
        assert answer.headers["Content-Length"] == str(len(body))
        assert answer.headers["Cache-Control"] == "no-store", "plaintext stays out of caches"
    with av.open(io.BytesIO(body), "r") as container:
        assert len(list(container.decode(video=0))) == 150


async def test_any_part_is_that_part(client: ClientSession) -> None:
    whole = file_of(VIDEO)
    head, size = len(VIDEO.init_part), len(whole)
    second = head + len(VIDEO.fragments[0].data)
    for start, end in ((0, 1), (0, head), (head - 1, head + 1), (second - 3, second + 3), (size - 5, size)):
        async with client.get(f"{BASE}/1/media", headers={"Range": f"bytes={start}-{end - 1}"}) as answer:
            assert (answer.status, await answer.read()) == (206, whole[start:end])
            assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{size}"


async def test_behind_the_end_is_416_with_the_size(client: ClientSession) -> None:
    size = len(file_of(VIDEO))
    async with client.get(f"{BASE}/1/media", headers={"Range": f"bytes={size}-"}) as answer:
        assert answer.status == 416
        assert answer.headers["Content-Range"] == f"bytes */{size}"
        assert (await error_of(answer))["details"] == {"size": size}


async def test_head_says_size_and_version_without_reading(
    stored: StoredRecordings, client: ClientSession
) -> None:
    stored.flip("1/chunk-0000000002", 300)
    async with client.head(f"{BASE}/1/media") as answer:
        assert (answer.status, await answer.read()) == (200, b"")
        assert answer.headers["Content-Length"] == str(len(file_of(VIDEO)))
        assert answer.headers["Accept-Ranges"] == "bytes"
        etag = answer.headers["ETag"]
    async with client.get(f"{BASE}/1/media", headers={"If-None-Match": etag}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")


async def test_the_version_changes_when_an_unfinished_run_grows(tmp_path: Path) -> None:
    stored = StoredRecordings(tmp_path / "growing")
    stored.write([(1, 0, make_video(2))], is_complete=False)
    world = World(settings=stored.settings)
    now_s = [1.0]
    world.orchestrator.playback._monotonic = lambda: now_s[0]
    async with world.running() as client:
        before = await client.head(f"{BASE}/1/media")
        stored.write([(1, 0, make_video(4))], is_complete=False)  # as if the recorder had gone on
        now_s[0] += 2
        after = await client.head(f"{BASE}/1/media")
    assert before.headers["ETag"] != after.headers["ETag"]
    assert int(before.headers["Content-Length"]) < int(after.headers["Content-Length"])


async def test_of_a_tampered_chunk_no_byte_leaves_and_the_chunk_is_named(
    stored: StoredRecordings, client: ClientSession
) -> None:
    bad = 3  # the second segment: init chunks are leaves 0 and, of the audio, further on
    name = f"1/chunk-{bad:010}"
    stored.flip(name, 300)
    segment = VIDEO.fragments[bad - 1]
    start = len(VIDEO.init_part) + sum(len(one.data) for one in VIDEO.fragments[: bad - 1])
    async with client.get(f"{BASE}/1/media", headers={"Range": f"bytes={start}-"}) as answer:
        body = await answer.read()
        assert answer.status == 502
        assert name in (await error_of(answer))["message"]
        assert segment.data[100:140] not in body
    # the segment before it is still given
    before = f"bytes={len(VIDEO.init_part)}-{start - 1}"
    async with client.get(f"{BASE}/1/media", headers={"Range": before}) as answer:
        assert answer.status == 206


async def test_an_answer_that_has_begun_is_cut_before_the_tampered_chunk(
    stored: StoredRecordings, client: ClientSession
) -> None:
    name = "1/chunk-0000000003"
    stored.flip(name, 300)
    received = bytearray()

    async def receive() -> None:
        async with client.get(f"{BASE}/1/media") as answer:
            assert answer.status == 200
            async for part in answer.content.iter_any():
                received.extend(part)

    with pytest.raises(aiohttp.ClientPayloadError):
        await receive()
    good = VIDEO.init_part + VIDEO.fragments[0].data + VIDEO.fragments[1].data
    assert good.startswith(received), "not one byte of the bad chunk"


async def test_a_client_that_leaves_is_no_failure(tmp_path: Path) -> None:
    stored = StoredRecordings(tmp_path / "long")
    stored.write([(1, 0, make_video(5, size=(640, 360)))])
    gone = asyncio.Event()
    store = CountingStore(Path(stored.settings.recording.chunk_store))
    world = World(settings=stored.settings)
    loop = asyncio.get_running_loop()

    def wait_until_gone(name: str) -> None:
        if name == "1/chunk-0000000001":
            asyncio.run_coroutine_threadsafe(asyncio.wait_for(gone.wait(), 5), loop).result(6)

    store.before_read = wait_until_gone
    world.orchestrator.playback = stored.playback(store)
    with structlog.testing.capture_logs() as logged:
        async with world.running() as client:
            async with client.get(f"{BASE}/1/media") as answer:
                await answer.content.readany()
                answer.close()
            await asyncio.sleep(0.05)
            gone.set()
            await until(lambda: store.read_names["1/chunk-0000000001"] == 1)
            await asyncio.sleep(0.05)
    assert logged == []


@pytest.mark.parametrize("run", ["1", "-1", "x", "00", ""])
async def test_an_unknown_run_is_404(client: ClientSession, run: str) -> None:
    async with client.get(f"{BASE}/1/media", params={"run": run}) as answer:
        assert answer.status == 404
        assert "it has 1" in (await error_of(answer))["message"]
