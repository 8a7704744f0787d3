"""kill -9 of a recorder at random moments: what was captured 2 s before is stored, verifies and plays."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import time
import uuid
from pathlib import Path

import pytest

from greenroom.synthetic_picture import FRAMES_PER_S
from greenroom.synthetic_reading import read_media
from recorder.adapters.pyav_muxer import PyavEncoders
from recorder.adapters.system_clock import SystemClock
from recorder.core.states import RecordingState
from recorder.service.archive import Archive
from recorder.service.recording import Recording
from recorder.service.recording_plan import RecordingPlan
from tests.fakes.reporter import FakeReporter
from vault.adapters.dir_store import DirChunkStore
from vault.adapters.key_files import KeyFiles
from vault.export import export_recording
from vault.verification import verify_recording

TRIALS = 12
AT_ONCE = 2  # two cores
MAX_LOSS_S = 2.0


@pytest.mark.media
@pytest.mark.timeout(240)
async def test_what_was_captured_two_seconds_before_a_kill_is_stored_verifies_and_plays(
    tmp_path: Path,
) -> None:
    moments = random.Random(7)
    for first in range(0, TRIALS, AT_ONCE):
        folders = [tmp_path / str(trial) for trial in range(first, first + AT_ONCE)]
        times = [moments.uniform(2.3, 5.3) for _ in folders]
        await asyncio.gather(
            *(_kill_and_look(folder, after_s) for folder, after_s in zip(folders, times, strict=True))
        )


async def _kill_and_look(folder: Path, after_s: float) -> None:
    recording_id = str(uuid.uuid4())
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.recorder.recording_process",
        str(folder),
        recording_id,
        "1",
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            began = float(await process.stdout.readline())
        await asyncio.sleep(began + after_s - time.monotonic())
        lived_s = time.monotonic() - began
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    await asyncio.to_thread(_look, folder, recording_id, lived_s)
    await _complete(folder, recording_id)


def _look(folder: Path, recording_id: str, lived_s: float) -> None:
    keys = KeyFiles.open(folder / "keys")
    path = folder / "recordings" / recording_id
    report = verify_recording(path, keys.public_key)
    assert report.exit_code == 3, report.sentences()
    out = folder / "killed.mp4"
    export_recording(path, keys, out)
    media = read_media(out)
    kept_s = lived_s - MAX_LOSS_S
    expected = int(kept_s * FRAMES_PER_S)
    assert list(media.counters[:expected]) == list(range(expected)), f"lived {lived_s:.2f} s"
    assert media.is_monotonic
    assert media.audio_s >= kept_s, f"lived {lived_s:.2f} s"


async def _complete(folder: Path, recording_id: str) -> None:
    """The completer's job: no room, only what the killed attempt left."""
    keys = KeyFiles.open(folder / "keys")
    recording = Recording(
        RecordingPlan(recording_id=recording_id, session_id="killed", attempt=2),
        archive=Archive(DirChunkStore(folder / "recordings"), keys, str(folder)),
        encoders=PyavEncoders(),
        clock=SystemClock(),
        reporter=FakeReporter(),
    )
    await recording.complete()
    assert recording.state is RecordingState.COMPLETED, recording.detail
    report = await asyncio.to_thread(verify_recording, folder / "recordings" / recording_id, keys.public_key)
    assert report.exit_code == 0
