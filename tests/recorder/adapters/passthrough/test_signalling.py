"""Signalling with a server that refuses, hangs up or falls silent."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from livekit.protocol import rtc

from recorder.adapters.passthrough import signalling
from recorder.adapters.passthrough.signalling import SignallingError, joined

TOKEN = "eyJsecret.of.somebody"


async def serve(handler: object) -> TestServer:
    app = web.Application()
    app.router.add_get("/rtc", handler)  # type: ignore[arg-type]
    server = TestServer(app)
    await server.start_server()
    return server


def url_of(server: TestServer) -> str:
    return f"ws://127.0.0.1:{server.port}"


@pytest.mark.parametrize(("status", "is_refused"), [(401, True), (404, True), (503, False)])
async def test_a_refusal_is_said_without_the_token(status: int, is_refused: bool) -> None:
    async def refuse(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        assert TOKEN not in str(request.url)
        return web.Response(status=status, text=f"no {TOKEN}")

    server = await serve(refuse)
    with pytest.raises(SignallingError) as caught:
        async with joined(url_of(server), TOKEN):
            pass
    assert caught.value.is_refused is is_refused
    assert TOKEN not in str(caught.value)
    assert caught.value.__cause__ is None
    await server.close()


async def test_a_server_that_is_not_there_is_said() -> None:
    with pytest.raises(SignallingError, match="not reached"):
        async with joined("ws://127.0.0.1:9", TOKEN):
            pass


async def test_a_first_word_other_than_join_is_a_refusal() -> None:
    async def leave(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_bytes(rtc.SignalResponse(leave=rtc.LeaveRequest()).SerializeToString())
        return socket

    server = await serve(leave)
    with pytest.raises(SignallingError, match="did not let us in"):
        async with joined(url_of(server), TOKEN):
            pass
    await server.close()


async def test_silence_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signalling, "_SILENCE_S", 0.1)
    heard: list[str] = []

    async def join(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_bytes(rtc.SignalResponse(join=rtc.JoinResponse()).SerializeToString())
        async for message in socket:
            heard.append(rtc.SignalRequest.FromString(message.data).WhichOneof("message"))
        return socket

    server = await serve(join)
    async with joined(url_of(server), TOKEN) as connection:
        with pytest.raises(SignallingError, match="silent"):
            async for _ in connection.messages():
                pass
    await server.close()
    assert heard == ["leave"]
