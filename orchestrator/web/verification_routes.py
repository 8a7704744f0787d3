"""The route that checks all of a recording: its report as JSON, or as a stream that tells how far it is."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
from aiohttp import web

from orchestrator.service.feed import sse_frame
from orchestrator.service.playback import report_fields
from orchestrator.web.errors import DrainingError, EdgeError, error_bytes, internal_problem, problem_of
from orchestrator.web.middleware import IS_STREAM, request_id_of
from orchestrator.web.playback_errors import recording_id_of, translated
from orchestrator.web.services import SERVICES, Services
from orchestrator.web.sse import STREAM_HEADERS, WRITE_DEADLINE_S, write_frames
from vault.core.ids import RecordingId
from vault.verification_report import VerificationReport

PROGRESS_S: Final = 0.5  # between two frames

_encode = msgspec.json.Encoder().encode


async def verify_recording(request: web.Request) -> web.StreamResponse:
    """Check every file of a recording against the signing key; `Accept: text/event-stream` tells progress."""
    recording_id, services = recording_id_of(request), request.app[SERVICES]
    if "text/event-stream" in request.headers.get("Accept", ""):
        return await _stream(request, services, recording_id)
    with translated(recording_id):
        report = await services.playback.verify(recording_id)
    return web.Response(body=_encode(report_fields(report)), content_type="application/json")


async def _stream(request: web.Request, services: Services, recording_id: RecordingId) -> web.StreamResponse:
    """Tell progress until there is a report. What is refused at once has its status, later it is a frame."""
    reached = (0, 0)

    def progressed(done: int, total: int) -> None:
        nonlocal reached
        reached = done, total

    verifying = asyncio.create_task(services.playback.verify(recording_id, on_progress=progressed))
    response = web.StreamResponse(headers=STREAM_HEADERS)
    try:
        await asyncio.wait({verifying}, timeout=PROGRESS_S)
        if verifying.done():
            with translated(recording_id):
                verifying.result()
        request[IS_STREAM] = True
        await response.prepare(request)
        while not verifying.done() and not services.feed.is_stopping:
            data = {"bytes_done": reached[0], "bytes_total": reached[1]}
            await write_frames(response, sse_frame("progress", _encode(data)))
            await asyncio.wait({verifying}, timeout=PROGRESS_S)
        await write_frames(response, _last_frame(verifying, recording_id, request_id_of(request)))
        async with asyncio.timeout(WRITE_DEADLINE_S):
            await response.write_eof()
    except (TimeoutError, ConnectionResetError):
        if request.transport is not None:
            request.transport.abort()  # it does not read, or is gone
    finally:
        verifying.cancel()
        await asyncio.gather(verifying, return_exceptions=True)
    return response


def _last_frame(
    verifying: asyncio.Task[VerificationReport], recording_id: RecordingId, request_id: str
) -> bytes:
    try:
        if not verifying.done():
            raise DrainingError("this instance is stopping; ask another, or again")
        with translated(recording_id):
            return sse_frame("report", _encode(report_fields(verifying.result())))
    except EdgeError as error:
        return sse_frame("error", error_bytes(problem_of(error) or internal_problem(), request_id))
