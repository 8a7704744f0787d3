"""Remuxing with PyAV: encoded runs of several tracks into one file on one timeline, not encoded again.

Only sound may be, as AAC, where that is asked for (pyav_aac.py).

Source: docs/RECORDING.md §13; ISO/IEC 14496-12 (MP4), RFC 9559 (Matroska, WebM).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import av

from vault.adapters.pyav_aac import AacTrack
from vault.core.prologue import TrackPrologue
from vault.errors import ExportError

Container = Literal["mp4", "webm", "mkv"]
AudioForm = Literal["copy", "aac"]

_CODECS: Final[dict[Container, frozenset[str]]] = {
    "mp4": frozenset({"h264", "hevc", "av1", "opus", "aac"}),
    "webm": frozenset({"vp8", "vp9", "av1", "opus"}),
    "mkv": frozenset({"h264", "hevc", "vp8", "vp9", "av1", "opus", "aac"}),
}
_FFMPEG_NAME: Final[dict[Container, str]] = {"mp4": "mp4", "webm": "webm", "mkv": "matroska"}
# faststart moves the index to the front, so that a browser plays before it has the whole file.
_OPTIONS: Final[dict[Container, dict[str, str]]] = {"mp4": {"movflags": "faststart"}, "webm": {}, "mkv": {}}


class ByteReader(Protocol):
    """What PyAV reads a run from; it is read once, from front to back."""

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes, none at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaRun:
    """One init run as the remuxer needs it.

    Attributes:
        zero_us: Unix time in microseconds of pts 0.
        first_us: Unix time in microseconds of the first media.
        open: gives the run's bytes anew, init part first.
    """

    prologue: TrackPrologue
    zero_us: int
    first_us: int
    open: Callable[[], ByteReader]


@dataclass(slots=True)
class RemuxedFile:
    """What was written; packets, seconds."""

    streams: tuple[str, ...] = ()
    video_frames: int = 0
    audio_s: float = 0.0
    duration_s: float = 0.0
    dropped_packets: int = 0


@dataclass(slots=True)
class _Output:
    """One stream of the file: runs of one track with one decoder configuration."""

    stream: Any
    runs: list[MediaRun] = field(default_factory=list)
    aac: AacTrack | None = None
    last_dts: int | None = None


@dataclass(frozen=True, slots=True)
class _TimedPacket:
    time_s: Fraction
    packet: Any
    output: _Output


def containers_for(tracks: Iterable[TrackPrologue], audio: AudioForm = "copy") -> list[Container]:
    """The file formats that take all codecs of the tracks, the usual one first: MP4 if it can be.

    Raises:
        ExportError: none takes them all.
    """
    codecs = {_codec(track, audio) for track in tracks}
    taking = [container for container, taken in _CODECS.items() if codecs <= taken]
    if not taking:
        raise ExportError(f"no one file takes {', '.join(sorted(codecs))} together without encoding again")
    return taking


def remux(
    runs: Sequence[MediaRun], path: Path, container: Container, audio: AudioForm = "copy"
) -> RemuxedFile:
    """Write all runs to ``path``, which is replaced; sound as it is, or encoded as AAC.

    Runs of one track with one decoder configuration share a stream; another configuration is a further
    stream. Where two runs of a stream overlap, the later one is kept whole and the earlier one is cut.

    Raises:
        ExportError: the media cannot be read or written.
        VaultError: whatever the runs' readers raise.
    """
    result = RemuxedFile()
    ordered = sorted(runs, key=lambda run: (run.prologue.kind != "video", run.first_us))
    origin_us = min(run.first_us for run in runs)
    try:
        with av.open(str(path), "w", format=_FFMPEG_NAME[container], options=_OPTIONS[container]) as file:
            outputs = _add_streams(file, ordered, audio)
            file.start_encoding()
            result.streams = tuple(_codec(output.runs[0].prologue, audio) for output in outputs)
            generators = [
                _packets(output, origin_us, result)
                if output.aac is None
                else _aac_packets(output, output.aac, origin_us, result)
                for output in outputs
            ]
            for timed in heapq.merge(*generators, key=lambda timed: timed.time_s):
                timed.packet.stream = timed.output.stream
                file.mux_one(timed.packet)
    except av.error.FFmpegError as error:
        raise ExportError(f"the media cannot be remuxed: {error.strerror}") from error
    return result


def _codec(track: TrackPrologue, audio: AudioForm) -> str:
    return "aac" if audio == "aac" and track.kind == "audio" else track.codec


def _add_streams(file: Any, runs: Sequence[MediaRun], audio: AudioForm) -> list[_Output]:
    outputs: dict[tuple[object, ...], _Output] = {}
    for run in runs:
        if audio == "aac" and run.prologue.kind == "audio":
            key: tuple[object, ...] = (run.prologue.identity, run.prologue.name)
            if key not in outputs:
                made = AacTrack(file)
                outputs[key] = _Output(_named(made.stream, run), aac=made)
            outputs[key].runs.append(run)
            continue
        with av.open(run.open(), "r") as source:
            if len(source.streams) != 1:
                raise ExportError(f"an init run holds {len(source.streams)} tracks where one is due")
            template = source.streams[0]
            about, context = run.prologue, template.codec_context
            size = (getattr(context, "width", 0), getattr(context, "height", 0))
            key = (about.kind, about.identity, about.name, about.codec, size, context.extradata)
            if key not in outputs:
                stream = file.add_stream_from_template(template, opaque=True)
                stream.time_base = template.time_base
                outputs[key] = _Output(_named(stream, run))
            outputs[key].runs.append(run)
    return list(outputs.values())


def _named(stream: Any, run: MediaRun) -> Any:
    stream.metadata["handler_name"] = f"{run.prologue.identity} {run.prologue.name}".strip()
    return stream


def _aac_packets(
    output: _Output, track: AacTrack, origin_us: int, result: RemuxedFile
) -> Iterator[_TimedPacket]:
    """The packets of a stream that is encoded anew."""

    def timed(packets: Iterator[Any]) -> Iterator[_TimedPacket]:
        for packet in packets:
            start_s, duration_s = packet.pts * packet.time_base, (packet.duration or 0) * packet.time_base
            result.audio_s += float(duration_s)
            result.duration_s = max(result.duration_s, float(start_s + duration_s))
            yield _TimedPacket(packet.dts * packet.time_base, packet, output)

    for run, successor in zip(output.runs, [*output.runs[1:], None], strict=True):
        end_s = None if successor is None else Fraction(successor.first_us - origin_us, 1_000_000)
        with av.open(run.open(), "r") as source:
            shift_s = Fraction(run.zero_us - origin_us, 1_000_000)
            yield from timed(track.decode(source, shift_s=shift_s, end_s=end_s))
    yield from timed(track.finish())


def _packets(output: _Output, origin_us: int, result: RemuxedFile) -> Iterator[_TimedPacket]:
    """The packets of a stream, run after run, with their times in the file."""
    is_video = output.runs[0].prologue.kind == "video"
    for run, successor in zip(output.runs, [*output.runs[1:], None], strict=True):
        end_s = None if successor is None else Fraction(successor.first_us - origin_us, 1_000_000)
        with av.open(run.open(), "r") as source:
            for packet in source.demux():
                if packet.size == 0:  # the end of the run
                    continue
                duration_s = Fraction(packet.duration or 0) * packet.time_base
                time_s = _retime(packet, output, Fraction(run.zero_us - origin_us, 1_000_000))
                if time_s is None or (end_s is not None and time_s >= end_s):
                    result.dropped_packets += 1
                    continue
                output.last_dts = packet.dts
                if is_video:
                    result.video_frames += 1
                else:
                    result.audio_s += float(duration_s)
                result.duration_s = max(result.duration_s, float(time_s + duration_s))
                yield _TimedPacket(packet.dts * output.stream.time_base, packet, output)


def _retime(packet: Any, output: _Output, shift_s: Fraction) -> Fraction | None:
    """Move a packet to the file's timeline; None when it has no place after the one before it."""
    if packet.pts is None or packet.dts is None:
        return None
    source_base: Fraction = packet.time_base
    target_base: Fraction = output.stream.time_base
    scale, shift = source_base / target_base, round(shift_s / target_base)
    pts, dts = round(packet.pts * scale) + shift, round(packet.dts * scale) + shift
    if output.last_dts is not None and dts <= output.last_dts:
        dts = output.last_dts + 1
    if dts > pts:
        return None
    packet.pts, packet.dts = pts, dts
    packet.duration = round((packet.duration or 0) * scale)
    packet.time_base = target_base
    shown_s: Fraction = pts * target_base
    return shown_s
