"""R1: recorders are killed and frozen in a live session; another goes on, and every gap is in the manifest.

GREENROOM_FULL=1 takes 20 kills and 6 freezes (about four minutes), else 3 and 1.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from greenroom.synthetic_participant import SyntheticParticipant
from greenroom.synthetic_picture import FRAMES_PER_S
from greenroom.synthetic_reading import read_media
from tests.acceptance.system import joined, system
from tests.acceptance.takeovers import (
    Fault,
    Hole,
    Recorders,
    Trial,
    first_media_s,
    holes_in,
)
from tests.integration.servers import LiveKitFactory
from vault.adapters.key_files import KeyFiles
from vault.core.ids import RecordingId
from vault.core.manifest import Gap, Manifest, decode_manifest
from vault.export import export_recording
from vault.verification import verify_recording

IS_FULL = os.environ.get("GREENROOM_FULL") == "1"
# After a frozen one its successor is killed too: what it wrote since it woke stays out all the same.
_ROUND: list[Fault] = ["kill", "freeze", "kill", "kill"]
FAULTS = _ROUND * 6 + _ROUND[2:] if IS_FULL else _ROUND
LIMIT_S = {"kill": 5.0, "freeze": 9.0}
RECORDED_S = 3.0  # by each attempt
AWAKE_S = 2.0  # of a frozen one before the next fault
LEAST_GAP_US = 200_000
TOLERANCE_US = 50_000
MAX_LOSS_S = 2.0
FIRST_RECORDED_S = 5.0
SUBSCRIBING_S = 1.0  # until the first keyframe is there

pytestmark = [pytest.mark.acceptance, pytest.mark.media, pytest.mark.timeout(900 if IS_FULL else 200)]


async def test_another_recorder_goes_on_and_every_gap_is_declared(
    tmp_path: Path, fresh_livekit_server: LiveKitFactory
) -> None:
    async with system(tmp_path, fresh_livekit_server) as running:
        recorders = Recorders(running)
        trials: list[Trial] = []
        lags = [0.0]
        try:
            recorders.start()
            recorders.start()
            created = await running.create(record=True)
            session_id = created["session_id"]
            async with joined(created) as room:
                publishing = asyncio.create_task(SyntheticParticipant(room).publish(600))
                watching = asyncio.create_task(watch_lag(lags))
                holder, attempt = await recorders.until_recording(session_id, 1, within_s=60), 1
                folder = next((running.folder / "recordings").iterdir())
                for fault in FAULTS:
                    await asyncio.sleep(RECORDED_S if attempt > 1 else FIRST_RECORDED_S)
                    assert not publishing.done()
                    trials.append(await recorders.strike(holder, fault, attempt))
                    if attempt == 1:
                        keys = KeyFiles.open(running.folder / "keys")
                        kept_s = await asyncio.to_thread(
                            play_unfinished, folder, keys, tmp_path / "killed.mp4"
                        )
                        assert kept_s >= FIRST_RECORDED_S - MAX_LOSS_S - SUBSCRIBING_S
                    struck, attempt = holder, attempt + 1
                    holder = await recorders.until_recording(session_id, attempt)
                    if fault == "freeze":
                        recorders.wake(struck)
                        await asyncio.sleep(AWAKE_S)
                await asyncio.sleep(RECORDED_S)
                for task in (publishing, watching):
                    task.cancel()
                await asyncio.wait({publishing, watching})
            await running.post(f"/api/v1/sessions/{session_id}/terminate", {})

            async def is_over() -> bool:
                return (await running.session(session_id))["recording"]["status"] in ("completed", "failed")

            await running.until(is_over, within_s=30, what="the recording to be completed")
            assert (await running.session(session_id))["recording"]["status"] == "completed"
        finally:
            recorders.stop()
        manifest = await asyncio.to_thread(complete_and_clean, folder, keys)
        await asyncio.to_thread(export_recording, folder, keys, tmp_path / "whole.mp4")
        holes = await asyncio.to_thread(holes_in, tmp_path / "whole.mp4", least_us=LEAST_GAP_US)
    took = [(trial.fault, first_media_s(manifest, trial.attempt) - trial.at_s) for trial in trials]
    for fault in ("kill", "freeze"):
        print(fault, sorted(round(took_s, 2) for kind, took_s in took if kind == fault))
    print("lag", round(max(lags), 2))
    print("holes", [(hole, nearest(hole, manifest.gaps, manifest)) for hole in holes])
    assert [attempt.attempt for attempt in manifest.attempts] == list(range(1, len(FAULTS) + 2))
    assert [one for one in took if one[1] > LIMIT_S[one[0]]] == []
    assert len(holes) >= len(FAULTS)
    assert max(nearest(hole, manifest.gaps, manifest) for hole in holes) <= TOLERANCE_US
    # The control: what each attempt knows by itself does not show the gaps between them.
    assert max(nearest(hole, [], manifest) for hole in holes) > TOLERANCE_US
    for hole in holes:
        if hole.sent_us is not None:  # and that is how long it was for the publisher, which lags with us
            off_us = abs(hole.sent_us - (hole.end_us - hole.start_us))
            assert off_us <= TOLERANCE_US + max(lags) * 1_000_000, hole


async def watch_lag(lags: list[float]) -> None:
    """Note how late this process comes to its turn, and with it the publisher."""
    while True:
        began = time.monotonic()
        await asyncio.sleep(0.02)
        lags.append(time.monotonic() - began - 0.02)


def play_unfinished(folder: Path, keys: KeyFiles, out: Path) -> float:
    """Verify and play what a killed recorder left, which another goes on with; gives seconds of pictures."""
    report = verify_recording(folder, keys.public_key)
    assert report.exit_code == 3, report.sentences()
    export_recording(folder, keys, out)
    media = read_media(out)
    assert media.is_monotonic
    assert media.unread_frames == 0
    return media.video_frames / FRAMES_PER_S


def complete_and_clean(folder: Path, keys: KeyFiles) -> Manifest:
    """Verify; of what frozen recorders wrote after they woke nothing is left."""
    report = verify_recording(folder, keys.public_key)
    assert (report.exit_code, report.ignored) == (0, ()), report.sentences()
    return decode_manifest(
        (folder / "manifest").read_bytes(), recording_id=RecordingId(folder.name), public_key=keys.public_key
    )


def nearest(hole: Hole, declared: Sequence[Gap], manifest: Manifest) -> int:
    """How far the gap that fits best lies from a hole, of those declared and those within attempts."""
    first_us = min(track.start_us for track in manifest.tracks if track.end_us > track.start_us)
    gaps = [*declared, *(gap for track in manifest.tracks for gap in track.gaps)]
    return min(
        max(abs(gap.start_us - first_us - hole.start_us), abs(gap.end_us - first_us - hole.end_us))
        for gap in [*gaps, Gap(start_us=0, end_us=0)]
    )
