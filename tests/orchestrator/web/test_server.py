"""The server under the application: an address that is taken, and an end that waits for nobody."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiohttp import web

from orchestrator.core.errors import SettingsError
from orchestrator.web.server import listening
from tests.orchestrator.web.world import World


async def test_a_taken_port_is_one_sentence() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(
            SettingsError, match=rf"SERVER_PORT\) = {port}: cannot listen .*choose another port"
        ):
            async with listening(web.Application(), "127.0.0.1", port, shutdown_timeout_s=1):
                pass


async def test_the_end_does_not_wait_for_streams(world: World) -> None:
    async with asyncio.timeout(3), world.running() as client:
        await client.get("/api/v1/events")
        await client.get("/api/v1/events?from=start")
