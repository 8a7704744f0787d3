"""Kill -9 of the recorder in a live session: what it had stored verifies and plays, and another goes on."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from greenroom.synthetic_participant import SyntheticParticipant
from greenroom.synthetic_picture import FRAMES_PER_S
from greenroom.synthetic_reading import read_media
from tests.acceptance.system import System, joined, system
from tests.integration.servers import LiveKitFactory
from vault.adapters.key_files import KeyFiles
from vault.export import export_recording
from vault.verification import verify_recording

pytestmark = [pytest.mark.acceptance, pytest.mark.media, pytest.mark.timeout(180)]

PUBLISHED_S = 16
KILLED_AFTER_S = 6
MAX_LOSS_S = 2.0
SUBSCRIBING_S = 0.7  # of the first frames the recorder cannot know


def start_recorder(running: System) -> subprocess.Popen[bytes]:
    log = (running.folder / "recorder.log").open("ab")
    environment = {**running.environment, "GREENROOM_URL": running.url}
    return subprocess.Popen([sys.executable, "-m", "recorder"], env=environment, stdout=log, stderr=log)


async def until_recording(
    running: System, session_id: str, *wanted: str, attempt: int = 1
) -> dict[str, object]:
    found: dict[str, object] = {}

    async def is_there() -> bool:
        session = await running.session(session_id)
        found.update(session["recording"])
        job = next(job for job in session["jobs"] if job["service_id"] == "recorder")
        return found["status"] in wanted and job["attempt"] >= attempt

    await running.until(is_there, within_s=30, what=f"the recording to be {wanted}", seen=found)
    return found


async def test_a_killed_recorder_loses_two_seconds_at_most_and_another_goes_on(
    tmp_path: Path, fresh_livekit_server: LiveKitFactory
) -> None:
    async with system(tmp_path, fresh_livekit_server) as running:
        recorder = start_recorder(running)
        second: subprocess.Popen[bytes] | None = None
        try:
            created = await running.create(record=True)
            session_id = created["session_id"]
            async with joined(created) as room:
                await until_recording(running, session_id, "recording")
                published: asyncio.Queue[int] = asyncio.Queue()
                publishing = asyncio.create_task(
                    SyntheticParticipant(room).publish(PUBLISHED_S, on_second=published.put_nowait)
                )
                while await asyncio.wait_for(published.get(), 15) < KILLED_AFTER_S:
                    pass
                recorder.kill()
                recorder.wait(timeout=5)
                folder = next((running.folder / "recordings").iterdir())
                kept = await asyncio.to_thread(what_is_kept, folder, running.folder)
                assert kept >= (KILLED_AFTER_S - MAX_LOSS_S - SUBSCRIBING_S) * FRAMES_PER_S
                second = start_recorder(running)
                await until_recording(running, session_id, "recording", attempt=2)
                await publishing
            await running.post(f"/api/v1/sessions/{session_id}/terminate", {})
            recording = await until_recording(running, session_id, "completed", "failed")
            assert recording["status"] == "completed", recording
            keys = KeyFiles.open(running.folder / "keys")
            report = await asyncio.to_thread(verify_recording, folder, keys.public_key)
            assert report.exit_code == 0, report.sentences()
            whole = tmp_path / "whole.mp4"
            await asyncio.to_thread(export_recording, folder, keys, whole)
            media = await asyncio.to_thread(read_media, whole)
            assert media.is_monotonic
            assert media.video_frames > kept
        finally:
            for process in (recorder, second):
                if process is not None and process.poll() is None:
                    process.terminate()
                    process.wait(timeout=15)


def what_is_kept(folder: Path, root: Path) -> int:
    """Verify and play what a killed recorder left; gives its video frames."""
    keys = KeyFiles.open(root / "keys")
    report = verify_recording(folder, keys.public_key)
    assert report.exit_code == 3, report.sentences()
    out = root / "killed.mp4"
    export_recording(folder, keys, out)
    media = read_media(out)
    assert media.is_monotonic
    assert media.unread_frames == 0
    return media.video_frames
