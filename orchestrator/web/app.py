"""The HTTP application: all routes in one list, and what stands around them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from aiohttp import web

from orchestrator.web import (
    export_routes,
    health,
    hls_routes,
    media_routes,
    participant_routes,
    playback_routes,
    player_routes,
    record_routes,
    recording_routes,
    session_routes,
    storage_routes,
    verification_routes,
    webhook_routes,
    webhook_target_routes,
    worker_routes,
)
from orchestrator.web.browser_checks import BROWSERS, BrowserChecks
from orchestrator.web.errors import MAX_BODY_BYTES, error_response, expectation_problem
from orchestrator.web.health import READINESS, Readiness
from orchestrator.web.middleware import edge_middleware, header_signal, request_id_of
from orchestrator.web.missing_recordings import say_where_it_is
from orchestrator.web.services import SERVICES, Services
from orchestrator.web.session_routes import STREAMS
from orchestrator.web.sse import EventStreams
from orchestrator.web.worker_routes import WORKER_SOCKETS
from orchestrator.web.worker_sockets import WorkerSockets
from vault.uploads import MAX_PART_BYTES

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One route. ``is_lasting``: its answer lasts (a stream, a socket), so it has no HEAD.

    ``max_body_bytes``: what `Expect` may announce; the handler reads no more either.
    """

    method: str
    path: str
    handler: Handler
    is_lasting: bool = False
    max_body_bytes: int = MAX_BODY_BYTES


API: Final = "/api/v1"
_SESSION: Final = f"{API}/sessions/{{session_id}}"
_SERVICE: Final = f"{API}/microservices/{{service_id}}"
_RECORDING: Final = f"{API}/recordings/{{recording_id}}"
_WEBHOOK: Final = f"{API}/webhooks/{{webhook_id}}"

ROUTES: Final = (
    Route("GET", "/health", health.health),
    Route("GET", "/ready", health.ready),
    Route("GET", "/metrics", health.metrics),
    Route("GET", "/version", health.version),
    Route("POST", f"{API}/create-session", session_routes.create_session),
    Route("POST", f"{API}/sessions", session_routes.streaming_create, is_lasting=True),
    Route("GET", _SESSION, session_routes.get_session),
    Route("POST", f"{_SESSION}/terminate", session_routes.terminate_session),
    Route("POST", f"{_SESSION}/token", session_routes.give_token),
    Route("POST", f"{_SESSION}/ready", session_routes.service_ready),
    Route("GET", f"{_SESSION}/participants", participant_routes.list_participants),
    Route("DELETE", f"{_SESSION}/participants/{{identity}}", participant_routes.remove_participant),
    Route("GET", f"{_SESSION}/events", session_routes.session_events, is_lasting=True),
    Route("GET", f"{API}/events", session_routes.all_events, is_lasting=True),
    Route("POST", f"{API}/record/start", record_routes.start_recording),
    Route("POST", f"{API}/record/stop", record_routes.stop_recording),
    Route("POST", f"{API}/record/pause", record_routes.pause_recording),
    Route("POST", f"{API}/record/resume", record_routes.resume_recording),
    Route("GET", f"{API}/record/status/{{session_id}}", record_routes.recording_status),
    Route("GET", f"{API}/recordings", recording_routes.list_recordings),
    Route("GET", _RECORDING, recording_routes.get_recording),
    Route("DELETE", _RECORDING, recording_routes.delete_recording),
    Route("POST", f"{_RECORDING}/legal-hold", recording_routes.hold_recording),
    Route("DELETE", f"{_RECORDING}/legal-hold", recording_routes.release_recording),
    Route("GET", f"{_RECORDING}/manifest", playback_routes.get_manifest),
    Route("GET", f"{_RECORDING}/verify", verification_routes.verify_recording),
    Route("GET", f"{_RECORDING}/proof/{{chunk}}", playback_routes.prove_chunk),
    Route("GET", f"{_RECORDING}/tracks", playback_routes.list_tracks),
    Route("GET", f"{_RECORDING}/tracks/{{track}}/segments", playback_routes.list_segments),
    Route("GET", f"{_RECORDING}/tracks/{{track}}/media", media_routes.get_media),
    Route("POST", f"{_RECORDING}/export", export_routes.make_export),
    Route("GET", f"{_RECORDING}/export", export_routes.get_export),
    Route("GET", f"{_RECORDING}/hls/master.m3u8", hls_routes.hls_master),
    Route("GET", f"{_RECORDING}/hls/{{track}}.m3u8", hls_routes.hls_track),
    Route("GET", f"{_RECORDING}/hls/{{track}}/{{run}}/{{part}}", hls_routes.hls_part),
    Route("GET", "/recordings/{recording_id}/play", player_routes.play),
    Route("GET", "/player/{name}", player_routes.player_file),
    Route("POST", f"{API}/storage/chunks", storage_routes.store_chunk, max_body_bytes=MAX_PART_BYTES),
    Route("GET", f"{API}/storage/chunks/{{chunk_id}}", storage_routes.get_chunk),
    Route("POST", f"{API}/storage/merkle", storage_routes.close_upload),
    Route("POST", f"{API}/microservices/register", worker_routes.register_worker),
    Route("GET", f"{API}/microservices", worker_routes.list_workers),
    Route("GET", _SERVICE, worker_routes.get_service),
    Route("DELETE", _SERVICE, worker_routes.unregister_worker),
    Route("POST", f"{_SERVICE}/heartbeat", worker_routes.heartbeat),
    Route("POST", f"{API}/workers/{{worker_id}}/drain", worker_routes.drain_worker),
    Route("GET", f"{API}/workers/connect", worker_routes.connect_worker, is_lasting=True),
    Route("POST", f"{API}/webhooks", webhook_target_routes.register_webhook),
    Route("GET", f"{API}/webhooks", webhook_target_routes.list_webhooks),
    Route("GET", _WEBHOOK, webhook_target_routes.get_webhook),
    Route("DELETE", _WEBHOOK, webhook_target_routes.delete_webhook),
    Route("POST", f"{_WEBHOOK}/pause", webhook_target_routes.pause_webhook),
    Route("POST", f"{_WEBHOOK}/resume", webhook_target_routes.resume_webhook),
    Route("GET", f"{_WEBHOOK}/dead-letters", webhook_target_routes.list_dead_letters),
    Route("POST", f"{_WEBHOOK}/redeliver", webhook_target_routes.redeliver),
    Route("POST", f"{API}/livekit/webhook", webhook_routes.livekit_webhook),
)


def build_app(services: Services) -> web.Application:
    """Make the application; the feed must be open, and is run by its owner."""
    origins = services.settings.server.cors_origins
    browsers = BrowserChecks(services.settings.server)
    app = web.Application(
        middlewares=[edge_middleware(services.metrics, origins, browsers), say_where_it_is],
        client_max_size=MAX_BODY_BYTES,
    )
    app[BROWSERS] = browsers
    app[SERVICES] = services
    app[READINESS] = Readiness(services)
    app[STREAMS] = EventStreams(feed=services.feed, store=services.store, metrics=services.metrics)
    app[WORKER_SOCKETS] = WorkerSockets(services.pull)
    for route in ROUTES:
        _add(app, route, route.path)
        if route.path.startswith(f"{API}/sessions"):  # the same resource answers under both names
            _add(app, route, route.path.removeprefix(API))
    app.on_response_prepare.append(header_signal(origins))
    app.on_shutdown.append(_end_what_lasts)
    return app


def _add(app: web.Application, route: Route, path: str) -> None:
    expect = partial(_expect, max_body_bytes=route.max_body_bytes)
    app.router.add_route(route.method, path, route.handler, expect_handler=expect)
    if route.method == "GET" and not route.is_lasting:
        app.router.add_route("HEAD", path, route.handler)


async def _expect(request: web.Request, *, max_body_bytes: int) -> web.StreamResponse | None:
    """Answer `Expect`: go on with the body, unless it is too large or the expectation is unknown."""
    problem = expectation_problem(
        request.headers.get("Expect", ""), request.content_length, max_body_bytes=max_body_bytes
    )
    if problem is not None:
        return error_response(problem, request_id_of(request))  # the middleware comes after this
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # the answer has not begun yet
    return None


async def _end_what_lasts(app: web.Application) -> None:
    """End streams and sockets ourselves: aiohttp waits for them at shutdown."""
    app[SERVICES].feed.end_readers()
    await app[WORKER_SOCKETS].close()
