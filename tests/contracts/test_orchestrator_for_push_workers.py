"""What every orchestrator promises to push workers; the fake of the SDK is one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web

from tests.contracts.orchestrators import REGISTER, Stand, error_word, fake_stand, real_stand, until

HEARTBEAT = "/api/v1/microservices/{}/heartbeat"
READY = "/api/v1/sessions/{}/ready"
ASR = {"service_id": "asr", "endpoint": "http://127.0.0.1:9"}


@pytest.fixture(params=["real", "fake"])
async def stand(request: pytest.FixtureRequest) -> AsyncIterator[Stand]:
    async with real_stand() if request.param == "real" else fake_stand() as made:
        yield made


class Called:
    """A push worker: keeps what it was asked, says yes."""

    def __init__(self) -> None:
        self.url = ""
        self.calls: list[tuple[str, str, dict[str, Any]]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.calls.append((request.path, request.content_type, msgspec.json.decode(await request.read())))
        return web.json_response({"success": True})

    def bodies(self, path: str) -> list[dict[str, Any]]:
        return [body for called, _, body in self.calls if called == path]


@asynccontextmanager
async def called_worker() -> AsyncIterator[Called]:
    worker = Called()
    app = web.Application()
    app.router.add_post("/{path:.*}", worker.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    worker.url = f"http://127.0.0.1:{runner.addresses[0][1]}/worker"
    try:
        yield worker
    finally:
        await runner.cleanup()


async def post(stand: Stand, path: str, body: Any) -> tuple[int, bytes]:
    async with stand.http.post(path, json=body) as answer:
        assert answer.content_type == "application/json"
        return answer.status, await answer.read()


async def register(stand: Stand, **fields: Any) -> None:
    status, text = await post(stand, REGISTER, ASR | fields)
    assert status == 200, text


# --- register ---


async def test_a_registration_is_answered_as_the_reference_does_and_again(stand: Stand) -> None:
    for metadata in ({"a": "b"}, None):
        status, text = await post(stand, REGISTER, {**ASR, "metadata": metadata, "of_a_later_version": 1})
        assert status == 200
        assert msgspec.json.decode(text) == {
            "success": True,
            "service_id": "asr",
            "message": "Microservice registered successfully",
        }


@pytest.mark.parametrize(
    "fields",
    [
        {"service_id": ""},
        {"service_id": "a#2"},
        {"service_id": 7},
        {"service_id": "recorder"},
        {"endpoint": ""},
        {"endpoint": "127.0.0.1:9"},
        {"endpoint": "ftp://127.0.0.1"},
        {"endpoint": None},
        {"metadata": {"a": 1}},
        {"worker_id": ""},
        {"capacity": 0},
        {"capacity": "many"},
    ],
)
async def test_a_registration_that_cannot_be_is_a_422(stand: Stand, fields: dict[str, Any]) -> None:
    status, text = await post(stand, REGISTER, ASR | fields)
    assert (status, error_word(text)) == (422, "InvalidRequest")
    status, text = await post(stand, HEARTBEAT.format("asr"), {})
    assert (status, error_word(text)) == (404, "MicroserviceNotFound")


@pytest.mark.parametrize(
    ("data", "content_type", "status"),
    [(b"{", "application/json", 400), (b"\xff", "application/json", 400), (b"{}", "text/plain", 415)],
)
async def test_a_body_that_is_no_json_is_refused(
    stand: Stand, data: bytes, content_type: str, status: int
) -> None:
    headers = {"Content-Type": content_type}
    async with stand.http.post(REGISTER, data=data, headers=headers) as answer:
        assert answer.status == status
        assert error_word(await answer.read())


async def test_a_missing_field_is_named(stand: Stand) -> None:
    status, text = await post(stand, REGISTER, {"service_id": "asr"})
    assert status == 422
    assert "endpoint" in msgspec.json.decode(text)["message"]


# --- heartbeats ---


async def test_a_heartbeat_is_heard_until_the_registration_is_gone(stand: Stand) -> None:
    beat = HEARTBEAT.format("asr")
    status, text = await post(stand, beat, {})
    assert (status, error_word(text)) == (404, "MicroserviceNotFound")
    await register(stand)
    status, text = await post(stand, beat, {"load": 0.5, "draining": False})
    assert status == 200
    answer = msgspec.json.decode(text)
    assert (answer["success"], answer["service_id"]) == (True, "asr")
    await stand.forget_registration("asr")
    assert (await post(stand, beat, {}))[0] == 404
    await register(stand)
    assert (await post(stand, beat, {}))[0] == 200


async def test_a_heartbeat_without_a_body_is_one(stand: Stand) -> None:
    await register(stand)
    async with stand.http.post(HEARTBEAT.format("asr")) as answer:
        assert answer.status == 200


async def test_workers_of_one_service_are_told_apart(stand: Stand) -> None:
    await register(stand, worker_id="asr-1")
    await register(stand, service_id="tts")
    assert (await post(stand, HEARTBEAT.format("asr"), {"worker_id": "asr-1"}))[0] == 200
    for service, worker_id in (("asr", "asr-2"), ("asr", None), ("tts", "asr-1")):
        status, text = await post(stand, HEARTBEAT.format(service), {"worker_id": worker_id})
        assert (status, error_word(text)) == (404, "MicroserviceNotFound")


async def test_a_worker_id_belongs_to_one_service(stand: Stand) -> None:
    await register(stand, worker_id="w1")
    status, text = await post(stand, REGISTER, ASR | {"service_id": "tts", "worker_id": "w1"})
    assert (status, error_word(text)) == (422, "InvalidRequest")
    assert (await post(stand, HEARTBEAT.format("asr"), {"worker_id": "w1"}))[0] == 200


@pytest.mark.parametrize("body", [{"load": 2}, {"load": -0.1}, {"load": "much"}, {"draining": 1}])
async def test_a_heartbeat_that_makes_no_sense_is_a_422(stand: Stand, body: dict[str, Any]) -> None:
    await register(stand)
    status, text = await post(stand, HEARTBEAT.format("asr"), body)
    assert (status, error_word(text)) == (422, "InvalidRequest")


# --- join, ready, leave ---


async def test_a_worker_is_called_to_join_and_to_leave(stand: Stand) -> None:
    async with called_worker() as worker:
        await register(stand, endpoint=worker.url)
        await stand.call_join()
        await until(lambda: bool(worker.calls))
        path, content_type, join = worker.calls[0]
        assert (path, content_type) == ("/worker/join-room", "application/json")
        assert join["room_name"] == f"room-{join['session_id']}"
        assert join["service_identity"] == "asr"
        assert join["access_token"]
        assert join["livekit_url"].startswith("ws")
        assert isinstance(join["job_id"], str)
        assert join["attempt"] == 1

        status, text = await post(stand, READY.format(join["session_id"]), {"service_id": "asr"})
        assert status == 200
        ready = msgspec.json.decode(text)
        assert ready["success"] is True
        assert isinstance(ready["message"], str)
        assert isinstance(ready["all_services_ready"], bool)

        await stand.call_leave(join["session_id"])
        await until(lambda: bool(worker.bodies("/worker/leave-room")))
        left = worker.bodies("/worker/leave-room")[0]
        assert left == {"session_id": join["session_id"], "room_name": join["room_name"]}


async def test_ready_is_checked(stand: Stand) -> None:
    status, text = await post(stand, READY.format("nobody"), {"service_id": "asr"})
    assert (status, error_word(text)) == (404, "SessionNotFound")
    status, text = await post(stand, READY.format("nobody"), {})
    assert (status, error_word(text)) == (422, "InvalidRequest")
    async with called_worker() as worker:
        await register(stand, endpoint=worker.url)
        await stand.call_join()
        await until(lambda: bool(worker.calls))
        session_id = worker.calls[0][2]["session_id"]
        status, text = await post(stand, READY.format(session_id), {"service_id": "tts"})
        assert (status, error_word(text)) == (409, "IllegalTransition")


# --- everything else ---


async def test_what_is_not_there_is_said_in_the_one_body(stand: Stand) -> None:
    async with stand.http.get("/nothing/here") as answer:
        assert (answer.status, error_word(await answer.read())) == (404, "NotFound")
    async with stand.http.put(REGISTER) as answer:
        assert (answer.status, error_word(await answer.read())) == (405, "MethodNotAllowed")
        assert "POST" in answer.headers["Allow"]


async def test_many_calls_at_once(stand: Stand) -> None:
    await asyncio.gather(*(register(stand, worker_id=f"asr-{n}") for n in range(20)))
    beats = [post(stand, HEARTBEAT.format("asr"), {"worker_id": f"asr-{n}"}) for n in range(20)]
    assert {status for status, _ in await asyncio.gather(*beats)} == {200}


async def test_an_idempotency_key_is_no_matter_to_a_worker(stand: Stand) -> None:
    for _ in range(2):
        headers = {"Idempotency-Key": "k1"}
        async with stand.http.post(REGISTER, json=ASR, headers=headers) as answer:
            assert answer.status == 200
