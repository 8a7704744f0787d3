"""Routes that tell what a recording holds and prove it: manifest, proofs, tracks, segments."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from aiohttp import web

from orchestrator.web.errors import rfc3339
from orchestrator.web.playback_errors import TrackNotFoundError, recording_id_of, translated
from orchestrator.web.services import SERVICES
from vault.core.coverage import find_gaps
from vault.open_recording import OpenRecording, PlayRun, PlayTrack

_encode = msgspec.json.Encoder().encode
_CHUNK: Final = re.compile(r"(?:([0-9a-f-]{36})\.)?([1-9][0-9]{0,9})\.(0|[1-9][0-9]{0,9})\Z")
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,5}\Z")


async def get_manifest(request: web.Request) -> web.Response:
    """Give a recording's manifest, and its signed `note`; until there is one, the checkpoints that count."""
    recording_id = recording_id_of(request)
    with translated(recording_id):
        closing = await request.app[SERVICES].playback.closing(recording_id)
    heads = [{"attempt": head.attempt, "size": head.size, "root": head.root.hex()} for head in closing.heads]
    return _json(
        {
            "recording_id": recording_id,
            "is_complete": closing.manifest is not None,
            "manifest": closing.manifest,
            "note": closing.note,
            "checkpoints": heads,
        }
    )


async def prove_chunk(request: web.Request) -> web.Response:
    """Prove that chunk `ATTEMPT.LEAF` is in the signed tree, as C2SP tlog-proof: at most 1 KiB of text."""
    recording_id = recording_id_of(request)
    text = request.match_info["chunk"]
    match = _CHUNK.match(text)
    if match is None or match[1] not in (None, recording_id):
        raise TrackNotFoundError(
            f"{text[:60]!r} is no chunk of this recording; give ATTEMPT.LEAF, such as 1.0"
        )
    with translated(recording_id):
        proof = await request.app[SERVICES].playback.prove(recording_id, int(match[2]), int(match[3]))
    if proof is None:
        raise TrackNotFoundError(f"chunk {text[:60]} is not among those that count in this recording")
    return web.Response(text=proof, content_type="text/plain")


async def list_tracks(request: web.Request) -> web.Response:
    """Give the tracks of a recording on one timeline: who, what, from when to when, and the gaps."""
    recording_id, playback = recording_id_of(request), request.app[SERVICES].playback
    with translated(recording_id):
        recording = await playback.open(recording_id)
        return await playback.read(lambda: _json({"recording_id": recording_id, **_tracks_view(recording)}))


async def list_segments(request: web.Request) -> web.Response:
    """Give the runs of a track, each a file of its own, and where in it which segment lies."""
    recording_id, playback = recording_id_of(request), request.app[SERVICES].playback
    with translated(recording_id):
        recording = await playback.open(recording_id)
        track = track_of(recording, request)
        # Hours of segments take a while to write down, so not in the event loop.
        return await playback.read(
            lambda: _json(
                {
                    "recording_id": recording_id,
                    "is_complete": recording.manifest is not None,
                    "track": track.number,
                    "runs": [_run_view(run) for run in track.runs],
                }
            )
        )


def track_of(recording: OpenRecording, request: web.Request) -> PlayTrack:
    """Give the track that a path names.

    Raises:
        TrackNotFoundError: there is none of this number.
    """
    text = request.match_info["track"]
    number = int(text) if _NUMBER.match(text) else 0
    if not 1 <= number <= len(recording.tracks):
        raise TrackNotFoundError(f"this recording has no track {text[:20]}; it has {len(recording.tracks)}")
    return recording.tracks[number - 1]


def _tracks_view(recording: OpenRecording) -> dict[str, Any]:
    start = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=recording.media_start_us)
    manifest = recording.manifest
    tracks = [_track_view(track) for track in recording.tracks]
    return {
        "is_complete": manifest is not None,
        "media_start": rfc3339(start),
        "start_us": min((track["start_us"] for track in tracks), default=0),
        "end_us": max((track["end_us"] for track in tracks), default=0),
        "gaps": [] if manifest is None else manifest.gaps,
        "cut_marks_us": [] if manifest is None else manifest.cut_marks_us,
        "tracks": tracks,
    }


def _track_view(track: PlayTrack) -> dict[str, Any]:
    spans = sorted(
        (run.time_us(one.first_pts), run.time_us(one.first_pts + one.duration_pts))
        for run in track.runs
        for one in run.segments
    )
    return {
        "track": track.number,
        "kind": track.kind,
        "identity": track.identity,
        "name": track.name,
        "codecs": sorted({run.prologue.codec for run in track.runs}),
        "runs": len(track.runs),
        "start_us": spans[0][0] if spans else track.runs[0].offset_us,
        "end_us": max((end for _, end in spans), default=track.runs[0].offset_us),
        "gaps": [{"start_us": start, "end_us": end} for start, end in find_gaps(spans)],
    }


def _run_view(run: PlayRun) -> dict[str, Any]:
    about, base, head = run.prologue, run.indexed.time_base, len(run.init_part)
    return {
        "run": run.number,
        "attempt": run.indexed.attempt,
        "mime": about.mime,
        "codec": about.codec,
        "width": about.width,
        "height": about.height,
        "sample_rate": about.sample_rate,
        "channels": about.channels,
        "offset_us": run.offset_us,
        "time_base": [base.numerator, base.denominator],
        "init_bytes": head,
        "size_bytes": run.size_bytes,
        "segments": [
            {
                "leaf": one.leaf,
                "start_byte": head + one.start_byte,
                "size_bytes": one.size_bytes,
                "start_us": run.time_us(one.first_pts),
                "end_us": run.time_us(one.first_pts + one.duration_pts),
                "has_keyframe": one.has_keyframe,
            }
            for one in list(run.segments)
        ],
    }


def _json(value: object) -> web.Response:
    return web.Response(body=_encode(value), content_type="application/json")
