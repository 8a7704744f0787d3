"""A recording whose disk becomes full: sealed up to the last durable chunk, closed, and it verifies."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from recorder.adapters.pyav_muxer import PyavEncoders
from recorder.adapters.system_clock import SystemClock
from recorder.core.states import RecordingState
from recorder.service import reserve
from recorder.service.archive import Archive
from recorder.service.recording import Recording
from recorder.service.recording_plan import RecordingPlan
from tests.fakes.recordings import RECORDING
from tests.fakes.reporter import FakeReporter
from tests.fakes.tracks import FakeTracks
from tests.integration.small_disk import mounted_disk
from vault.adapters.dir_store import DirChunkStore
from vault.adapters.key_files import KeyFiles
from vault.export import export_recording
from vault.verification import verify_recording
from vault.verification_report import VerificationReport

pytestmark = pytest.mark.acceptance


@pytest.fixture
async def small_disk(tmp_path: Path) -> AsyncIterator[Path]:
    """A file system of 8 MiB; needs the right to mount."""
    async with mounted_disk(tmp_path / "disk", 8) as folder:
        yield folder


def fill(disk: Path) -> None:
    """Take all that is left, to the last block."""
    with (disk / "other").open("ab", buffering=0) as other, pytest.raises(OSError, match="No space"):
        other.writelines(itertools.repeat(bytes(4096), 10_000))


async def record_on(disk: Path, folder: Path) -> tuple[Recording, VerificationReport]:
    """Record until the disk, which somebody else fills after two seconds, is full."""
    keys = KeyFiles.create_or_open(folder / "keys")
    recording = Recording(
        RecordingPlan(recording_id=RECORDING, session_id="full", attempt=1),
        archive=Archive(DirChunkStore(disk / "recordings"), keys, str(disk)),
        encoders=PyavEncoders(named="low"),
        clock=SystemClock(),
        reporter=FakeReporter(),
    )
    async with asyncio.timeout(60):
        capturing = asyncio.create_task(recording.capture(FakeTracks(60)))
        while len(list((disk / "recordings").rglob("chunk-*"))) < 6:
            await asyncio.sleep(0.05)
        await asyncio.to_thread(fill, disk)
        await capturing  # ends by itself
        await recording.complete()
    return recording, await asyncio.to_thread(
        verify_recording, disk / "recordings" / RECORDING, keys.public_key
    )


async def test_a_full_disk_ends_with_a_recording_that_is_complete_and_plays(
    small_disk: Path, tmp_path: Path
) -> None:
    recording, report = await record_on(small_disk, tmp_path)
    assert recording.state is RecordingState.FAILED
    assert "recording stopped, because no space left for" in recording.detail
    assert (report.exit_code, report.problems) == (0, ())
    assert os.statvfs(small_disk).f_bavail > 0, "what the reserve did not need is free again"
    out = tmp_path / "full.mp4"
    exported = await asyncio.to_thread(
        export_recording, small_disk / "recordings" / RECORDING, KeyFiles.open(tmp_path / "keys"), out
    )
    assert exported.duration_s > 1.5


async def test_the_control_without_a_reserve_is_left_without_a_manifest(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reserve, "CHUNKS_BYTES", 1)  # a block of the disk each, taken when it is full
    monkeypatch.setattr(reserve, "CLOSING_BYTES", 1)
    recording, report = await record_on(small_disk, tmp_path)
    assert recording.state is RecordingState.FAILED
    assert (report.exit_code, report.problems) == (3, ())
