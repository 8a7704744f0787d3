"""A recording of a real room in this process, passthrough, with custody, to look at while and after."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av

from recorder.adapters.passthrough.tracks import PassthroughTracks
from recorder.adapters.pyav_muxer import PyavEncoders
from recorder.adapters.system_clock import SystemClock
from recorder.core.states import RecordingState
from recorder.service.archive import Archive
from recorder.service.recording import Recording
from recorder.service.recording_plan import RecordingPlan
from sdk.ports import Grant
from tests.fakes.reporter import FakeReporter
from tests.recorder.publishers import Room
from vault.adapters.dir_store import DirChunkStore
from vault.adapters.key_files import KeyFiles
from vault.core.ids import RecordingId
from vault.core.manifest import Manifest, decode_manifest
from vault.export import export_recording
from vault.verification import verify_recording


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """What one video stream of an export decodes to: the time of each picture, in seconds."""

    times: list[float]

    @property
    def longest_s(self) -> float:
        """The longest time between two of them."""
        return max(later - time for time, later in pairwise(self.times))


class RecordedRoom:
    """One recording; begins when it is made."""

    def __init__(self, room: Room, folder: Path) -> None:
        self._folder = folder
        self._keys = KeyFiles.create_or_open(folder / "keys")
        self.recording_id = RecordingId(str(uuid.uuid4()))

        async def grant() -> Grant:
            return Grant(livekit_url=room.server.url, access_token=room.token("recorder", {}))

        clock = SystemClock()
        self.recording = Recording(
            RecordingPlan(recording_id=self.recording_id, session_id="s", attempt=1),
            archive=Archive(DirChunkStore(folder / "recordings"), self._keys, "here"),
            encoders=PyavEncoders(),
            clock=clock,
            reporter=FakeReporter(),
        )
        source = PassthroughTracks(grant, clock, keyframe_interval_s=4.0)
        self._capturing = asyncio.create_task(self.recording.capture(source))

    @property
    def stats(self) -> dict[str, float]:
        """Numbers of the recording so far."""
        return self.recording._stats()

    async def end(self) -> Manifest:
        """Stop and complete it; it verifies."""
        self.recording.cut()
        await self._capturing
        await self.recording.complete()
        assert self.recording.state is RecordingState.COMPLETED, self.recording.detail
        path = self._folder / "recordings" / self.recording_id
        report = await asyncio.to_thread(verify_recording, path, self._keys.public_key)
        assert report.exit_code == 0
        return decode_manifest(
            (path / "manifest").read_bytes(),
            recording_id=self.recording_id,
            public_key=self._keys.public_key,
        )

    def pictures(self) -> Pictures:
        """Export it and decode its first video stream; an error of the decoder raises."""
        out = self._folder / "out.mp4"
        export_recording(self._folder / "recordings" / self.recording_id, self._keys, out)
        with av.open(str(out)) as file:
            stream = file.streams.video[0]
            stream.codec_context.options = {"err_detect": "explode"}
            times = [float(frame.time or 0) for frame in file.decode(stream)]
        assert times == sorted(set(times))
        return Pictures(times=times)
