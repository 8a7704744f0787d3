"""Routes that make one playable file of a recording, and serve it."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from aiohttp import web

from orchestrator.core.errors import RecordingNotFoundError as UnknownRecordingError
from orchestrator.core.ids import RecordingId
from orchestrator.service.exports import Export
from orchestrator.web.errors import FieldProblem, FieldsError
from orchestrator.web.playback_errors import (
    NotPlayableError,
    TrackNotFoundError,
    recording_id_of,
    translated,
)
from orchestrator.web.services import SERVICES, Services
from vault.adapters.pyav_remuxer import AudioForm
from vault.core.ids import RecordingId as StoredId

_TYPES: Final = {".mp4": "video/mp4", ".webm": "video/webm", ".mkv": "video/x-matroska"}

_encode = msgspec.json.Encoder().encode


async def make_export(request: web.Request) -> web.Response:
    """Make one playable file of a recording, `?audio=aac` for AAC; 202 until it is there, then 200."""
    export = await _export(request, is_asked=True)
    assert export is not None
    return _status(export)


async def get_export(request: web.Request) -> web.StreamResponse:
    """Give the file that was made of a recording, with `Range`; 202 and how far it is until it is there."""
    export = await _export(request, is_asked=False)
    if export is None:
        raise TrackNotFoundError("there is no export of this recording, or no more; POST to this path first")
    if export.state == "failed":
        with translated(export.recording_id):
            raise export.error or NotPlayableError("the export failed; the log has more; POST to try again")
    if export.state != "ready" or export.path is None:
        return _status(export)
    name = f"recording-{export.recording_id}{export.path.suffix}"
    headers = {
        "Content-Type": _TYPES[export.path.suffix],
        "Content-Disposition": f'attachment; filename="{name}"',
    }
    return web.FileResponse(export.path, headers=headers)


async def _export(request: web.Request, *, is_asked: bool) -> Export | None:
    recording_id, audio = recording_id_of(request), _audio(request)
    services = request.app[SERVICES]
    playback, wish = services.playback, await _format_of(services, recording_id)
    with translated(recording_id):
        recording = await playback.open(recording_id)  # also: may it still be read at all
        act = playback.exports.ask if is_asked else playback.exports.look
        return await playback.read(lambda: act(recording, recording_id, audio, wish))


async def _format_of(services: Services, recording_id: StoredId) -> str:
    """Give the format that a recording was started with; "" of one that the catalog does not know."""
    try:
        return (await services.catalog.entry(RecordingId(recording_id))).record.format
    except UnknownRecordingError:
        return ""


def _audio(request: web.Request) -> AudioForm:
    match request.query.get("audio", "copy"):
        case "copy":
            return "copy"
        case "aac":
            return "aac"
        case other:
            sentence = f"{other[:20]!r} is neither 'copy' (as recorded) nor 'aac'"
            raise FieldsError([FieldProblem("audio", sentence)])


def _status(export: Export) -> web.Response:
    url = f"/api/v1/recordings/{export.recording_id}/export"
    told: dict[str, Any] = {
        "recording_id": export.recording_id,
        "audio": export.audio,
        "state": export.state,
        "bytes_done": export.bytes_done,
        "bytes_total": export.bytes_total,
        "url": url if export.audio == "copy" else f"{url}?audio={export.audio}",
    }
    status = 200 if export.state == "ready" else 202
    return web.Response(status=status, body=_encode(told), content_type="application/json")
