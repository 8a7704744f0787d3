"""Says what became of a recording that the chunk store does not have and the catalog knows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from orchestrator.core.errors import RecordingNotFoundError as UnknownRecordingError
from orchestrator.core.ids import RecordingId
from orchestrator.web.errors import rfc3339
from orchestrator.web.playback_errors import (
    ChunkStoreError,
    RecordingNotFoundError,
    RecordingShreddedError,
)
from orchestrator.web.services import SERVICES


@web.middleware
async def say_where_it_is(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turn the 404 of a route that reads a recording into 410 or 503, where the catalog knows more."""
    try:
        return await handler(request)
    except RecordingNotFoundError:
        services = request.app[SERVICES]
        named = request.match_info  # of a chunk: RECORDING.ATTEMPT.LEAF
        recording_id = named.get("recording_id") or named.get("chunk_id", "").partition(".")[0]
        try:
            entry = await services.catalog.entry(RecordingId(recording_id))
        except UnknownRecordingError:
            entry = None
        if entry is None:
            raise
        deletion, here = entry.custody.deletion, services.keeping.stored.url
        if deletion is not None and deletion.done_at is not None:
            sentence = f"recording {entry.id} was deleted at {rfc3339(deletion.done_at)} ({deletion.cause})"
            raise RecordingShreddedError(sentence) from None
        if entry.record.store in ("", here):
            raise
        raise ChunkStoreError(
            f"recording {entry.id} lies in {entry.record.store}, and this orchestrator reads {here};"
            " let [recording] chunk_store be the recorder's"
        ) from None
