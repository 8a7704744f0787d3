"""Two recorders of which one records, to be killed or frozen, and what an exported file shows of the gaps."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import av

from greenroom.synthetic_picture import FRAMES_PER_S, read_counter
from greenroom.synthetic_reading import luma_of
from tests.acceptance.system import System
from vault.core.manifest import Manifest

Fault = Literal["kill", "freeze"]


def start_recorder(running: System, log: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a recorder of a system."""
    environment = {**running.environment, "GREENROOM_URL": running.url}
    with (log or running.folder / "recorder.log").open("ab") as out:
        return subprocess.Popen([sys.executable, "-m", "recorder"], env=environment, stdout=out, stderr=out)


@dataclass
class Recorder:
    """One recorder process; its log says when it records."""

    process: subprocess.Popen[bytes]
    log: Path
    seen: int = 0

    @property
    def recordings(self) -> int:
        """How often it has begun to record."""
        return self.log.read_text().count("is recording")


@dataclass(frozen=True, slots=True)
class Trial:
    """A fault of the recorder of ``attempt``, at a Unix time."""

    fault: Fault
    attempt: int
    at_s: float


@dataclass
class Recorders:
    """All recorders of one system, two of them alive."""

    running: System
    alive: list[Recorder] = field(default_factory=list)
    started: int = 0

    def start(self) -> None:
        """Start one more."""
        self.started += 1
        path = self.running.folder / f"recorder-{self.started}.log"
        self.alive.append(Recorder(start_recorder(self.running, path), path))

    async def until_recording(self, session_id: str, attempt: int, *, within_s: float = 30) -> Recorder:
        """Wait until this attempt records; gives its recorder."""
        found: dict[str, Any] = {}

        async def is_there() -> bool:
            session = await self.running.session(session_id)
            job = next(job for job in session["jobs"] if job["service_id"] == "recorder")
            found.update(status=session["recording"]["status"], attempt=job["attempt"], state=job["state"])
            holds = [recorder for recorder in self.alive if recorder.recordings > recorder.seen]
            found["holds"] = len(holds)
            return (found["status"], found["state"]) == ("recording", "joined") and (
                job["attempt"] >= attempt and len(holds) > 0
            )

        await self.running.until(is_there, within_s=within_s, what=f"attempt {attempt} to record", seen=found)
        holder = next(recorder for recorder in self.alive if recorder.recordings > recorder.seen)
        holder.seen = holder.recordings
        return holder

    async def strike(self, recorder: Recorder, fault: Fault, attempt: int) -> Trial:
        """Kill a recorder, or freeze it; another one is started where it was killed."""
        recorder.process.send_signal(signal.SIGKILL if fault == "kill" else signal.SIGSTOP)
        at_s = time.time()
        if fault == "kill":
            await asyncio.to_thread(recorder.process.wait, 5)
            self.alive.remove(recorder)
            self.start()
        return Trial(fault, attempt, at_s)

    def wake(self, recorder: Recorder) -> None:
        """Let a frozen one go on."""
        recorder.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End all."""
        for recorder in self.alive:
            if recorder.process.poll() is None:
                recorder.process.send_signal(signal.SIGCONT)
                recorder.process.terminate()
        for recorder in self.alive:
            recorder.process.wait(timeout=15)


@dataclass(frozen=True, slots=True)
class Hole:
    """A stretch without media in an exported file, microseconds after its beginning.

    Attributes:
        sent_us: how long it lasted by the publisher's own count; None for sound.
    """

    start_us: int
    end_us: int
    sent_us: int | None = None


def holes_in(path: Path, *, least_us: int) -> list[Hole]:
    """Decode a file and give the holes longer than ``least_us`` in its pictures and its sound. Blocking."""
    frame_us = 1_000_000 // FRAMES_PER_S
    pictures: list[tuple[int, int]] = []
    sounds: list[tuple[int, int]] = []
    with av.open(str(path)) as file:
        assert len(file.streams.video) == len(file.streams.audio) == 1
        for frame in file.decode(video=0, audio=0):
            assert isinstance(frame, av.AudioFrame | av.VideoFrame)
            at_us = round(float(frame.time or 0) * 1_000_000)
            if isinstance(frame, av.AudioFrame):
                sounds.append((at_us, at_us + frame.samples * 1_000_000 // frame.sample_rate))
            elif (counter := read_counter(luma_of(frame))) is not None:
                pictures.append((at_us, counter))
    assert all(later[1] > earlier[1] for earlier, later in pairwise(pictures)), "the counter jumps back"
    found = [
        Hole(one_us + frame_us, other_us, (other - one - 1) * frame_us)
        for (one_us, one), (other_us, other) in pairwise(pictures)
        if (other - one - 1) * frame_us > least_us  # else the publisher itself stood still
    ]
    found += [
        Hole(end_us, start_us)
        for (_, end_us), (start_us, _) in pairwise(sounds)
        if start_us - end_us > least_us
    ]
    return found


def first_media_s(manifest: Manifest, attempt: int) -> float:
    """Unix time of the first media of the next attempt after this one that has any."""
    later = [
        track.start_us
        for track in manifest.tracks
        if track.attempt > attempt and track.end_us > track.start_us
    ]
    return (manifest.media_start_us + min(later)) / 1_000_000
