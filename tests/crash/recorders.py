"""The recorder core as a process to be killed, and three naive recorders that its judge must catch.

    python -m tests.crash.recorders FOLDER MEDIA SECONDS

`kill_trials` forks it; as a program it is what strace is put on.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any, Final

import av

from recorder.adapters.pyav_muxer import PyavEncoders
from recorder.adapters.system_clock import SystemClock
from recorder.ports import FrameSink, SourceTrack, SourceTrackId
from recorder.service.archive import Archive
from recorder.service.recording import Recording
from recorder.service.recording_plan import RecordingPlan
from tests.crash.fed_media import FedMedia, FedTracks
from tests.crash.witness import Witness
from tests.fakes.recordings import RECORDING, make_key_ring
from tests.fakes.reporter import FakeReporter
from vault.adapters.dir_store import DirChunkStore
from vault.core.checkpoint import decode_checkpoint
from vault.core.ids import RecordingId
from vault.core.layout import CheckpointFile, parse_name
from vault.core.manifest import CaptureMode
from vault.ports import ChunkStore, KeyRing

NAIVE: Final = ("early", "in_place", "keyframes_only")
DEADLINE_S: Final = 60.0
NAIVE_FILE: Final = "naive.mp4"


class WitnessedStore(DirChunkStore):
    """Tells of each checkpoint once it is stored: from then on its leaves are acknowledged."""

    def __init__(self, root: Path, witness: Witness, key_ring: KeyRing) -> None:
        super().__init__(root)
        self._witness = witness
        self._key_ring = key_ring

    def put(self, recording_id: RecordingId, name: str, data: bytes) -> None:
        """Store, then tell."""
        with self._witness.putting():
            super().put(recording_id, name, data)
        place = parse_name(name)
        if isinstance(place, CheckpointFile):
            public_key = self._key_ring.public_key
            self._witness.acknowledged(
                decode_checkpoint(
                    data, recording_id=recording_id, attempt=place.attempt, public_key=public_key
                )
            )


class EarlyStore(WitnessedStore):
    """Naive: says that a chunk is stored while it still waits behind three others."""

    def __init__(self, root: Path, witness: Witness, key_ring: KeyRing) -> None:
        super().__init__(root, witness, key_ring)
        self._waiting: list[tuple[RecordingId, str, bytes]] = []

    def put(self, recording_id: RecordingId, name: str, data: bytes) -> None:
        """Store what waited longest."""
        if "chunk" not in name:
            super().put(recording_id, name, data)
            return
        self._waiting.append((recording_id, name, data))
        if len(self._waiting) > 3:
            super().put(*self._waiting.pop(0))


class InPlaceStore(WitnessedStore):
    """Naive: writes each file where it shall stand, in two parts."""

    def __init__(self, root: Path, witness: Witness, key_ring: KeyRing) -> None:
        super().__init__(root, witness, key_ring)
        self._root_folder = root

    def put(self, recording_id: RecordingId, name: str, data: bytes) -> None:
        """Write the file under its own name."""
        path = self._root_folder / recording_id / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb", buffering=0) as file:
            file.write(data[: len(data) // 2])
            file.write(data[len(data) // 2 :])


_STORES: Final[dict[str, type[WitnessedStore]]] = {"early": EarlyStore, "in_place": InPlaceStore}


def record(
    folder: Path, media: FedMedia, key_ring: KeyRing, *, mode: CaptureMode, seconds: float, naive: str = ""
) -> None:
    """Record ``seconds`` of a medium, then complete the recording; as one of `NAIVE` where it is named."""
    witness = Witness(folder / "witness")
    source = FedTracks(media, mode=mode, seconds=seconds, on_fed=witness.fed)
    if naive == "keyframes_only":
        asyncio.run(_record_naively(folder / NAIVE_FILE, source, media))
        return
    store = _STORES.get(naive, WitnessedStore)(folder / "recordings", witness, key_ring)
    recording = make_recording(store, key_ring, mode=mode)

    async def run() -> None:
        async with asyncio.timeout(DEADLINE_S):
            await recording.capture(source)
            await recording.complete()

    asyncio.run(run())


def make_recording(
    store: ChunkStore, key_ring: KeyRing, *, mode: CaptureMode = "passthrough", attempt: int = 1
) -> Recording:
    """Make one attempt of the recording."""
    return Recording(
        RecordingPlan(
            recording_id=RECORDING,
            session_id="killed",
            attempt=attempt,
            mode=mode,
            keyframe_interval_s=3600,  # one keyframe, also where we encode
        ),
        archive=Archive(store, key_ring, "here"),
        encoders=PyavEncoders(named="medium"),
        clock=SystemClock(),
        reporter=FakeReporter(),
    )


class _NaiveSink:
    """Muxes what comes as usual: a fragment at each keyframe."""

    def __init__(self, file: Any, stream: Any) -> None:
        self._file = file
        self._stream = stream

    def track_started(self, track: SourceTrack) -> None:
        """Take no note."""

    def track_ended(self, track_id: SourceTrackId) -> None:
        """Take no note."""

    def unit(self, track_id: SourceTrackId, unit: Any) -> None:
        """Mux a picture."""
        if unit.setup.codec != "h264":
            return
        packet = av.Packet(unit.data)
        packet.pts = packet.dts = unit.rtp_time
        packet.duration, packet.time_base = 3600, self._stream.time_base
        packet.is_keyframe = unit.is_keyframe
        packet.stream = self._stream
        self._file.mux_one(packet)


async def _record_naively(path: Path, source: FedTracks, media: FedMedia) -> None:
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "video_track_timescale": "90000"}
    with av.open(str(path), "w", format="mp4", options=options) as file, av.open(str(media.path)) as template:
        stream = file.add_stream_from_template(template.streams.video[0], opaque=True)
        file.start_encoding()
        sink: Any = _NaiveSink(file, stream)
        taken: FrameSink = sink
        await source.capture(taken)


if __name__ == "__main__":
    _folder, _media, _seconds = sys.argv[1:]
    record(
        Path(_folder),
        FedMedia.read(Path(_media)),
        make_key_ring(),
        mode="passthrough",
        seconds=int(_seconds),
    )
