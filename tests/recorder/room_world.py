"""A recorder process in a real room, with a participant and an orchestrator that is told what to say."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from livekit import api

from greenroom.synthetic_participant import SyntheticParticipant, join
from greenroom.synthetic_reading import MediaReading, read_media
from sdk.fake_jobs import FakeJob
from sdk.testing import FakeOrchestrator
from sdk.wire import RecordingReport, RecordingTask
from tests.integration.servers import SharedLiveKit
from vault.adapters.key_files import KeyFiles
from vault.core.ids import parse_recording_id
from vault.core.manifest import Manifest, decode_manifest
from vault.export import export_recording
from vault.verification import verify_recording
from vault.verification_report import VerificationReport


@dataclass
class RoomWorld:
    """One recording in one real room."""

    server: SharedLiveKit
    orchestrator: FakeOrchestrator
    folder: Path
    mode: str = "passthrough"
    recording_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.folder / "recordings" / self.recording_id

    async def start_recorder(self) -> subprocess.Popen[bytes]:
        """Start a recorder and wait until it is registered."""
        hellos = len(self.orchestrator.hellos)
        own = {
            "GREENROOM_URL": self.orchestrator.url,
            "CHUNK_STORAGE_PATH": str(self.folder / "recordings"),
            "SPOOL_PATH": str(self.folder / "spool"),
            "GREENROOM_KEY_DIR": str(self.folder / "keys"),
        }
        process = subprocess.Popen([sys.executable, "-m", "recorder"], env={**os.environ, **own})
        self.processes.append(process)
        await until(lambda: len(self.orchestrator.hellos) > hellos, within_s=20)
        return process

    async def capture(self, *, job: FakeJob | None = None, **task: Any) -> FakeJob:
        """Give the recorder the room; with a job, as the next attempt of it. ``task``: more of its task."""
        if job is None:
            offered = await self.orchestrator.offer()
            url = self.server.url.replace("ws", "http", 1)
            async with api.LiveKitAPI(url, self.server.api_key, self.server.api_secret) as rooms:
                await rooms.room.create_room(api.CreateRoomRequest(name=offered.room_name, empty_timeout=60))
        else:
            offered = await self.orchestrator.offer(
                job_id=job.job_id, session_id=job.session_id, attempt=job.attempt + 1
            )
        await self.orchestrator.accepted(offered)
        await self.orchestrator.assign(
            offered,
            recording=RecordingTask(recording_id=self.recording_id, mode=self.mode, **task),
        )
        await until(lambda: bool(self.reports(offered)), within_s=10)
        return offered

    async def complete(self, job: FakeJob) -> RecordingReport:
        """Give the recorder the completer's task and wait for its last report."""
        offered = await self.orchestrator.offer(
            job_id=job.job_id, session_id=job.session_id, attempt=job.attempt + 1
        )
        await self.orchestrator.accepted(offered)
        task = RecordingTask(recording_id=self.recording_id, task="complete")
        await self.orchestrator.assign(offered, recording=task)
        await self.orchestrator.reported(offered, "done")
        return self.reports(offered)[-1]

    @contextlib.asynccontextmanager
    async def participant(self, job: FakeJob) -> AsyncIterator[SyntheticParticipant]:
        """Join the job's room as alice."""
        grants = api.VideoGrants(room_join=True, room=job.room_name)
        token = api.AccessToken(self.server.api_key, self.server.api_secret).with_identity("alice")
        async with join(self.server.url, token.with_grants(grants).to_jwt()) as alice:
            yield alice

    def reports(self, job: FakeJob) -> list[RecordingReport]:
        return self.orchestrator.recordings(job)

    async def verify(self) -> VerificationReport:
        keys = KeyFiles.open(self.folder / "keys")
        return await asyncio.to_thread(verify_recording, self.path, keys.public_key)

    def manifest(self) -> Manifest:
        keys = KeyFiles.open(self.folder / "keys")
        data = (self.path / "manifest").read_bytes()
        recording_id = parse_recording_id(self.recording_id)
        return decode_manifest(data, recording_id=recording_id, public_key=keys.public_key)

    async def export(self) -> MediaReading:
        """Export to a new file and decode it."""
        keys = KeyFiles.open(self.folder / "keys")
        out = self.folder / f"{uuid.uuid4()}.mp4"
        await asyncio.to_thread(export_recording, self.path, keys, out)
        return await asyncio.to_thread(read_media, out)


@contextlib.asynccontextmanager
async def room_world(
    server: SharedLiveKit, folder: Path, *, mode: str = "passthrough"
) -> AsyncIterator[RoomWorld]:
    """Make one; its processes are gone afterwards."""

    def mint(job: FakeJob, _number: int) -> str:
        grants = api.VideoGrants(
            room_join=True, room=job.room_name, hidden=True, recorder=True, can_publish=False
        )
        token = api.AccessToken(server.api_key, server.api_secret).with_identity(job.identity)
        return token.with_grants(grants).with_kind("agent").to_jwt()

    async with FakeOrchestrator(livekit_url=server.url, mint=mint) as orchestrator:
        world = RoomWorld(server, orchestrator, folder, mode)
        try:
            yield world
        finally:
            for process in world.processes:
                process.kill()
                process.wait()


async def until(condition: Callable[[], bool], *, within_s: float) -> None:
    """Wait until a condition of the real world holds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)
