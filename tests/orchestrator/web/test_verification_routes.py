"""A verification tells how far it is, where a stream is asked for; otherwise it is the report alone."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp import ClientResponse, ClientSession

from orchestrator.web.verification_routes import PROGRESS_S
from tests.fakes.media import make_video
from tests.fakes.recordings import OTHER_RECORDING, RECORDING
from tests.fakes.stored_recordings import CountingStore, StoredRecordings
from tests.orchestrator.web.world import World, error_of

STREAM = {"Accept": "text/event-stream"}
PATH = f"/api/v1/recordings/{RECORDING}/verify"


@dataclass
class Stage:
    """An orchestrator whose chunk store waits before each file while the gate is shut."""

    folder: Path
    client: ClientSession = field(init=False)
    gate: threading.Event = field(default_factory=threading.Event)
    reads: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.stored = StoredRecordings(self.folder)
        self.stored.write([(1, 0, make_video(3))])
        self.world = World(settings=self.stored.settings)
        store = CountingStore(Path(self.stored.settings.recording.chunk_store), before_read=self._wait)
        self.world.orchestrator.playback = self.stored.playback(store)
        self.gate.set()

    def _wait(self, name: str) -> None:
        self.reads[name] += 1
        assert self.gate.wait(20)

    async def frames(self, answer: ClientResponse) -> list[tuple[str, dict[str, Any]]]:
        """Read the stream to its end."""
        text = (await asyncio.wait_for(answer.read(), 20)).decode()
        found = []
        for frame in text.strip().split("\n\n"):
            name, data = frame.split("\n")
            found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
        return found


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    stage = Stage(tmp_path)
    async with stage.world.running() as stage.client:
        yield stage
        stage.gate.set()


async def test_without_being_asked_for_a_stream_it_is_the_report_alone(stage: Stage) -> None:
    async with stage.client.get(PATH) as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        assert (await answer.json())["exit_code"] == 0


async def test_a_stream_tells_progress_and_ends_with_the_same_report(stage: Stage) -> None:
    async with stage.client.get(PATH) as answer:
        report = await answer.json()
    stage.gate.clear()
    async with stage.client.get(PATH, headers=STREAM) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        stage.gate.set()
        frames = await stage.frames(answer)
    assert frames[0] == ("progress", {"bytes_done": 0, "bytes_total": 0})  # it had read nothing yet
    assert frames[-1] == ("report", report)
    assert {name for name, _ in frames[:-1]} == {"progress"}


async def test_progress_grows_to_the_whole(stage: Stage) -> None:
    reached: list[tuple[int, int]] = []
    await stage.world.orchestrator.playback.verify(
        RECORDING, on_progress=lambda done, total: reached.append((done, total))
    )
    assert len(reached) > 3
    assert reached == sorted(reached)
    assert reached[-1][0] == reached[-1][1] > 0


async def test_what_is_refused_at_once_has_its_status(stage: Stage) -> None:
    missing = f"/api/v1/recordings/{OTHER_RECORDING}/verify"
    async with stage.client.get(missing, headers=STREAM) as answer:
        assert answer.status == 404
        assert (await error_of(answer))["error"] == "RecordingNotFound"


async def test_what_goes_wrong_on_the_way_is_the_last_frame(stage: Stage) -> None:
    stage.gate.clear()
    async with stage.client.get(PATH, headers=STREAM) as answer:
        stage.world.orchestrator.playback.close()
        stage.gate.set()
        frames = await stage.frames(answer)
    name, told = frames[-1]
    assert (name, told["code"], told["error"]) == ("error", 503, "Unavailable")
    assert told["request_id"] == answer.headers["X-Request-ID"]


async def test_whoever_goes_away_ends_the_verification(stage: Stage) -> None:
    stage.gate.clear()
    with structlog.testing.capture_logs() as logged:
        answer = await stage.client.get(PATH, headers=STREAM)
        answer.close()
        await asyncio.sleep(2.5 * PROGRESS_S)  # two frames that nobody takes
        stage.gate.set()
        async with stage.client.get(PATH) as second:  # the thread is free again
            assert (await second.json())["exit_code"] == 0
    assert stage.reads["manifest"] == 2
    assert stage.reads["1/chunk-0000000003"] == 1  # the first verification never came so far
    assert logged == []


async def test_a_stop_ends_the_stream_with_a_word(stage: Stage) -> None:
    stage.gate.clear()
    async with stage.client.get(PATH, headers=STREAM) as answer:
        stage.world.feed.end_readers()
        frames = await stage.frames(answer)
    assert frames[-1][0] == "error"
    assert frames[-1][1]["message"] == "this instance is stopping; ask another, or again"
