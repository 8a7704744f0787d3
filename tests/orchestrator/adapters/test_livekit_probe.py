"""The probe: tells a server that makes rooms by itself from one that does not, and makes none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from orchestrator.adapters.livekit_probe import is_auto_create_on, warn_of_auto_create
from orchestrator.adapters.livekit_tokens import LivekitTokens
from orchestrator.core.errors import RoomServerError, RoomServerUnavailableError
from orchestrator.core.ids import RoomName
from tests.contracts.test_room_server import make_livekit_rooms
from tests.integration.servers import LiveKitFactory, SharedLiveKit

TOKENS = LivekitTokens(api_key="key", api_secret="s" * 40, ttl_s=60)


@asynccontextmanager
async def answering(status: int) -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.Response:
        assert request.path == "/rtc/validate"
        assert not request.query_string  # a token belongs into no URL
        return web.Response(status=status, text=request.headers["Authorization"])

    app = web.Application()
    app.router.add_get("/rtc/validate", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield "ws://{}:{}".format(*runner.addresses[0][:2])
    await runner.cleanup()


async def test_answers(unused_tcp_port: int) -> None:
    for status, is_on in ((200, True), (404, False)):
        async with answering(status) as url:
            assert await is_auto_create_on(url, TOKENS, room_name=RoomName("r")) is is_on
    async with answering(401) as url:
        with pytest.raises(RoomServerError, match=r"check livekit\.api_key") as caught:
            await is_auto_create_on(url, TOKENS, room_name=RoomName("r"))
        assert "Bearer" not in str(caught.value)
    async with answering(500) as url:
        with pytest.raises(RoomServerUnavailableError, match="status 500"):
            await is_auto_create_on(url, TOKENS, room_name=RoomName("r"))
    with pytest.raises(RoomServerUnavailableError, match="cannot be reached"):
        await is_auto_create_on(f"ws://127.0.0.1:{unused_tcp_port}", TOKENS, room_name=RoomName("r"))


@pytest.mark.parametrize(
    ("status", "word"), [(200, "auto_create_is_on"), (404, ""), (500, "auto_create_not_checked")]
)
async def test_a_server_that_makes_rooms_by_itself_is_warned_of(status: int, word: str) -> None:
    async with answering(status) as url:
        with capture_logs() as logs:
            await warn_of_auto_create(url, TOKENS, room_name=RoomName("r"))
    assert [line["event"] for line in logs] == ([word] if word else [])


@pytest.mark.integration
@pytest.mark.parametrize("auto_create", [True, False])
async def test_the_real_server(fresh_real_livekit_server: LiveKitFactory, auto_create: bool) -> None:
    server = fresh_real_livekit_server(overrides={"room": {"auto_create": auto_create}})
    tokens = LivekitTokens(api_key=server.api_key, api_secret=server.api_secret, ttl_s=60)
    name = RoomName(f"probe-{uuid4()}")
    assert await is_auto_create_on(server.url, tokens, room_name=name) is auto_create
    shared = SharedLiveKit(
        url=server.url,
        api_key=server.api_key,
        api_secret=server.api_secret,
        webhooks=None,  # type: ignore[arg-type]
    )
    rooms = make_livekit_rooms(shared)
    await rooms.open()
    assert await rooms.list_rooms() == []
    await rooms.close()
