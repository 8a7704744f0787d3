"""The fake's server follows its script: pongs, acknowledgements, refusals, what it resumes."""

from __future__ import annotations

import aiohttp
import pytest

from sdk.fake_orchestrator import FakeOrchestrator
from sdk.wire import (
    HeldJob,
    Hello,
    OrchestratorFrame,
    Ping,
    Pong,
    RecordingReport,
    Welcome,
    WorkerFrame,
    decode_orchestrator_frame,
    encode_frame,
)


async def say(socket: aiohttp.ClientWebSocketResponse, frame: WorkerFrame) -> None:
    await socket.send_str(encode_frame(frame))


async def hear(socket: aiohttp.ClientWebSocketResponse) -> OrchestratorFrame | None:
    return decode_orchestrator_frame(await socket.receive_str(timeout=2))


async def test_welcome_pong_and_ack() -> None:
    async with FakeOrchestrator(heartbeat_interval=1.5) as fake, aiohttp.ClientSession() as http:
        async with http.ws_connect(f"{fake.url}/api/v1/workers/connect") as socket:
            unknown = HeldJob(job_id="never", attempt=1)
            await say(socket, Hello(service_id="x", worker_id="w", resuming=[unknown]))
            welcome = await hear(socket)
            assert isinstance(welcome, Welcome)
            assert (welcome.heartbeat_interval, welcome.resumed) == (1.5, [])
            await say(socket, Ping(load=0.5))
            assert isinstance(await hear(socket), Pong)
            report = RecordingReport(job_id="a", attempt=1, n=4, recording_id="r", state="paused")
            await say(socket, report)
            assert getattr(await hear(socket), "n", None) == 4
        assert [type(frame) for frame in fake.frames] == [Hello, Ping, RecordingReport]


async def test_a_refusal_closes_with_its_reason() -> None:
    async with FakeOrchestrator() as fake, aiohttp.ClientSession() as http:
        fake.script.refuses_with = "not today"
        async with http.ws_connect(f"{fake.url}/api/v1/workers/connect") as socket:
            await say(socket, Hello(service_id="x", worker_id="w"))
            message = await socket.receive(timeout=2)
            assert (message.data, message.extra) == (1008, "not today")


@pytest.mark.parametrize("status", [200, 503])
async def test_a_registration_is_answered_as_scripted(status: int) -> None:
    async with FakeOrchestrator() as fake, aiohttp.ClientSession() as http:
        fake.script.registers = status
        body = {"service_id": "x", "endpoint": "http://127.0.0.1:1"}
        async with http.post(f"{fake.url}/api/v1/microservices/register", json=body) as answer:
            assert answer.status == status
        async with http.post(f"{fake.url}/api/v1/microservices/x/heartbeat", json={}) as answer:
            assert answer.status == (200 if status == 200 else 404)
        assert (len(fake.registrations), len(fake.heartbeats)) == (1, 1)
