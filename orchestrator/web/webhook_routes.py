"""The route by which LiveKit tells what happens in its rooms: verified, persisted, then answered."""

from __future__ import annotations

from aiohttp import web

from orchestrator.core.errors import OrchestratorError, WebhookRefusedError
from orchestrator.web.bodies import read_body
from orchestrator.web.services import SERVICES


async def livekit_webhook(request: web.Request) -> web.Response:
    """Take a webhook. 200 means persisted (or of no interest); only a bad signature is a 4xx.

    LiveKit drops what it got a 4xx for and sends again what it got a 5xx for: one that comes early, late or
    for a room that is not ours is therefore accepted.
    """
    services = request.app[SERVICES]
    body = await read_body(request)
    try:
        notice = services.verifier.verify(body, request.headers.get("Authorization", ""))
    except WebhookRefusedError:
        services.metrics.webhook("refused")
        raise
    try:
        await services.webhooks.accept(notice)
    except OrchestratorError:
        services.metrics.webhook("failed")
        raise
    services.metrics.webhook("accepted")
    return web.json_response({"success": True})
