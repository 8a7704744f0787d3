"""Push mode's edge: the routes' answers, listening before registering, heartbeats, a busy loop."""

from __future__ import annotations

import asyncio
import json
import socket
import time

import msgspec
import pytest

from sdk.errors import WorkerRefusedError
from sdk.settings import WorkerSettings
from sdk.testing import FakeJob, FakeRooms, WorkerHarness
from sdk.worker import Worker
from tests.fakes.worker_author import Author, harness, until

JOIN = {
    "room_name": "r",
    "session_id": "s",
    "service_identity": "tested",
    "access_token": "top-secret-token",
    "livekit_url": "ws://fake.invalid",
}


def push(author: Author, **settings: object) -> WorkerHarness:
    return harness(author, endpoint="http://127.0.0.1:0", **settings)


def a_job(h: WorkerHarness, *, session_id: str = "s1", attempt: int = 1) -> FakeJob:
    h.rooms.create(f"room-{session_id}")
    return FakeJob(
        job_id=f"job-{session_id}",
        attempt=attempt,
        session_id=session_id,
        room_name=f"room-{session_id}",
        identity="tested" if attempt == 1 else f"tested#{attempt}",
    )


async def test_it_listens_before_it_registers_and_names_its_real_port() -> None:
    async with push(Author(), capacity=4, metadata={"zone": "a"}) as h:
        registration = await h.orchestrator.registered()
        assert not registration.endpoint.endswith(":0")
        assert await h.orchestrator.call("health") == (200, '{"status":"healthy"}')
        assert (registration.capacity, registration.metadata) == (4, {"zone": "a"})
        assert registration.worker_id == h.worker.settings.worker_id


async def test_it_listens_while_nobody_takes_its_registration() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = WorkerSettings("http://127.0.0.1:9", "tested", f"http://127.0.0.1:{port}")
    async with Worker(settings, Author(), rooms=FakeRooms().link) as worker:

        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        await until(listens)
        assert not worker.is_connected


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"{}", "application/json", 422),
        (json.dumps(JOIN | {"room_name": 7}).encode(), "application/json", 422),
        (json.dumps(JOIN | {"service_identity": "other"}).encode(), "application/json", 422),
        (json.dumps(JOIN).encode(), "text/plain", 415),
        (b'{"x":"' + b"x" * 70_000 + b'"}', "application/json", 413),
    ],
)
async def test_a_bad_body_has_its_status_and_the_one_error_body(
    body: bytes, content_type: str, status: int
) -> None:
    async with push(Author()) as h:
        got, text = await h.orchestrator.call("join-room", body, content_type=content_type)
        assert got == status
        error = json.loads(text)
        assert (error["error"], error["code"]) == ("InvalidRequest", status)
        assert error["message"]
        assert error["timestamp"].endswith("Z")
        assert "top-secret-token" not in text


async def test_an_unknown_path_has_the_one_error_body_too() -> None:
    async with push(Author()) as h:
        status, text = await h.orchestrator.call("nothing-here")
        assert (status, json.loads(text)["error"]) == (404, "NotFound")


async def test_health_is_what_the_author_says() -> None:
    author = Author()
    async with push(author) as h:
        author.is_healthy = False
        status, text = await h.orchestrator.call("health")
        assert status == 503
        assert text.startswith("Health check failed: ")


async def test_health_is_answered_while_the_jobs_loop_is_busy() -> None:
    async with push(Author()) as h:
        await h.orchestrator.registered()
        asking = asyncio.create_task(h.orchestrator.call("health"))
        await asyncio.sleep(0)
        began = time.monotonic()
        time.sleep(2.5)
        status, _ = await asking
        assert status == 200
        assert time.monotonic() - began < 4


async def test_heartbeats_go_on_while_the_jobs_loop_is_busy() -> None:
    async with push(Author()) as h:
        await h.orchestrator.registered()
        await until(lambda: len(h.orchestrator.heartbeats) > 0)
        before = len(h.orchestrator.heartbeats)
        time.sleep(4.5)
        assert len(h.orchestrator.heartbeats) - before >= 2
        assert h.orchestrator.heartbeats[-1].worker_id == h.worker.settings.worker_id


async def test_a_forgotten_worker_registers_again() -> None:
    async with push(Author()) as h:
        first = await h.orchestrator.registered()
        h.orchestrator.forget_registration()
        assert await h.orchestrator.registered(2) == first


async def test_a_worker_registers_when_the_orchestrator_comes_late() -> None:
    async with push(Author()) as h:
        await h.orchestrator.registered()
        await h.orchestrator.go_away()
        settings = WorkerSettings(h.orchestrator.url, "late", "http://127.0.0.1:0")
        async with Worker(settings, Author(), rooms=FakeRooms().link) as late:
            await asyncio.sleep(0.3)
            await h.orchestrator.come_back()
            await asyncio.wait_for(late.wait_connected(), 5)
            assert late.is_connected


async def test_a_refused_registration_ends_the_worker() -> None:
    async with push(Author()) as h:
        await h.orchestrator.registered()
        h.orchestrator.script.registers = 422
        settings = WorkerSettings(h.orchestrator.url, "other", "http://127.0.0.1:0")
        with pytest.raises(WorkerRefusedError, match="HTTP 422"):
            await asyncio.wait_for(Worker(settings, Author(), rooms=FakeRooms().link).serve(), 5)


async def test_a_taken_port_is_said_in_a_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = WorkerSettings("http://127.0.0.1:9", "tested", f"http://127.0.0.1:{port}")
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
            await asyncio.wait_for(Worker(settings, Author()).serve(), 5)


async def test_the_routes_answer_below_the_endpoints_path_too() -> None:
    async with harness(Author(), endpoint="http://127.0.0.1:0/asr") as h:
        assert (await h.orchestrator.registered()).endpoint.endswith("/asr")
        assert (await h.orchestrator.call("health"))[0] == 200
        body = msgspec.json.encode({"session_id": "none", "room_name": "none"})
        assert (await h.orchestrator.call("leave-room", body))[0] == 404
