"""A recorder without a room, to be killed: records synthetic tracks into a folder until somebody stops it.

Run as `python -m tests.recorder.recording_process DATA_FOLDER RECORDING_ID ATTEMPT`. Says on standard output
when the first frame is captured, as a monotonic time in seconds.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from recorder.adapters.pyav_muxer import PyavEncoders
from recorder.adapters.system_clock import SystemClock
from recorder.ports import FrameSink
from recorder.service.archive import Archive
from recorder.service.recording import Recording
from recorder.service.recording_plan import RecordingPlan
from tests.fakes.reporter import FakeReporter
from tests.fakes.tracks import FakeTracks
from vault.adapters.dir_store import DirChunkStore
from vault.adapters.key_files import KeyFiles


class AnnouncedTracks(FakeTracks):
    """Synthetic tracks that say when they begin."""

    async def capture(self, sink: FrameSink) -> None:
        """Say the time, then play."""
        print(f"{time.monotonic():.6f}", flush=True)
        await super().capture(sink)


async def record(folder: Path, recording_id: str, attempt: int) -> None:
    """Record for a minute at most."""
    keys = KeyFiles.create_or_open(folder / "keys")
    recording = Recording(
        RecordingPlan(recording_id=recording_id, session_id="killed", attempt=attempt),
        archive=Archive(DirChunkStore(folder / "recordings"), keys, str(folder)),
        encoders=PyavEncoders(named="low"),
        clock=SystemClock(),
        reporter=FakeReporter(),
    )
    await recording.capture(AnnouncedTracks(60))


if __name__ == "__main__":
    asyncio.run(record(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
