"""The client example ends the session that it made, whether somebody answered its ping or not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web
from livekit import api, rtc

from examples.ask_for_room import ask, ping
from examples.pong_worker import PING_TOPIC, PONG_TOPIC
from sdk.errors import NotFoundError


async def test_the_session_is_ended_also_when_the_room_fails(capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        calls.append(request.path)
        if request.path.endswith("/create-session"):
            body = {
                "session_id": "s1",
                "room_name": "r",
                "access_token": "not-a-token",
                "livekit_url": "ws://127.0.0.1:9",
                "status": "Ready",
            }
            return web.json_response(body)
        error = {"error": "SessionNotFound", "message": "Session not found: s1", "timestamp": "t"}
        return web.json_response(error, status=404)

    app = web.Application()
    app.router.add_post("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        with pytest.raises(NotFoundError):
            await asyncio.wait_for(ask(f"http://127.0.0.1:{runner.addresses[0][1]}", "ada"), 10)
    finally:
        await runner.cleanup()
    assert calls == ["/api/v1/create-session", "/api/v1/sessions/s1/terminate"]
    assert capsys.readouterr().out == "session s1 Ready\n"


@pytest.mark.integration
async def test_the_ping_is_played_in_a_real_room(
    livekit_server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def token(identity: str) -> str:
        access = api.AccessToken(livekit_server.api_key, livekit_server.api_secret).with_identity(identity)
        return str(access.with_grants(api.VideoGrants(room_join=True, room="ask-for-room")).to_jwt())

    http_url = livekit_server.url.replace("ws", "http", 1)
    async with api.LiveKitAPI(http_url, livekit_server.api_key, livekit_server.api_secret) as livekit:
        await livekit.room.create_room(api.CreateRoomRequest(name="ask-for-room", empty_timeout=60))
        worker, answers = rtc.Room(), set[asyncio.Task[None]]()

        def on_data(packet: rtc.DataPacket) -> None:
            if packet.topic == PING_TOPIC:
                answer = worker.local_participant.publish_data(b"pong", topic=PONG_TOPIC)
                answers.add(asyncio.create_task(answer))

        worker.on("data_received", on_data)
        await worker.connect(livekit_server.url, token("worker"))
        try:
            await ping(livekit_server.url, token("ada"))
        finally:
            await worker.disconnect()
            await livekit.room.delete_room(api.DeleteRoomRequest(room="ask-for-room"))
    assert capsys.readouterr().out.startswith("pong after ")
