"""The media of one init run as a file, whole or by ranges; every byte is authenticated before it leaves."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Final

from aiohttp import hdrs, web

from orchestrator.service.playback import Playback
from orchestrator.web.byte_ranges import is_known, range_of
from orchestrator.web.errors import Problem, error_response
from orchestrator.web.middleware import IS_STREAM, request_id_of
from orchestrator.web.playback_errors import TrackNotFoundError, recording_id_of, translated
from orchestrator.web.playback_routes import track_of
from orchestrator.web.services import SERVICES
from vault.core.ids import RecordingId
from vault.open_recording import PlayRun, PlayTrack

WRITE_DEADLINE_S: Final = 60.0  # a client that takes nothing for so long is cut
_NUMBER: Final = re.compile(r"(0|[1-9][0-9]{0,5})\Z")


async def get_media(request: web.Request) -> web.StreamResponse:
    """Give the file of run `?run=N` (default 0) of a track, init part first; with `Range` a part of it."""
    playback, recording_id = request.app[SERVICES].playback, recording_id_of(request)
    with translated(recording_id):
        recording = await playback.open(recording_id)
    run = run_of(track_of(recording, request), request.query.get("run", "0"))
    size, etag = run.size_bytes, etag_of(recording_id, run)
    if is_known(request, etag):
        return web.Response(status=304, headers={hdrs.ETAG: etag})
    part = range_of(request, size=size, etag=etag)
    if part is None:
        return unsatisfiable(request, size)
    headers = {**part.headers, hdrs.ETAG: etag, hdrs.CONTENT_TYPE: run.prologue.mime}
    answer = web.StreamResponse(status=206 if part.is_part else 200, headers=headers)
    if request.method == hdrs.METH_HEAD:
        await answer.prepare(request)
        return answer
    parts = recording.read(run, start=part.start, end=part.end)
    first = await _next(playback, recording_id, parts)  # before the head: what is bad has its own status
    await answer.prepare(request)
    try:
        data = first
        while data:
            async with asyncio.timeout(WRITE_DEADLINE_S):
                await answer.write(data)
            data = await _next(playback, recording_id, parts)
        async with asyncio.timeout(WRITE_DEADLINE_S):
            await answer.write_eof()
    except ConnectionError:
        return answer  # who asked has left: a player that seeks does
    except BaseException:
        request[IS_STREAM] = True  # the answer has begun: cut the line, so that it does not pass for whole
        raise
    return answer


async def _next(playback: Playback, recording_id: RecordingId, parts: Iterator[bytes]) -> bytes:
    with translated(recording_id):
        return await playback.read(lambda: next(parts, b""))


def run_of(track: PlayTrack, text: str) -> PlayRun:
    """Give the run that a request names.

    Raises:
        TrackNotFoundError: the track has none of this number.
    """
    number = int(text) if _NUMBER.match(text) else -1
    if not 0 <= number < len(track.runs):
        raise TrackNotFoundError(f"track {track.number} has no run {text[:20]!r}; it has {len(track.runs)}")
    return track.runs[number]


def etag_of(recording_id: RecordingId, run: PlayRun) -> str:
    """Name a run's bytes as they are now: chunks never change, so the last one says which there are."""
    last = run.segments[-1].leaf if run.segments else run.indexed.init_leaf
    return f'"{recording_id}.{run.indexed.attempt}.{run.indexed.init_leaf}-{last}"'


def unsatisfiable(request: web.Request, size: int) -> web.Response:
    """Answer a range that begins behind the end."""
    problem = Problem(
        status=416,
        error="RangeNotSatisfiable",
        message=f"the range begins behind the end: there are {size} bytes",
        details={"size": size},
        headers={hdrs.CONTENT_RANGE: f"bytes */{size}", hdrs.ACCEPT_RANGES: "bytes"},
    )
    return error_response(problem, request_id_of(request))
