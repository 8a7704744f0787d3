"""HLS of a recording: playlists, and the fragments of its runs moved to one timeline. H.264 and Opus only."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from orchestrator.web.hls_playlists import (
    Part,
    check_playable,
    list_parts,
    master_playlist,
    shift_ticks,
    track_playlist,
)
from orchestrator.web.media_routes import run_of
from orchestrator.web.playback_errors import TrackNotFoundError, recording_id_of, translated
from orchestrator.web.playback_routes import track_of
from orchestrator.web.services import SERVICES
from vault.core.mp4_times import shift_fragments
from vault.open_recording import OpenRecording, PlayRun, PlayTrack

_PLAYLIST: Final = "application/vnd.apple.mpegurl"


async def hls_master(request: web.Request) -> web.Response:
    """Give the HLS playlist of all tracks of a recording; 409 when one is neither H.264 nor Opus."""
    recording = await _open(request)
    text = await request.app[SERVICES].playback.read(lambda: master_playlist(recording))
    return web.Response(text=text, content_type=_PLAYLIST)


async def hls_track(request: web.Request) -> web.Response:
    """Give the HLS playlist of one track; while the recording grows, of what is over of it."""
    recording = await _open(request)
    track = track_of(recording, request)
    text = await request.app[SERVICES].playback.read(lambda: track_playlist(recording, track))
    return web.Response(text=text, content_type=_PLAYLIST)


async def hls_part(request: web.Request) -> web.Response:
    """Give an init part (`init.mp4`) or a media part of a track's run, as its playlist names it."""
    recording_id, playback = recording_id_of(request), request.app[SERVICES].playback
    recording = await _open(request)
    track = track_of(recording, request)
    run, name = run_of(track, request.match_info["run"]), request.match_info["part"]
    content_type = run.prologue.mime.partition(";")[0]
    if name == "init.mp4":
        return web.Response(body=run.init_part, content_type=content_type)
    with translated(recording_id):
        part = await playback.read(lambda: _find(recording, track, run, name))
        if part is None:
            sentence = f"{name[:40]!r} is no part of run {run.number} of track {track.number}"
            raise TrackNotFoundError(sentence)
        media = await playback.read_segments(recording, run, run.segments[part.first : part.last + 1])
        # A few numbers in a copy of some seconds of media: no work for a thread.
        return web.Response(body=shift_fragments(media, shift_ticks(run)), content_type=content_type)


def _find(recording: OpenRecording, track: PlayTrack, run: PlayRun, name: str) -> Part | None:
    wanted = f"{run.number}/{name}"
    parts = list_parts(track, is_complete=recording.manifest is not None)
    return next((part for part in parts if part.name == wanted), None)


async def _open(request: web.Request) -> OpenRecording:
    recording_id = recording_id_of(request)
    with translated(recording_id):
        recording = await request.app[SERVICES].playback.open(recording_id)
    check_playable(recording)
    return recording
