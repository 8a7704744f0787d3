"""The event watcher prints each event in one line and ends with its session."""

from __future__ import annotations

import pytest
from aiohttp import web

from examples.watch_events import watch


async def test_it_prints_until_the_session_is_over(capsys: pytest.CaptureFixture[str]) -> None:
    async def events(request: web.Request) -> web.StreamResponse:
        assert request.path == "/api/v1/sessions/s1/events"
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b'event: session_created\nid: 1:1\ndata: {"session_id":"s1"}\n\n')
        await response.write(b'event: session_terminated\nid: 1:2\ndata: {"end_reason":"done"}\n\n')
        return response

    app = web.Application()
    app.router.add_get("/{path:.*}", events)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        await watch(f"http://127.0.0.1:{runner.addresses[0][1]}", "s1", from_start=False)
    finally:
        await runner.cleanup()
    assert capsys.readouterr().out.splitlines() == [
        '1:1 session_created {"session_id": "s1"}',
        '1:2 session_terminated {"end_reason": "done"}',
    ]
