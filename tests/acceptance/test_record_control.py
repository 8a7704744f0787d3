"""A recording started, paused and stopped by HTTP in the real system, its recorder killed meanwhile."""

from __future__ import annotations

import asyncio
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from greenroom.synthetic_participant import SyntheticParticipant
from greenroom.synthetic_picture import FRAMES_PER_S
from greenroom.synthetic_reading import read_media
from sdk.client import Client
from tests.acceptance.system import System, joined, system
from tests.acceptance.takeovers import start_recorder
from tests.fakes.key_traces import find_traces, keys_of
from tests.integration.servers import LiveKitFactory
from vault.adapters.dir_store import DirChunkStore
from vault.adapters.key_files import KeyFiles
from vault.core.ids import RecordingId
from vault.export import export_recording
from vault.rotation import rewrap_recording
from vault.shredding import shred_recording
from vault.verification import verify_recording

pytestmark = [pytest.mark.acceptance, pytest.mark.media, pytest.mark.timeout(180)]

ON_THE_WAY_S = 0.5  # from a picture to the recorder that has it, and from its word to the caller


class Drawing:
    """A participant that draws numbers, and how far it is."""

    def __init__(self) -> None:
        self.second = 0
        self._changed = asyncio.Event()

    def on_second(self, second: int) -> None:
        self.second = second
        self._changed.set()

    async def for_s(self, seconds: int) -> int:
        """Let it draw on; gives the second it is at."""
        until = self.second + seconds
        while self.second < until:
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), 15)
        return self.second


async def until(client: Client, running: System, session_id: str, *wanted: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def is_there() -> bool:
        found.update(await client.record_status(session_id))
        return found["recording_status"] in wanted and found["pending"] is None

    await running.until(is_there, within_s=30, what=f"the recording to be {wanted}", seen=found)
    return found


async def until_attempt(running: System, session_id: str, attempt: int) -> None:
    """Wait until this attempt of the recorder is in the room; its recording may be paused again by then."""

    async def is_there() -> bool:
        jobs = (await running.session(session_id))["jobs"]
        return any(
            (job["service_id"], job["attempt"], job["state"]) == ("recorder", attempt, "joined")
            for job in jobs
        )

    await running.until(is_there, within_s=30, what=f"attempt {attempt} of the recorder")


def seconds_of(folder: Path, keys: KeyFiles, out: Path) -> list[float]:
    """Verify and play a recording; gives the seconds of drawing that are in it."""
    report = verify_recording(folder, keys.public_key)
    assert report.exit_code == 0, report.sentences()
    export_recording(folder, keys, out)
    media = read_media(out)
    assert media.is_monotonic
    return [counter / FRAMES_PER_S for counter in media.counters if counter is not None]


def shred_and_look(data: Path, recording_id: RecordingId) -> None:
    """Rotate, rewrap and shred beside the running system; no key of the recording is left on the disk."""
    store, ring = DirChunkStore(data / "recordings"), KeyFiles.open(data / "keys")
    keys = keys_of(store, ring, recording_id)
    ring.rotate(int(time.time()))
    rewrap_recording(store, ring, recording_id=recording_id)
    keys += keys_of(store, ring, recording_id)
    assert find_traces(data, keys), "the search finds what is there"
    shred_recording(
        store, ring, recording_id=recording_id, by="ann", reason="asked", at_us=time.time_ns() // 1000
    )
    assert any(path.suffix == ".db" for path in data.iterdir()), "the database is looked at too"
    assert find_traces(data, keys) == []
    assert verify_recording(data / "recordings" / recording_id, ring.public_key).status == "shredded"


async def test_a_session_is_recorded_paused_taken_over_and_recorded_again(
    tmp_path: Path, fresh_livekit_server: LiveKitFactory
) -> None:
    async with system(tmp_path, fresh_livekit_server) as running, Client(running.url) as client:
        recorders: list[subprocess.Popen[bytes]] = [start_recorder(running)]
        try:
            created = await running.create()
            session_id = created["session_id"]
            drawing = Drawing()
            async with joined(created) as room:
                publishing = asyncio.create_task(
                    SyntheticParticipant(room).publish(90, on_second=drawing.on_second)
                )
                await drawing.for_s(1)
                first = await client.record_start(session_id)
                await until(client, running, session_id, "recording")
                await drawing.for_s(3)
                await client.record_pause(session_id)
                await until(client, running, session_id, "paused")
                paused_s = drawing.second + 1
                recorders[0].kill()
                recorders[0].wait(timeout=5)
                recorders.append(start_recorder(running))
                await until_attempt(running, session_id, 2)
                await until(client, running, session_id, "paused")
                resumed_s = await drawing.for_s(2)
                await client.record_resume(session_id)
                await until(client, running, session_id, "recording")
                await drawing.for_s(3)
                await client.record_stop(session_id)
                done = await until(client, running, session_id, "completed", "failed")
                assert done["recording_status"] == "completed", done
                assert done["statistics"]["paused_s"] > 0
                second = await client.record_start(session_id, mode="tracks")
                await until(client, running, session_id, "recording")
                again_s = await drawing.for_s(3)
                await client.record_stop(session_id)
                await until(client, running, session_id, "completed")
                publishing.cancel()
                await asyncio.wait({publishing})
            assert (await running.session(session_id))["room_status"] in ("Ready", "Active")
            keys = KeyFiles.open(running.folder / "keys")
            folder = running.folder / "recordings"
            seen = await asyncio.to_thread(
                seconds_of, folder / first["recording_id"], keys, tmp_path / "1.mp4"
            )
            assert not [at_s for at_s in seen if paused_s < at_s < resumed_s - ON_THE_WAY_S]
            assert min(seen) < paused_s < resumed_s < max(seen)
            later = await asyncio.to_thread(
                seconds_of, folder / second["recording_id"], keys, tmp_path / "2.mp4"
            )
            assert max(seen) < min(later) < again_s
            await asyncio.to_thread(shred_and_look, running.folder, RecordingId(first["recording_id"]))
        finally:
            for process in recorders:
                if process.poll() is None:
                    process.terminate()
                    process.wait(timeout=15)
