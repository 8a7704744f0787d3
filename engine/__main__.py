"""`python -m engine`: a LiveKit-compatible media server for this machine, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable
from typing import Final

import uvloop
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from engine.app import HTTP_LIMITS, make_app
from engine.rooms import Rooms
from engine.settings import Settings, SettingsError, load_settings
from engine.tokens import Claims
from engine.webhooks import Webhooks

NOT_DONE: Final = (
    "For development: one machine, loopback only. Production runs LiveKit. Not done here: congestion control,"
    " choice of layers, TURN, ICE over TCP, egress, ingress, SIP, agent dispatch, resuming (a full rejoin)"
)
_END_S: Final = 0.1  # for goodbyes to be written, and again for those who do not go


async def serve(settings: Settings) -> None:
    """Run until a signal.

    Raises:
        OSError: a port cannot be used.
    """
    from engine import signalling  # these two take half a second, which a refusal need not wait for
    from engine.ice import MediaPort

    ended = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, ended.set)
    media = await MediaPort.open(settings.host, settings.udp_port)
    try:
        async with Webhooks(settings.key, settings.webhook_urls, events=settings.webhook_events) as webhooks:
            rooms = Rooms(
                settings.key,
                webhooks.report,
                defaults=settings.room_defaults,
                auto_create=settings.auto_create,
            )

            def talk(request: web.Request, rooms: Rooms, claims: Claims) -> Awaitable[web.StreamResponse]:
                return signalling.serve(request, rooms, claims, media)

            app = make_app(rooms, settings.key, talk)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=_END_S, **HTTP_LIMITS)
            await runner.setup()
            try:
                await web.TCPSite(runner, settings.host, settings.port).start()
                host, port = runner.addresses[0][:2]
                print(f"engine ready at ws://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
                print(NOT_DONE, flush=True)
                await ended.wait()
                rooms.end()
            finally:
                await runner.cleanup()
    finally:
        media.close()


def main() -> None:
    """Start the engine; exit code 2 says that it cannot be started like this."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("aiohttp.server").addFilter(_keep_to_itself)
    try:
        settings = load_settings(sys.argv[1:], os.environ)
        uvloop.run(serve(settings))
    except (SettingsError, OSError) as error:
        print(f"engine: {error}", file=sys.stderr)
        sys.exit(2)


def _keep_to_itself(record: logging.LogRecord) -> bool:
    """Say of a request that cannot be read why, not what it was: aiohttp repeats tokens, with a traceback."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        record.msg, record.args = "a request cannot be read: %s", (type(error).__name__,)
        record.exc_info = None
    return True


if __name__ == "__main__":
    main()
