"""The client against a scripted server: calls, retries, and event streams that break."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web

from sdk.client import Client, ServerEvent
from sdk.errors import ConflictError, NotFoundError, UnavailableError, UnexpectedAnswerError
from sdk.wire import ServiceOptions

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
CREATED = {
    "session_id": "s1",
    "room_name": "room-s1",
    "access_token": "secret-token",
    "livekit_url": "ws://x",
    "status": "WaitingForServices",
    "missing_services": ["asr"],
    "of_a_later_version": True,
}
NOT_FOUND = {"error": "SessionNotFound", "message": "Session not found: s9", "timestamp": "t"}


class Server:
    """Answers calls one after the other from a list, the last one for ever."""

    def __init__(self, *answers: Answer | Any) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        text = await request.read()
        body = json.loads(text) if text else None
        self.requests.append((request.method, request.path_qs, dict(request.headers), body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer):
            result: web.StreamResponse = await answer(request)
            return result
        return web.json_response(answer)


@asynccontextmanager
async def serving(*answers: Any, **options: Any) -> AsyncIterator[tuple[Server, Client]]:
    server = Server(*answers)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with Client(server.url, **options) as client:
            yield server, client
    finally:
        await runner.cleanup()


def failing(status: int, body: dict[str, Any] | None = None, **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(body or {}, status=status, headers=headers)

    return answer


def cut(request: web.Request) -> Awaitable[web.StreamResponse]:
    async def answer() -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        await asyncio.sleep(1)
        raise AssertionError("the connection is gone")

    return answer()


def stream(*frames: str, end: str = "eof") -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for frame in frames:
            await response.write(frame.encode())
        if end == "cut":
            await asyncio.sleep(0.05)
            assert request.transport is not None
            request.transport.abort()
        return response

    return answer


def event(number: int, name: str = "status_changed") -> str:
    return f'event: {name}\nid: 1:{number}\ndata: {{"n":{number}}}\n\n'


async def told(events: AsyncIterator[ServerEvent], limit: int = 100) -> list[str]:
    seen: list[str] = []
    async with asyncio.timeout(5):
        async for one in events:
            seen.append(one.id)
            if len(seen) == limit:
                break
    return seen


async def test_create_session_sends_what_is_given_and_nothing_else() -> None:
    async with serving(CREATED) as (server, client):
        created = await client.create_session(
            "ada", required_services=["asr"], services={"asr": ServiceOptions(priority=2)}, record=True
        )
        assert (created.session_id, created.missing_services) == ("s1", ["asr"])
        assert "secret-token" not in repr(created)
        method, path, _, body = server.requests[0]
        assert (method, path) == ("POST", "/api/v1/create-session")
        assert body == {
            "user_identity": "ada",
            "required_services": ["asr"],
            "services": {"asr": {"required": True, "policy": None, "priority": 2, "capabilities": {}}},
            "record": True,
        }


async def test_the_other_calls() -> None:
    granted = {"access_token": "t", "expires_at": "e", "livekit_url": "u", "room_name": "r"}
    participants = {"session_id": "s/1", "participants": [{"identity": "ada"}]}
    async with serving({"room_status": "Ready"}, granted, participants, {}, {}, {}) as (server, client):
        assert (await client.session("s/1"))["room_status"] == "Ready"
        assert (await client.token("s/1", "ada", role="operator")).room_name == "r"
        assert await client.participants("s/1") == [{"identity": "ada"}]
        await client.remove_participant("s/1", "a/b")
        await client.remove_participant("s/1", "ada", bar=False)
        await client.terminate("s/1")
        assert [request[0] for request in server.requests] == [
            "GET",
            "POST",
            "GET",
            "DELETE",
            "DELETE",
            "POST",
        ]
        assert [request[1] for request in server.requests] == [
            "/api/v1/sessions/s%2F1",
            "/api/v1/sessions/s%2F1/token",
            "/api/v1/sessions/s%2F1/participants",
            "/api/v1/sessions/s%2F1/participants/a%2Fb?bar=true",
            "/api/v1/sessions/s%2F1/participants/ada?bar=false",
            "/api/v1/sessions/s%2F1/terminate",
        ]


async def test_an_error_of_the_orchestrator_is_raised_once() -> None:
    async with serving(failing(404, NOT_FOUND)) as (server, client):
        with pytest.raises(NotFoundError, match="Session not found: s9"):
            await client.session("s9")
        assert len(server.requests) == 1


async def test_what_can_be_repeated_is() -> None:
    async with serving(cut, failing(503), {"room_status": "Ready"}) as (server, client):
        assert await client.session("s1") == {"room_status": "Ready"}
        assert len(server.requests) == 3


def keys_of(server: Server) -> list[str]:
    return [headers.get("Idempotency-Key", "") for _, _, headers, _ in server.requests]


async def test_a_create_that_may_have_arrived_is_repeated_with_its_key() -> None:
    async with serving(cut, failing(503), CREATED) as (server, client):
        assert (await client.create_session("ada")).session_id == "s1"
        keys = keys_of(server)
        assert len(keys) == 3
        assert len(set(keys)) == 1
        assert UUID(keys[0]).version == 4
        assert len({json.dumps(body) for _, _, _, body in server.requests}) == 1
        await client.create_session("ada")
        assert keys_of(server)[3] != keys[0]


async def test_a_session_that_got_no_room_is_not_tried_again() -> None:
    told = {"error": "LiveKitUnavailable", "message": "no room", "timestamp": "t"}
    async with serving(cut, failing(502, told), CREATED) as (server, client):
        with pytest.raises(UnavailableError, match="no room") as caught:
            await client.create_session("ada")
        assert caught.value.status == 502
        assert len(server.requests) == 2


async def test_a_terminate_carries_a_key_and_other_calls_do_not() -> None:
    async with serving(cut, {}) as (server, client):
        await client.terminate("s1")
        await client.session("s1")
        first, second, other = keys_of(server)
        assert UUID(first).version == 4
        assert (second, other) == (first, "")


async def test_what_a_repeat_is_refused_with_is_raised() -> None:
    told = {"error": "KeyOutlived", "message": "ended", "timestamp": "t", "details": {"session_id": "s1"}}
    async with serving(cut, failing(409, told)) as (server, client):
        with pytest.raises(ConflictError, match="ended") as caught:
            await client.create_session("ada")
        assert caught.value.details == {"session_id": "s1"}
        assert len(server.requests) == 2


async def test_retrying_ends() -> None:
    async with Client("http://127.0.0.1:9", retry_s=0.3) as client:
        with pytest.raises(UnavailableError, match="cannot be reached"):
            await asyncio.wait_for(client.create_session("ada"), 3)


async def test_a_call_has_a_deadline() -> None:
    async def hang(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(10)
        raise AssertionError

    async with serving(hang, request_timeout=0.2, retry_s=0) as (_, client):
        with pytest.raises(UnavailableError, match="in time"):
            await client.session("s1")


async def test_an_answer_of_something_else_is_said() -> None:
    async with serving({"hello": "world"}) as (_, client):
        with pytest.raises(UnexpectedAnswerError):
            await client.create_session("ada")


async def test_events_resume_after_the_last_whole_one_and_end_with_the_session() -> None:
    async with serving(
        stream(event(1), event(2), "event: status_changed\nid: 1:3\ndata: {", end="cut"),
        failing(503),
        stream(event(3)),
        stream(event(4, "session_terminated"), event(5)),
    ) as (server, client):
        assert await told(client.events("s1")) == ["1:1", "1:2", "1:3", "1:4"]
        wishes = [headers.get("Last-Event-ID", "") for _, _, headers, _ in server.requests]
        assert wishes == ["", "1:2", "1:2", "1:3"]


async def test_events_go_on_until_all_is_told() -> None:
    async with serving(
        stream(event(1, "session_terminated"), event(2, "recording_completed")), failing(204)
    ) as (server, client):
        assert await told(client.events("s1", until_told=True)) == ["1:1", "1:2"]
        assert server.requests[1][2]["Last-Event-ID"] == "1:2"


async def test_a_quiet_stream_resumes_at_the_keep_alives_position() -> None:
    async with serving(stream(": 1:41\n\n"), stream(event(42))) as (server, client):
        assert await told(client.events(), limit=1) == ["1:42"]
        assert server.requests[1][2]["Last-Event-ID"] == "1:41"


async def test_events_from_a_given_place() -> None:
    async with serving(stream(event(8))) as (server, client):
        await told(client.events(last_event_id="1:7"), limit=1)
        await told(client.events(from_start=True), limit=1)
        assert server.requests[0][2]["Last-Event-ID"] == "1:7"
        assert server.requests[1][1] == "/api/v1/events?from=start"


async def test_events_of_an_unknown_session() -> None:
    async with serving(failing(404, NOT_FOUND)) as (_, client):
        with pytest.raises(NotFoundError):
            await told(client.events("s9"))


async def test_a_client_that_is_not_open_says_so() -> None:
    with pytest.raises(RuntimeError, match="not open"):
        await Client("http://127.0.0.1:9").session("s1")
