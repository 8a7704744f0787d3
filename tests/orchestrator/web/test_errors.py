"""Every refusal has the right status and the one error body, the framework's own included."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import ClientSession

from orchestrator.core.errors import RoomServerError, StoreError
from orchestrator.web import server
from orchestrator.web.errors import problem_of
from tests.orchestrator.web.world import World, error_of

CREATE = "/api/v1/create-session"
UNKNOWN = "/api/v1/sessions/00000000-0000-4000-8000-00000000ffff"


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/nothing", 404, "NotFound"),
        ("GET", CREATE, 405, "MethodNotAllowed"),
        ("DELETE", "/health", 405, "MethodNotAllowed"),
        ("GET", UNKNOWN, 404, "SessionNotFound"),
        ("POST", f"{UNKNOWN}/terminate", 404, "SessionNotFound"),
        ("GET", f"{UNKNOWN}/participants", 404, "SessionNotFound"),
        ("GET", f"{UNKNOWN}/events", 404, "SessionNotFound"),
        ("GET", UNKNOWN.replace("/api/v1", ""), 404, "SessionNotFound"),
        ("GET", "/api/v1/microservices/none", 404, "MicroserviceNotFound"),
        ("DELETE", "/api/v1/microservices/none", 404, "MicroserviceNotFound"),
        ("POST", "/api/v1/microservices/none/heartbeat", 404, "MicroserviceNotFound"),
        ("GET", "/api/v1/workers/connect", 422, "InvalidRequest"),
        ("POST", "/api/v1/livekit/webhook", 401, "Unauthorized"),
        ("POST", "/api/v1/sessions", 406, "NotAcceptable"),
        ("GET", "/api/v1/events?from=yesterday", 422, "InvalidRequest"),
    ],
)
async def test_a_refusal_has_its_status_and_the_one_body(
    client: ClientSession, method: str, path: str, status: int, error: str
) -> None:
    answer = await client.request(method, path)
    assert answer.status == status
    assert (await error_of(answer))["error"] == error


async def test_a_405_says_what_is_allowed(client: ClientSession) -> None:
    assert (await client.get(CREATE)).headers["Allow"] == "POST"


async def test_the_session_that_is_missing_is_named_as_the_reference_does(client: ClientSession) -> None:
    body = await error_of(await client.get(UNKNOWN))
    assert body["message"] == f"Session not found: {UNKNOWN.rpartition('/')[2]}"


@pytest.mark.parametrize("given", ["abc-1.2_3", "x" * 64])
async def test_a_request_id_is_kept(client: ClientSession, given: str) -> None:
    answer = await client.get("/nothing", headers={"X-Request-ID": given})
    assert (await error_of(answer))["request_id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", 'a"b'])
async def test_a_bad_request_id_is_replaced(client: ClientSession, given: str) -> None:
    answer = await client.get("/health", headers={"X-Request-ID": given})
    assert answer.headers["X-Request-ID"] not in ("", given)


async def test_livekit_down_at_create_is_a_502_that_names_the_session(
    world: World, client: ClientSession
) -> None:
    world.rooms.down = True
    answer = await client.post(CREATE, json={"user_identity": "alice"})
    assert answer.status == 502
    body = await error_of(answer)
    assert body["error"] == "LiveKitUnavailable"
    assert "livekit.server_url" in body["message"]
    session = await (await client.get(f"/api/v1/sessions/{body['details']['session_id']}")).json()
    assert session["room_status"] in ("Terminating", "Terminated")
    assert session["end_reason"] == "create_failed"


async def test_a_live_room_name_is_a_409(world: World, client: ClientSession) -> None:
    await world.create(client, room_name="lobby")
    answer = await client.post(CREATE, json={"user_identity": "bob", "room_name": "lobby"})
    assert answer.status == 409
    body = await error_of(answer)
    assert (body["error"], body["details"]) == ("RoomNameTaken", {"room_name": "lobby"})


async def test_a_store_that_fails_is_a_503_with_retry_after(
    world: World, client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(change: Any, **_: Any) -> Any:
        raise StoreError("disk I/O error at /secret/path")

    monkeypatch.setattr(world.store, "commit", fail)
    answer = await client.post(CREATE, json={"user_identity": "alice"})
    assert answer.status == 503
    assert answer.headers["Retry-After"] == "1"
    assert "/secret/path" not in str(await error_of(answer))


async def test_our_own_fault_is_a_500_without_its_text(
    world: World, client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(session_id: object) -> Any:
        raise KeyError("inner words")

    monkeypatch.setattr(world.sessions, "get", fail)
    answer = await client.get(UNKNOWN)
    assert answer.status == 500
    body = await error_of(answer)
    assert body["error"] == "InternalError"
    assert "inner words" not in str(body)


def test_only_errors_with_an_answer_have_a_problem() -> None:
    assert problem_of(KeyError("x")) is None


def test_nothing_of_livekits_words_is_passed_on() -> None:
    problem = problem_of(RoomServerError("upstream said jwt=eyJsecret"))
    assert problem is not None
    assert problem.status == 502
    assert "eyJsecret" not in str(problem)


async def raw(world: World, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(world.url.rpartition(":")[2]))
    writer.write(data)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01garbage\r\n\r\n",
        b"GET / HTTP/9.x\r\n\r\n",
        b"GET / HTTP/1.1\r\nA" + b"b" * 9000 + b"\r\n\r\n",
    ],
)
async def test_what_is_no_http_gets_the_one_body_too(
    world: World, client: ClientSession, data: bytes
) -> None:
    answer = await raw(world, data)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert b'"error":"InvalidRequest"' in answer
    assert b"garbage" not in answer


async def test_an_unknown_expectation_is_refused(world: World, client: ClientSession) -> None:
    head = f"POST {CREATE} HTTP/1.1\r\nHost: localhost\r\nExpect: miracles\r\nConnection: close\r\n"
    answer = await raw(world, f"{head}Content-Length: 0\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 417 ")
    assert b'"error":"ExpectationFailed"' in answer


@pytest.mark.parametrize(
    ("expect", "status"), [(b"100-continue\r\nContent-Length: 9999999", b"413"), (b"miracles", b"417")]
)
@pytest.mark.parametrize("given", [b"", b"X-Request-ID: mine-1\r\n"])
async def test_a_refused_expectation_has_a_request_id(
    world: World, client: ClientSession, expect: bytes, status: bytes, given: bytes
) -> None:
    head = f"POST {CREATE} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n".encode()
    answer = await raw(world, head + given + b"Expect: " + expect + b"\r\n\r\n")
    assert answer.split()[1] == status
    headers, _, body = answer.partition(b"\r\n\r\n")
    request_id = json.loads(body)["request_id"]
    assert request_id == "mine-1" if given else len(request_id) == 16
    assert f"\r\nX-Request-ID: {request_id}\r\n".encode() in headers


async def test_a_connection_that_sends_no_request_is_closed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_DEADLINE_S", 0.05)
    async with world.running():
        assert await raw(world, b"GET /health HT") == b""


async def test_a_used_connection_is_not_closed_by_that_deadline(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_DEADLINE_S", 0.05)
    async with world.running():
        reader, writer = await asyncio.open_connection("127.0.0.1", int(world.url.rpartition(":")[2]))
        for _ in range(2):
            writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert await reader.readuntil(b'"}') != b""
            await asyncio.sleep(0.1)
        writer.close()
