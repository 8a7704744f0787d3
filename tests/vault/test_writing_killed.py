"""R1: a recorder killed at any moment loses nothing acknowledged; what it left verifies and plays."""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys
import threading
from pathlib import Path

import av
import pytest

from tests.fakes.media import make_audio, make_video
from tests.fakes.recordings import RECORDING, complete
from vault.adapters.dir_store import DirChunkStore
from vault.adapters.key_files import KeyFiles
from vault.core.checkpoint import TreeHead
from vault.export import export_recording
from vault.recovery import recover_attempt
from vault.verification import verify_recording

ROOT = Path(__file__).parents[2]
TRIALS = 20

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("media") / "tracks"
    path.write_bytes(pickle.dumps([make_video(4), make_audio(4)]))
    return path


def kill_writer(directory: Path, media: Path, mode: str, *, after_s: float) -> TreeHead:
    """Start a writer, kill it some time after its first checkpoint, and give the last one it told of."""
    command = [
        sys.executable,
        str(Path(__file__).with_name("killed_writer.py")),
        str(directory),
        str(media),
        mode,
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as process:
        assert process.stdout is not None
        try:
            lines = [process.stdout.readline()]
            timer = threading.Timer(after_s, process.kill)
            timer.start()
            lines += process.stdout.readlines()
            timer.join()
        finally:
            process.kill()
    assert process.returncode == -9, "the writer ended by itself"
    size, root = [line for line in lines if line.endswith("\n")][-1].split()
    return TreeHead(attempt=1, size=int(size), root=bytes.fromhex(root))


@pytest.mark.parametrize("trial", range(TRIALS))
def test_everything_acknowledged_is_there_verifies_and_plays(tmp_path: Path, media: Path, trial: int) -> None:
    after_s = random.Random(trial).uniform(0, 0.15)
    acknowledged = kill_writer(tmp_path, media, "durable", after_s=after_s)
    key_ring, folder = KeyFiles.open(tmp_path / "keys"), tmp_path / "recordings" / RECORDING

    report = verify_recording(folder, key_ring.public_key, against=[acknowledged])
    assert (report.exit_code, report.problems) == (3, ())
    assert report.attempts[0].size >= acknowledged.size

    killed = export_recording(folder, key_ring, tmp_path / "killed.mp4")
    with av.open(str(tmp_path / "killed.mp4")) as container:
        assert len(list(container.decode(container.streams.video[0]))) == killed.video_frames > 0

    store = DirChunkStore(tmp_path / "recordings")
    close = recover_attempt(store.files(RECORDING), key_ring.public_key, recording_id=RECORDING, attempt=1)
    assert close.size >= acknowledged.size
    complete(store, key_ring, close)
    report = verify_recording(folder, key_ring.public_key, against=[acknowledged])
    assert (report.exit_code, report.problems, report.ignored) == (0, (), ())
    whole = export_recording(folder, key_ring, tmp_path / "complete.mp4")
    assert whole.video_frames == killed.video_frames


def test_the_control_that_acknowledges_too_early_is_caught(tmp_path: Path, media: Path) -> None:
    acknowledged = kill_writer(tmp_path, media, "naive", after_s=0.05)
    key_ring, folder = KeyFiles.open(tmp_path / "keys"), tmp_path / "recordings" / RECORDING
    report = verify_recording(folder, key_ring.public_key, against=[acknowledged])
    assert report.exit_code == 1
    assert "missing" in report.problems[0].reason
