"""A worker in plain aiohttp that knows nothing of this project but the three routes of its wire contract.

    python -m examples.reference_worker --url http://127.0.0.1:8080 --service-id asr --port 8001

It registers by POST, serves `/join-room` and `/health`, and joins with the token that it is given. So looks a
worker that was written for another implementation of the same contract; it imports none of ours.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from contextlib import suppress

from aiohttp import ClientError, ClientSession, ClientTimeout, web
from livekit import rtc

log = logging.getLogger("reference_worker")


class ReferenceWorker:
    """Joins each room that it is asked to join, and stays until the room is closed."""

    def __init__(self, *, service_id: str, joins: bool) -> None:
        self.service_id = service_id
        self.joins = joins
        self.rooms: dict[str, rtc.Room] = {}

    def app(self) -> web.Application:
        """Make the routes of the contract."""
        app = web.Application()
        app.router.add_post("/join-room", self.join_room)
        app.router.add_get("/health", self.health)
        app.on_shutdown.append(self.leave_all)
        return app

    async def join_room(self, request: web.Request) -> web.Response:
        """Join, and answer when it is done; with `--no-join` only say that it is done."""
        body = await request.json()
        log.info("asked to join %s", body["room_name"])
        if self.joins:
            room = rtc.Room()
            try:
                await asyncio.wait_for(room.connect(body["livekit_url"], body["access_token"]), 10)
            except (rtc.ConnectError, TimeoutError) as error:
                return web.Response(status=500, text=f"Failed to join room: {type(error).__name__}")
            self.rooms[body["session_id"]] = room
        return web.json_response(
            {
                "success": True,
                "message": "Successfully joined room",
                "session_id": body["session_id"],
                "service_id": body["service_identity"],
            }
        )

    async def health(self, _: web.Request) -> web.Response:
        """Say that it lives."""
        return web.json_response({"status": "healthy"})

    async def leave_all(self, _: web.Application) -> None:
        """Leave the rooms at the end."""
        for room in self.rooms.values():
            await room.disconnect()

    async def register(self, url: str, endpoint: str) -> None:
        """Register until it is taken; the contract has no heartbeat, so once is enough."""
        body = {"service_id": self.service_id, "endpoint": endpoint, "metadata": {"type": "reference"}}
        async with ClientSession(timeout=ClientTimeout(total=5)) as http:
            while True:
                with suppress(ClientError, TimeoutError):
                    async with http.post(f"{url}/api/v1/microservices/register", json=body) as answer:
                        if answer.status == 200:
                            log.info("registered as %s at %s", self.service_id, endpoint)
                            return
                        log.warning("registration answered %d", answer.status)
                await asyncio.sleep(0.5)


async def serve(options: argparse.Namespace) -> None:
    """Listen, register, and stay until SIGTERM."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    worker = ReferenceWorker(service_id=options.service_id, joins=not options.no_join)
    runner = web.AppRunner(worker.app(), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", options.port).start()
        port = runner.addresses[0][1]
        await worker.register(options.url.rstrip("/"), f"http://127.0.0.1:{port}")
        print(f"registered {options.service_id} on port {port}", flush=True)
        await stopped.wait()
    finally:
        await runner.cleanup()


def main() -> None:
    """Read the command line and serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the orchestrator")
    parser.add_argument("--service-id", default="reference")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--no-join", action="store_true", help="say yes and stay away from the room")
    logging.basicConfig(level=logging.INFO)
    logging.getLogger("livekit").setLevel(logging.CRITICAL)  # it logs tokens that are refused
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
