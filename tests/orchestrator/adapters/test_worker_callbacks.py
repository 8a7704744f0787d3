"""Calls of push workers, against a real server: what counts as yes, as no, and as not known."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import ResolveResult
from structlog.testing import capture_logs

from orchestrator.adapters import guarded_http
from orchestrator.adapters.worker_callbacks import WorkerCallbacks
from sdk.wire import JoinRoom, LeaveRoom
from tests.fakes.resolver import FixedResolver

TOKEN = "token-that-nobody-may-read"
SECRET_BODY = "the body of the worker's answer"
JOIN = JoinRoom(
    room_name="room",
    session_id="s1",
    service_identity="asr",
    access_token=TOKEN,
    livekit_url="ws://127.0.0.1:7880",
    job_id="s1-1",
    attempt=1,
)
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
LEAVE = LeaveRoom(session_id="s1", room_name="room")

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
async def caller() -> AsyncIterator[WorkerCallbacks]:
    made = WorkerCallbacks(allow_private=True, notify_timeout_s=0.3, probe_timeout_s=0.3, now=lambda: NOW)
    await made.open()
    yield made
    await made.close()


@asynccontextmanager
async def worker(answer: Answer) -> AsyncIterator[str]:
    """Serve one answer for every path; gives the endpoint."""
    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)  # type: ignore[arg-type]
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def raw_worker(answer: bytes | None) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Read a request, send these bytes (None: a reset) and close; gives the endpoint and what was read."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        if answer is None:
            writer.transport.abort()
            return
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen
    finally:
        server.close()
        await server.wait_closed()


def status(code: int, **headers: str) -> Answer:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=code, text="" if code == 204 else SECRET_BODY, headers=named)

    return answer


# --- join-room ---


async def test_the_request_is_what_the_contract_says(caller: WorkerCallbacks) -> None:
    seen = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        seen.append((request.method, request.path, request.content_type, await request.json()))
        return web.json_response({"success": True})

    async with worker(answer) as endpoint:
        assert (await caller.join_room(endpoint + "/", JOIN)).answer == "yes"
        assert (await caller.leave_room(endpoint, LEAVE)).answer == "yes"
        assert (await caller.join_room(endpoint + "/prefix", JOIN)).answer == "yes"
    body = {
        "room_name": "room",
        "session_id": "s1",
        "service_identity": "asr",
        "access_token": TOKEN,
        "livekit_url": "ws://127.0.0.1:7880",
        "job_id": "s1-1",
        "attempt": 1,
    }
    assert seen == [
        ("POST", "/join-room", "application/json", body),
        ("POST", "/leave-room", "application/json", {"session_id": "s1", "room_name": "room"}),
        ("POST", "/prefix/join-room", "application/json", body),
    ]


@pytest.mark.parametrize("code", [200, 201, 202, 204, 299])
async def test_any_2xx_is_a_yes(caller: WorkerCallbacks, code: int) -> None:
    async with worker(status(code)) as endpoint:
        assert (await caller.join_room(endpoint, JOIN)).answer == "yes"


@pytest.mark.parametrize("code", [302, 307, 400, 404, 405, 500, 503])
async def test_any_other_status_is_a_no_and_nothing_of_the_body_is_passed_on(
    caller: WorkerCallbacks, code: int
) -> None:
    async with worker(status(code)) as endpoint:
        outcome = await caller.join_room(endpoint, JOIN)
    assert outcome.answer == "no"
    assert outcome.detail == f"the worker answered /join-room with status {code}"
    assert outcome.retry_after_s is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("99999999999", 3600.0),
        ("9" * 400, 3600.0),
        ("-1", None),
        ("1.5", None),
        ("Sat, 21 Nov 2026 12:00:20 GMT", 20.0),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0.0),
        ("Sat, 21 Nov 2026 13:00:20 +0100", 20.0),
        ("Mon, 21 Nov 2099 12:00:00 GMT", 3600.0),
        ("Sat, 42 Nov 2026 12:00:00 GMT", None),
        ("soon", None),
        ("\u00b2", None),
        ("\u0667", None),
        ("", None),
    ],
)
async def test_retry_after_is_taken_in_seconds_and_as_a_date(
    caller: WorkerCallbacks, value: str, seconds: float | None
) -> None:
    async with worker(status(503, Retry_After=value)) as endpoint:
        outcome = await caller.join_room(endpoint, JOIN)
    assert (outcome.answer, outcome.retry_after_s) == ("no", seconds)
    assert outcome.detail == "the worker answered /join-room with status 503"


async def test_redirects_are_not_followed(caller: WorkerCallbacks) -> None:
    paths = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        paths.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async with worker(answer) as endpoint:
        assert (await caller.join_room(endpoint, JOIN)).answer == "no"
        assert (await caller.leave_room(endpoint, LEAVE)).answer == "no"
        assert await caller.is_healthy(endpoint)
    assert paths == ["/join-room", "/leave-room", "/health"]


async def test_no_answer_in_time_is_not_known(caller: WorkerCallbacks) -> None:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(5)
        raise AssertionError("nobody waits that long")

    async with worker(answer) as endpoint:
        outcome = await caller.join_room(endpoint, JOIN)
        assert outcome.answer == "unknown"
        assert outcome.detail == "the worker did not answer /join-room in time"
        assert not await caller.is_healthy(endpoint)


async def test_nobody_listening_is_a_no(caller: WorkerCallbacks) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        outcome = await caller.join_room(endpoint, JOIN)
        assert (outcome.answer, outcome.detail) == ("no", "nobody listens at the worker's endpoint")
        assert not await caller.is_healthy(endpoint)


@pytest.mark.parametrize("answer", [b"", None, b"HTTP/1.1 200", b"this is no HTTP\r\n\r\n"])
async def test_a_connection_that_breaks_after_the_request_is_not_known(
    caller: WorkerCallbacks, answer: bytes | None
) -> None:
    async with raw_worker(answer) as (endpoint, seen):
        outcome = await caller.join_room(endpoint, JOIN)
        assert len(seen) == 1, "a request that may have taken effect is not sent twice"
        assert (outcome.answer, outcome.detail) == ("unknown", "the connection broke during /join-room")
        assert not await caller.is_healthy(endpoint)


async def test_a_yes_whose_body_never_ends_is_a_yes(caller: WorkerCallbacks) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nfirst bytes"
    async with raw_worker(head) as (endpoint, _):
        assert (await caller.join_room(endpoint, JOIN)).answer == "yes"


@pytest.mark.parametrize("endpoint", ["http://", "http://[::1", "http://127.0.0.1:99999", "not a url"])
async def test_an_endpoint_that_is_no_url_is_a_no(caller: WorkerCallbacks, endpoint: str) -> None:
    outcome = await caller.join_room(endpoint, JOIN)
    assert outcome.answer == "no"
    assert outcome.detail.startswith(f"the worker's endpoint '{endpoint}' ")
    assert not await caller.is_healthy(endpoint)


async def test_a_refused_address_is_a_no_with_value_setting_and_fix_and_is_logged_once() -> None:
    guarded = WorkerCallbacks(
        allow_private=False, notify_timeout_s=1, now=lambda: NOW, resolver=FixedResolver("10.1.2.3")
    )
    await guarded.open()
    for endpoint in ("http://10.1.2.3:8001", "http://worker.example:8001"):
        with capture_logs() as logs:
            outcome = await guarded.join_room(endpoint, JOIN)
            for _ in range(3):
                assert not await guarded.is_healthy(endpoint)
        assert (outcome.answer, outcome.detail) == (
            "no",
            f"the worker's endpoint '{endpoint}' leads to an address that is not public; "
            "set [network] allow_private_endpoints = true to allow that",
        )
        assert [(entry["event"], entry["reason"]) for entry in logs] == [
            ("worker_endpoint_refused", outcome.detail)
        ]
    await guarded.close()


async def test_a_connection_that_is_not_made_in_time_is_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was sent, so another worker can be asked at once."""

    class Hanging(FixedResolver):
        async def resolve(self, *_: Any, **__: Any) -> list[ResolveResult]:
            await asyncio.sleep(3600)
            raise AssertionError

    monkeypatch.setattr(guarded_http, "CONNECT_S", 0.05)
    patient = WorkerCallbacks(allow_private=True, notify_timeout_s=10, now=lambda: NOW, resolver=Hanging())
    await patient.open()
    outcome = await patient.join_room("http://worker.example:8001", JOIN)
    assert (outcome.answer, outcome.detail) == ("no", "nobody answered at the worker's endpoint in time")
    await patient.close()


async def test_no_outcome_shows_the_token(caller: WorkerCallbacks) -> None:
    assert TOKEN not in repr(JOIN)
    async with worker(status(500, Location=TOKEN)) as endpoint:
        assert TOKEN not in repr(await caller.join_room(endpoint, JOIN))
    assert TOKEN not in repr(await caller.join_room(endpoint, JOIN))  # refused now


async def test_cookies_of_one_worker_are_not_shown_to_another(caller: WorkerCallbacks) -> None:
    cookies = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        cookies.append(request.headers.get("Cookie"))
        return web.Response(headers={"Set-Cookie": "a=b; Path=/"})

    async with worker(answer) as endpoint:
        await caller.join_room(endpoint, JOIN)
        await caller.join_room(endpoint, JOIN)
    assert cookies == [None, None]


# --- leave-room and health ---


@pytest.mark.parametrize(
    ("code", "expected"), [(200, "yes"), (204, "yes"), (404, "yes"), (405, "yes"), (403, "no"), (500, "no")]
)
async def test_a_worker_without_the_route_has_left(caller: WorkerCallbacks, code: int, expected: str) -> None:
    async with worker(status(code)) as endpoint:
        assert (await caller.leave_room(endpoint, LEAVE)).answer == expected


@pytest.mark.parametrize(("code", "healthy"), [(200, True), (404, True), (500, False), (503, False)])
async def test_health_is_any_answer_but_a_5xx(caller: WorkerCallbacks, code: int, healthy: bool) -> None:
    async with worker(status(code)) as endpoint:
        assert await caller.is_healthy(endpoint) is healthy
