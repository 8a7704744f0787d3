"""Workers as processes: of the plain contract, killed, restarted around, and after a LiveKit restart."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.acceptance.system import System, joined, system
from tests.integration.servers import LiveKitFactory

pytestmark = [pytest.mark.acceptance, pytest.mark.integration, pytest.mark.xdist_group("timed")]


@contextlib.asynccontextmanager
async def process(running: System, module: str, *arguments: str) -> AsyncIterator[subprocess.Popen[bytes]]:
    """Run an example beside the orchestrator."""
    environment = {**os.environ, "GREENROOM_URL": running.url}
    log = (running.folder / f"{module}.log").open("ab")
    child = subprocess.Popen(
        [sys.executable, "-m", module, *arguments], env=environment, stdout=log, stderr=log
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait(timeout=5)


async def until_registered(running: System, service_id: str) -> None:
    """Wait until a service has a worker that can be asked."""

    async def is_there() -> bool:
        workers = (await running.get("/api/v1/microservices"))["microservices"]
        return any(w["service_id"] == service_id and w["status"] != "Disconnected" for w in workers)

    await running.until(is_there, within_s=15, what=f"{service_id} to register")


@pytest.mark.parametrize("is_first", [True, False], ids=["registered-before", "registered-after"])
async def test_a_worker_of_the_plain_contract_takes_part(
    tmp_path: Path, fresh_livekit_server: LiveKitFactory, is_first: bool
) -> None:
    async with system(tmp_path, fresh_livekit_server) as running, contextlib.AsyncExitStack() as stack:
        worker = process(running, "examples.reference_worker", "--url", running.url, "--service-id", "asr")
        if is_first:
            await stack.enter_async_context(worker)
            await until_registered(running, "asr")
            created = await running.create(required_services=None)
        else:
            created = await running.create(required_services=["asr"])
            assert created["missing_services"] == ["asr"]
            await stack.enter_async_context(worker)
        assert created["status"] == "WaitingForServices"
        session = await running.until_status(created["session_id"], "Ready")
        assert session["ready_services"] == ["asr"]
        async with joined(created):
            await running.until_status(created["session_id"], "Active")
        await running.post(f"/api/v1/sessions/{created['session_id']}/terminate", {})
        await running.until_status(created["session_id"], "Terminated")
        names = [name for _, name in await running.events(created["session_id"])]
        for expected in ("microservice_joined", "session_ready", "client_joined", "session_terminated"):
            assert expected in names


async def test_a_killed_pull_worker_is_replaced_and_the_session_heals(
    tmp_path: Path, fresh_livekit_server: LiveKitFactory
) -> None:
    async with (
        system(tmp_path, fresh_livekit_server) as running,
        process(running, "examples.pong_worker") as first,
    ):
        await until_registered(running, "pong")
        created = await running.create(required_services=["pong"])
        await running.until_status(created["session_id"], "Ready")
        async with process(running, "examples.pong_worker"):

            async def both() -> bool:
                workers = (await running.get("/api/v1/microservices"))["microservices"]
                return len([w for w in workers if w["status"] != "Disconnected"]) == 2

            await running.until(both, within_s=15, what="the second worker")
            first.kill()

            async def healed() -> bool:
                session = await running.session(created["session_id"])
                return bool(session["jobs"][0]["attempt"] == 2 and not session["missing_services"])

            await running.until(healed, within_s=9, what="another worker to take the job")
            names = [name for _, name in await running.events(created["session_id"])]
            assert "job_lost" in names


async def test_a_pull_worker_keeps_its_job_over_a_restart_of_the_orchestrator(
    tmp_path: Path, fresh_livekit_server: LiveKitFactory
) -> None:
    async with (
        system(tmp_path, fresh_livekit_server) as running,
        process(running, "examples.pong_worker"),
    ):
        await until_registered(running, "pong")
        created = await running.create(required_services=["pong"])
        await running.until_status(created["session_id"], "Ready")
        running.kill()
        await running.start()
        await until_registered(running, "pong")
        await asyncio.sleep(7)  # longer than everybody has to come back after a start
        session = await running.session(created["session_id"])
        assert session["room_status"] == "Ready"
        assert [job["attempt"] for job in session["jobs"]] == [1]
        names = [name for _, name in await running.events(created["session_id"])]
        assert "job_lost" not in names


async def test_a_worker_is_back_after_livekit_was_killed(
    tmp_path: Path, fresh_livekit_server: LiveKitFactory
) -> None:
    async with (
        system(tmp_path, fresh_livekit_server) as running,
        process(running, "examples.pong_worker"),
    ):
        await until_registered(running, "pong")
        created = await running.create(required_services=["pong"])
        await running.until_status(created["session_id"], "Ready")
        running.media.kill()
        running.media.start()

        async def is_recreated() -> bool:
            return "room_recreated" in [name for _, name in await running.events(created["session_id"])]

        await running.until(is_recreated, within_s=12, what="the room to be made again")

        async def is_whole() -> bool:
            session = await running.session(created["session_id"])
            present = await running.get(f"/api/v1/sessions/{created['session_id']}/participants")
            return bool(
                session["room_status"] == "Ready"
                and not session["missing_services"]
                and [p["service_id"] for p in present["participants"]] == ["pong"]
            )

        await running.until(is_whole, within_s=40, what="the worker to be back in the room")
