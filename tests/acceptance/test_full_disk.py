"""The disk of store and log is full: the orchestrator refuses, goes on, and takes everything again later."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from greenroom.media_server import MediaServer
from tests.acceptance.system import system
from tests.integration.small_disk import mounted_disk

pytestmark = pytest.mark.acceptance


@pytest.fixture
async def small_disk(tmp_path: Path) -> AsyncIterator[Path]:
    """A file system of 4 MiB; needs the right to mount."""
    async with mounted_disk(tmp_path / "disk", 4) as folder:
        yield folder


async def test_a_full_disk_is_503_until_there_is_space_and_no_process_ends(
    small_disk: Path, fresh_livekit_server: Callable[..., MediaServer]
) -> None:
    async with system(small_disk, fresh_livekit_server) as running:
        before = await running.create()
        await running.until_status(before["session_id"], "Ready")  # committed, before the disk is full
        filler = small_disk / "other"
        with filler.open("wb", buffering=0) as other, pytest.raises(OSError, match="No space"):
            other.writelines(itertools.repeat(bytes(4096), 10_000))
        refused = 0
        async with asyncio.timeout(30):
            while refused < 20:  # the log may have room for a few
                body = {"user_identity": "anna", "required_services": []}
                async with running.http.post(f"{running.url}/api/v1/create-session", json=body) as answer:
                    assert answer.status in (200, 503)
                    refused += answer.status == 503
                    if answer.status == 503:
                        assert answer.headers["Retry-After"]
        assert (await running.session(before["session_id"]))["room_status"] == "Ready", "reading goes on"
        filler.unlink()
        after = await running.create()
        await running.post(f"/api/v1/sessions/{before['session_id']}/terminate", {})
        await running.until_status(before["session_id"], "Terminated")
        running.kill()
        await running.start()
        assert (await running.session(after["session_id"]))["room_status"] == "Ready"
        assert running.stop() == 0
