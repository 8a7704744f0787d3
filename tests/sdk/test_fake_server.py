"""The fake's server follows its script: pongs, acknowledgements, refusals, what it resumes."""

from __future__ import annotations

import aiohttp

from sdk.fake_orchestrator import FakeOrchestrator
from sdk.wire import (
    Assign,
    Hello,
    Offer,
    OrchestratorFrame,
    Ping,
    Pong,
    RecordingReport,
    RecordingTask,
    Stale,
    TokenRenewed,
    TokenWanted,
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
            await say(socket, Hello(service_id="x", worker_id="w"))
            welcome = await hear(socket)
            assert isinstance(welcome, Welcome)
            assert (welcome.heartbeat_interval, welcome.resumed) == (1.5, [])
            await say(socket, Ping(load=0.5))
            assert isinstance(await hear(socket), Pong)
            job = await fake.offer()
            await fake.assign(job, recording=RecordingTask(recording_id="r"))
            assert [type(await hear(socket)) for _ in range(2)] == [Offer, Assign]
            report = RecordingReport(job_id=job.job_id, attempt=1, n=4, recording_id="r", state="paused")
            await say(socket, report)
            assert getattr(await hear(socket), "n", None) == 4
            await say(socket, TokenWanted(job_id=job.job_id, attempt=1))
            renewed = await hear(socket)
            assert isinstance(renewed, TokenRenewed)
            assert renewed.second_token.split("\n")[2] == f"{job.identity}.second"
        assert [type(frame) for frame in fake.frames] == [Hello, Ping, RecordingReport, TokenWanted]


async def test_by_script_it_is_silent_and_keeps_no_jobs() -> None:
    async with FakeOrchestrator() as fake, aiohttp.ClientSession() as http:
        async with http.ws_connect(f"{fake.url}/api/v1/workers/connect") as socket:
            await say(socket, Hello(service_id="x", worker_id="w"))
            await hear(socket)
            job = await fake.offer()
            await hear(socket)
            fake.script.is_silent, fake.script.renews_tokens, fake.script.resumes = True, False, False
            await say(socket, Ping())
            await say(socket, TokenWanted(job_id=job.job_id, attempt=1))
            await fake.until(lambda: len(fake.frames) == 3, "three frames")
        async with http.ws_connect(f"{fake.url}/api/v1/workers/connect") as socket:
            await say(socket, Hello(service_id="x", worker_id="w", resuming=[job.held]))
            assert getattr(await hear(socket), "resumed", None) == []  # nothing was said before it
            assert isinstance(await hear(socket), Stale)


async def test_a_refusal_closes_with_its_reason() -> None:
    async with FakeOrchestrator() as fake, aiohttp.ClientSession() as http:
        fake.script.refuses_with = "not today"
        async with http.ws_connect(f"{fake.url}/api/v1/workers/connect") as socket:
            await say(socket, Hello(service_id="x", worker_id="w"))
            message = await socket.receive(timeout=2)
            assert (message.data, message.extra) == (1008, "not today")
