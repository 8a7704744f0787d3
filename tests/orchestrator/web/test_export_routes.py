"""An export is asked for, followed, and fetched by ranges; why it failed is said with its status."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import av
import pytest
from aiohttp import ClientSession

from orchestrator.core.catalog import CatalogRecord
from orchestrator.core.ids import RecordingId, SessionId
from orchestrator.core.recording import RecordingStatus
from tests.fakes.counted_media import counted_video, long_sound
from tests.fakes.recordings import OTHER_RECORDING, RECORDING
from tests.fakes.stored_recordings import StoredRecordings
from tests.orchestrator.web.world import World, error_of

EXPORT = f"/api/v1/recordings/{RECORDING}/export"


@pytest.fixture
def stored(tmp_path: Path) -> StoredRecordings:
    stored = StoredRecordings(tmp_path)
    stored.write([(1, 0, counted_video(3)), (2, 0, long_sound(3))])
    return stored


@pytest.fixture
async def client(stored: StoredRecordings) -> AsyncIterator[ClientSession]:
    async with World(settings=stored.settings).running() as client:
        yield client


async def made(client: ClientSession, path: str = EXPORT) -> dict[str, Any]:
    """Ask for it and wait until it is there, or failed."""
    async with client.post(path) as answer:
        assert answer.status in (200, 202), await answer.text()
        told: dict[str, Any] = await answer.json()
    async with asyncio.timeout(20):
        while True:
            async with client.head(told["url"]) as answer:
                if answer.status != 202:
                    return told
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(("query", "codec"), [("", "opus"), ("?audio=aac", "aac")])
async def test_it_is_made_followed_and_fetched(client: ClientSession, query: str, codec: str) -> None:
    told = await made(client, EXPORT + query)
    assert told["state"] in ("waiting", "running")
    assert told["url"] == EXPORT + query
    async with client.get(told["url"]) as answer:
        body = await answer.read()
        assert (answer.status, answer.content_type) == (200, "video/mp4")
        assert answer.headers["Content-Disposition"] == f'attachment; filename="recording-{RECORDING}.mp4"'
    with av.open(io.BytesIO(body), "r") as container:
        assert (
            container.streams.audio[0].codec_context.name == codec.replace("opus", "libopus")
            or codec == "opus"
        )
        assert len(list(container.decode(video=0))) == 30
    async with client.get(told["url"], headers={"Range": "bytes=10-19"}) as answer:
        assert (answer.status, await answer.read()) == (206, body[10:20])
        assert answer.headers["Content-Range"] == f"bytes 10-19/{len(body)}"
    async with client.post(EXPORT + query) as answer:
        assert answer.status == 200
        assert (await answer.json())["state"] == "ready"


@pytest.mark.parametrize(
    ("asked", "content_type"), [("mkv", "video/x-matroska"), ("webm", "video/mp4"), ("", "video/mp4")]
)
async def test_it_has_the_format_that_the_recording_was_started_with_if_that_takes_its_codecs(
    stored: StoredRecordings, asked: str, content_type: str
) -> None:
    world = World(settings=stored.settings)
    await world.store.catalog.save(
        CatalogRecord(
            recording_id=RecordingId(RECORDING),
            session_id=SessionId("s"),
            status=RecordingStatus.COMPLETED,
            format=asked,
        )
    )
    async with world.running() as client:
        await made(client)
        async with client.get(EXPORT) as answer:
            size = len(await answer.read())
            assert (answer.status, answer.content_type) == (200, content_type)
        async with client.post(EXPORT) as answer:
            told = await answer.json()
        assert (told["state"], told["bytes_done"], told["bytes_total"]) == ("ready", size, size)


async def test_what_nobody_asked_for_is_404_and_says_how(client: ClientSession) -> None:
    async with client.get(EXPORT) as answer:
        assert answer.status == 404
        assert "POST" in (await error_of(answer))["message"]
    async with client.post(EXPORT.replace(RECORDING, OTHER_RECORDING)) as answer:
        assert answer.status == 404


async def test_another_form_of_sound_is_422(client: ClientSession) -> None:
    async with client.post(f"{EXPORT}?audio=mp3") as answer:
        assert answer.status == 422
        assert "'mp3'" in (await error_of(answer))["message"]


async def test_damage_is_502_with_the_file(stored: StoredRecordings, client: ClientSession) -> None:
    stored.flip("1/chunk-0000000002", 300)
    await made(client)
    async with client.get(EXPORT) as answer:
        assert answer.status == 502
        assert "1/chunk-0000000002" in (await error_of(answer))["message"]


async def test_a_foreign_page_cannot_ask_for_one(client: ClientSession) -> None:
    async with client.post(EXPORT, headers={"Origin": "https://evil.example"}) as answer:
        assert answer.status == 403
