"""What a stopped recording holds, exported and decoded, for tests of recordings that were encoded again."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from sdk.fake_jobs import FakeJob
from tests.recorder.room_world import RoomWorld
from vault.adapters.key_files import KeyFiles
from vault.export import export_recording

RATE = 48_000


@dataclass
class Decoded:
    """An exported file."""

    times: list[float] = field(default_factory=list)
    lumas: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    samples: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    sound_from_s: float = 0.0
    codecs: list[str] = field(default_factory=list)

    def strength(self, hz: float, begin_s: float, end_s: float) -> float:
        """How loud a tone is in a stretch of the file, 1 being full scale."""
        first = round((begin_s - self.sound_from_s) * RATE)
        part = self.samples[max(0, first) : round((end_s - self.sound_from_s) * RATE)]
        wave = np.exp(-2j * np.pi * hz / RATE * np.arange(len(part)))
        return float(2 * np.abs((part * wave).mean()))


async def stopped(world: RoomWorld, job: FakeJob) -> Decoded:
    """Stop, verify, export and decode."""
    await world.orchestrator.control(job, "stop", n=1)
    await world.orchestrator.reported(job, "done")
    assert (await world.verify()).exit_code == 0
    keys, out = KeyFiles.open(world.folder / "keys"), world.folder / f"{uuid.uuid4()}.mkv"
    await asyncio.to_thread(export_recording, world.path, keys, out)
    return await asyncio.to_thread(decode, out)


def decode(path: Path) -> Decoded:
    """Decode everything in a file with one stream of pictures, one of sound, or both."""
    decoded = Decoded()
    sounds: list[npt.NDArray[np.float32]] = []
    with av.open(str(path)) as file:
        decoded.codecs = [stream.codec_context.name for stream in file.streams]
        for frame in file.decode():
            if isinstance(frame, av.VideoFrame):
                decoded.times.append(float(frame.time or 0))
                decoded.lumas.append(frame.to_ndarray(format="gray").astype(np.uint8))
            elif isinstance(frame, av.AudioFrame):
                if not sounds:
                    decoded.sound_from_s = float(frame.time or 0)
                sounds.append(frame.to_ndarray()[0].astype(np.float32))
    if sounds:
        decoded.samples = np.concatenate(sounds)
    return decoded
