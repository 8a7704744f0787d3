"""Export: one playable file from a recording, remuxed without encoding, all tracks on one timeline.

The whole recording is verified first; then each chunk is decrypted as the muxer asks for it and compared
with what was verified. Nothing stands at the target until the file is whole.

Source: docs/RECORDING.md §13.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vault.adapters.durable_files import sync_directory, sync_file
from vault.adapters.pyav_remuxer import AudioForm, MediaRun, RemuxedFile, containers_for, remux
from vault.attempts import VerifiedAttempt, VerifiedChunk
from vault.core.chunk_header import ChunkKind
from vault.core.coverage import CoverageBuilder
from vault.core.ids import RecordingId
from vault.core.layout import TEMPORARY_SUFFIX
from vault.errors import ExportError, IntegrityError
from vault.ports import KeyRing, RecordingFiles
from vault.reading import RecordingReader
from vault.stores import open_recording
from vault.verification import CheckedRecording, OnProgress, check_recording


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What was written.

    Attributes:
        duration_s: from the first media to the end of the last, over all tracks.
        streams: codec of each stream in the file, in its order.
        video_frames: video packets written.
        audio_s: seconds of audio written, of all audio streams together.
        dropped_packets: packets left out because a later init run of their stream begins before them.
        is_complete: the recording has its manifest; otherwise this is what is verified of it so far.
    """

    path: Path
    recording_id: RecordingId
    duration_s: float
    streams: tuple[str, ...]
    video_frames: int
    audio_s: float
    dropped_packets: int
    is_complete: bool


def export_recording(
    place: Path | str,
    key_ring: KeyRing,
    out: Path,
    *,
    audio: AudioForm = "copy",
    on_progress: OnProgress | None = None,
) -> ExportReport:
    """Write a recording as one MP4, WebM or Matroska file, whichever ``out`` names.

    Args:
        place: the recording's folder, or its URL (`open_recording`).
        key_ring: its keys decrypt; its public key is what the recording is verified with.
        out: the file to be made; it must not exist, and end in .mp4, .webm or .mkv: VP8 is in no .mp4, H.264
            in no .webm.
        audio: ``aac`` encodes the sound as AAC, for players that know no Opus.
        on_progress: called with bytes done and bytes to do, each file counted twice: verified, then muxed.

    Raises:
        NotARecordingError: there is no recording at ``place``.
        WrongKeyError: the keys do not open it; nothing was written.
        ShreddedError: its keys are destroyed; nothing was written.
        IntegrityError: it is bad; the message names the first bad file; nothing was written.
        ExportError: it holds no media, or ``out`` cannot be made.
        StoreError: worth trying again.
    """
    files, recording_id = open_recording(str(place))
    if out.resolve().is_relative_to(Path(place).resolve()):
        raise ExportError(f"{out} lies inside the recording: choose another place")
    return export_files(
        files, key_ring, out, name=str(place), recording_id=recording_id, audio=audio, on_progress=on_progress
    )


def export_files(
    files: RecordingFiles,
    key_ring: KeyRing,
    out: Path,
    *,
    name: str,
    recording_id: RecordingId | None,
    audio: AudioForm = "copy",
    on_progress: OnProgress | None = None,
) -> ExportReport:
    """Write a recording wherever it is stored; see `export_recording`.

    Args:
        name: of the recording in messages.
        recording_id: which recording this must be; None takes what it says of itself.
        on_progress: what it raises ends the export, and nothing is written.
    """
    _check_target(out)
    progress = _Progress(2 * sum(file.size_bytes or 0 for file in files.list_files()), on_progress)
    checked = check_recording(
        files,
        key_ring.public_key,
        recording_id=recording_id,
        on_progress=lambda done, _total: progress.reach(done),
    )
    if (first_bad := checked.report.first_bad) is not None:
        raise IntegrityError(f"{name} is not exported: {first_bad.file}: {first_bad.reason}")
    reader = RecordingReader.open(files, key_ring, recording_id=checked.report.recording_id)
    runs = list(_media_runs(checked, reader, progress.add))
    if any(run.prologue.kind == "data" for run in runs):
        raise ExportError(f"{name} is an upload: no media file can be made of it; read its chunks instead")
    if not runs:
        raise ExportError(f"{name} holds no media: nobody published while it was recorded")
    written = _write(runs, out, audio)
    progress.finish()
    return ExportReport(
        path=out,
        recording_id=checked.report.recording_id,
        duration_s=written.duration_s,
        streams=written.streams,
        video_frames=written.video_frames,
        audio_s=written.audio_s,
        dropped_packets=written.dropped_packets,
        is_complete=checked.report.status == "complete",
    )


class _Progress:
    """Counts bytes for the caller, never backwards and never beyond the total."""

    def __init__(self, total: int, on_progress: OnProgress | None) -> None:
        self._total, self._done, self._on_progress = total, 0, on_progress

    def add(self, count: int) -> None:
        self.reach(self._done + count)

    def reach(self, done: int) -> None:
        self._done = max(self._done, min(done, self._total))
        if self._on_progress is not None:
            self._on_progress(self._done, self._total)

    def finish(self) -> None:
        self.reach(self._total)


class _RunReader:
    """The plaintext of one init run as a file: init part, then chunk after chunk."""

    def __init__(
        self,
        reader: RecordingReader,
        init_part: bytes,
        chunks: list[VerifiedChunk],
        on_read: Callable[[int], None],
    ) -> None:
        self._parts = self._read_parts(reader, init_part, chunks, on_read)
        self._rest = memoryview(b"")

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes, none at the end."""
        while not self._rest:
            part = next(self._parts, None)
            if part is None:
                return b""
            self._rest = memoryview(part)
        taken, self._rest = self._rest[:size], self._rest[size:]
        return bytes(taken)

    def _read_parts(
        self,
        reader: RecordingReader,
        init_part: bytes,
        chunks: list[VerifiedChunk],
        on_read: Callable[[int], None],
    ) -> Iterator[bytes]:
        yield init_part
        for chunk in chunks:
            header = chunk.header
            yield reader.read_chunk(header.attempt, header.leaf, leaf_hash=chunk.leaf_hash)[1]
            on_read(header.plaintext_bytes)


def _media_runs(
    checked: CheckedRecording, reader: RecordingReader, on_read: Callable[[int], None]
) -> Iterator[MediaRun]:
    closed = {} if checked.manifest is None else {one.attempt: one.size for one in checked.manifest.attempts}
    for attempt in checked.attempts:
        # Without a manifest all that verifies is taken, what no checkpoint covers yet included.
        size = closed.get(attempt.attempt, len(attempt.chunks))
        yield from _attempt_runs(attempt, attempt.chunks[:size], reader, on_read)


def _attempt_runs(
    attempt: VerifiedAttempt,
    chunks: list[VerifiedChunk],
    reader: RecordingReader,
    on_read: Callable[[int], None],
) -> Iterator[MediaRun]:
    coverage = CoverageBuilder()
    media: dict[tuple[int, int], list[VerifiedChunk]] = {}
    for chunk in chunks:
        coverage.add(chunk.header)
        if chunk.header.kind is ChunkKind.MEDIA:
            media.setdefault((chunk.header.track, chunk.header.run), []).append(chunk)
    for track in coverage.tracks():
        for run in track.runs:
            held = media.get((track.track, run.run))
            if held is None:
                continue
            leaf_hash = chunks[run.init_leaf].leaf_hash
            prologue, init_part = reader.read_init(attempt.attempt, run.init_leaf, leaf_hash=leaf_hash)
            wall_start_us = reader.wall_start_us(attempt.attempt)
            yield MediaRun(
                prologue=prologue,
                zero_us=wall_start_us + run.offset_us,
                first_us=wall_start_us + run.start_us,
                open=_opener(reader, init_part, held, on_read),
            )


def _opener(
    reader: RecordingReader, init_part: bytes, chunks: list[VerifiedChunk], on_read: Callable[[int], None]
) -> Callable[[], _RunReader]:
    return lambda: _RunReader(reader, init_part, chunks, on_read)


def _check_target(out: Path) -> None:
    if not out.parent.is_dir():
        raise ExportError(f"{out.parent} is not a folder: make it first")
    if os.path.lexists(out):
        raise ExportError(f"{out} exists already: choose another name or remove it")


def _write(runs: list[MediaRun], out: Path, audio: AudioForm) -> RemuxedFile:
    containers = {
        f".{container}": container for container in containers_for((run.prologue for run in runs), audio)
    }
    container = containers.get(out.suffix.lower())
    if container is None:
        codecs = ", ".join(sorted({run.prologue.codec for run in runs}))
        raise ExportError(
            f"{out.name!r} cannot hold this recording's {codecs}: choose a name ending in"
            f" {' or '.join(containers)}"
        )
    temporary = out.with_name(f".{out.name}.{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")
    try:
        written = remux(runs, temporary, container, audio)
        sync_file(temporary)
        if os.path.lexists(out):
            raise ExportError(f"{out} has appeared meanwhile: choose another name or remove it")
        temporary.rename(out)
        sync_directory(out.parent)
    except OSError as error:
        raise ExportError(f"{out} cannot be written: {error.strerror}") from error
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
    return written
