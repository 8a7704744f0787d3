"""Judges what a killed recorder left: whether it verifies and plays, and how much of it is lost."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import av
import av.error
import msgspec

from recorder.core.states import RecordingState
from tests.crash.fed_media import FRAMES_PER_S, PACKETS_PER_S
from tests.crash.recorders import NAIVE_FILE, make_recording
from tests.crash.witness import Witness
from tests.fakes.recordings import RECORDING
from vault.adapters.dir_store import DirChunkStore
from vault.errors import ExportError, NotARecordingError, VaultError
from vault.export import export_recording
from vault.ports import KeyRing
from vault.verification import verify_recording

MAX_LOSS_S = 2.0


class Verdict(msgspec.Struct, kw_only=True):
    """What was found; ``wrong`` is empty when every promise was kept. Losses in seconds of media."""

    wrong: list[str] = []
    acknowledged: int = 0
    pictures: int = 0
    sounds: int = 0
    video_loss_s: float = 0.0
    audio_loss_s: float = 0.0
    lag_s: float = 0.0  # the machine's
    exit_code: int = -1


def judge(folder: Path, key_ring: KeyRing, *, killed_s: float = 0.0) -> Verdict:
    """Verify, play and complete what is in a folder that `recorders.record` wrote to. Blocking.

    Args:
        folder: the trial's.
        key_ring: what it was sealed with.
        killed_s: monotonic time of the kill; 0 when it is not known.
    """
    witness, verdict = Witness(folder / "witness"), Verdict()
    path, head = folder / "recordings" / RECORDING, witness.head
    verdict.acknowledged = 0 if head is None else head.size
    try:
        if (folder / NAIVE_FILE).exists():
            verdict.pictures, verdict.sounds = _play(folder / NAIVE_FILE, verdict.wrong)
        else:
            report = verify_recording(path, key_ring.public_key, against=[head] if head is not None else [])
            verdict.exit_code = report.exit_code
            if report.exit_code not in (0, 3):
                verdict.wrong.append("does not verify: " + "; ".join(report.sentences()))
            else:
                export_recording(path, key_ring, folder / "killed.mp4")
                verdict.pictures, verdict.sounds = _play(folder / "killed.mp4", verdict.wrong)
    except NotARecordingError:
        if head is not None:
            verdict.wrong.append("nothing is there, though something was acknowledged")
    except ExportError as error:
        if "holds no media" not in str(error):
            verdict.wrong.append(f"is not exported: {error}")
    verdict.video_loss_s = max(0.0, (witness.pictures - verdict.pictures) / FRAMES_PER_S)
    verdict.audio_loss_s = max(0.0, (witness.sounds - verdict.sounds) / PACKETS_PER_S)
    verdict.lag_s = witness.lag_s(killed_s)
    for name, loss_s in (("video", verdict.video_loss_s), ("audio", verdict.audio_loss_s)):
        if loss_s > MAX_LOSS_S + verdict.lag_s:
            verdict.wrong.append(f"{loss_s:.2f} s of {name} are lost")
    if verdict.exit_code in (0, 3):
        _complete(folder, key_ring, witness, verdict)
    return verdict


def _play(path: Path, wrong: list[str]) -> tuple[int, int]:
    """Decode everything; gives pictures and packets of sound."""
    pictures: list[int] = []
    sounds: list[int] = []
    try:
        with av.open(str(path)) as file:
            for stream in (*file.streams.video, *file.streams.audio):
                stream.codec_context.options = {"err_detect": "explode"}
            for frame in file.decode(*file.streams.video, *file.streams.audio):
                if isinstance(frame, av.VideoFrame) and frame.is_corrupt:
                    wrong.append("a picture is broken")
                (pictures if isinstance(frame, av.VideoFrame) else sounds).append(frame.pts or 0)
    except (av.error.FFmpegError, IndexError) as error:
        wrong.append(f"does not play: {error}")
    if not all(later > earlier for times in (pictures, sounds) for earlier, later in pairwise(times)):
        wrong.append("its times jump back")
    return len(pictures), len(sounds)


def _complete(folder: Path, key_ring: KeyRing, witness: Witness, verdict: Verdict) -> None:
    """The completer's job: no room, only what the killed attempt left."""
    head, path = witness.head, folder / "recordings" / RECORDING
    recording = make_recording(DirChunkStore(folder / "recordings"), key_ring, attempt=2)
    asyncio.run(recording.complete())
    if recording.state is not RecordingState.COMPLETED:
        verdict.wrong.append(f"is not completed: {recording.detail}")
        return
    try:
        report = verify_recording(path, key_ring.public_key, against=[head] if head is not None else [])
    except VaultError as error:
        verdict.wrong.append(f"is gone after its completion: {error}")
        return
    if report.exit_code != 0 or report.ignored:
        verdict.wrong.append("is not complete after its completion: " + "; ".join(report.sentences()))
