"""Recording into a bucket: a recorder is killed, another goes on, and the whole is verified there."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from greenroom.synthetic_participant import SyntheticParticipant
from greenroom.synthetic_picture import FRAMES_PER_S
from greenroom.synthetic_reading import read_media
from tests.acceptance.system import joined, system
from tests.acceptance.takeovers import Recorders
from tests.integration.s3_servers import S3Server
from tests.integration.servers import LiveKitFactory
from vault.adapters.key_files import KeyFiles
from vault.core.ids import is_recording_id
from vault.export import export_recording
from vault.verification import verify_recording

pytestmark = [pytest.mark.acceptance, pytest.mark.media, pytest.mark.timeout(180)]

PUBLISHED_S = 12
KILLED_AFTER_S = 5


async def test_a_recorder_that_records_to_a_bucket_is_killed_and_another_goes_on(
    tmp_path: Path,
    s3_credentials: None,
    fresh_livekit_server: LiveKitFactory,
    shared_s3_server: S3Server,
) -> None:
    location = shared_s3_server.location(shared_s3_server.make_bucket())
    async with system(tmp_path, fresh_livekit_server, chunk_store=location.url) as running:
        recorders = Recorders(running)
        try:
            recorders.start()
            created = await running.create(record=True)
            session_id = created["session_id"]
            async with joined(created) as room:
                holder = await recorders.until_recording(session_id, 1, within_s=60)
                publishing = asyncio.create_task(SyntheticParticipant(room).publish(PUBLISHED_S))
                await asyncio.sleep(KILLED_AFTER_S)
                await recorders.strike(holder, "kill", 1)
                await recorders.until_recording(session_id, 2)
                await publishing
            await running.post(f"/api/v1/sessions/{session_id}/terminate", {})

            async def is_over() -> bool:
                return (await running.session(session_id))["recording"]["status"] in ("completed", "failed")

            await running.until(is_over, within_s=30, what="the recording to be completed")
            recording = (await running.session(session_id))["recording"]
            assert recording["status"] == "completed", recording
        finally:
            recorders.stop()
    assert not (tmp_path / "recordings").exists()
    (folder,) = (
        entry
        for entry in (shared_s3_server.path_of(location.bucket) / location.prefix).iterdir()
        if is_recording_id(entry.name)
    )
    url = replace(location, prefix=f"{location.prefix}/{folder.name}").url
    keys = KeyFiles.open(tmp_path / "keys")
    report = await asyncio.to_thread(verify_recording, url, keys.public_key)
    assert (report.exit_code, len(report.attempts)) == (0, 2), report.sentences()
    out = tmp_path / "whole.mp4"
    await asyncio.to_thread(export_recording, url, keys, out)
    media = await asyncio.to_thread(read_media, out)
    assert media.is_monotonic
    assert media.video_frames > KILLED_AFTER_S * FRAMES_PER_S
