"""A deploy: a worker is drained by the API, its job goes on elsewhere, and its process ends by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.system import system
from tests.acceptance.test_workers import process, until_registered
from tests.integration.servers import LiveKitFactory

pytestmark = [pytest.mark.acceptance, pytest.mark.integration]


async def test_a_drained_worker_hands_over_at_its_deadline_and_ends(
    tmp_path: Path, fresh_livekit_server: LiveKitFactory
) -> None:
    async with (
        system(tmp_path, fresh_livekit_server) as running,
        process(running, "examples.pong_worker") as first,
    ):
        await until_registered(running, "pong")
        created = await running.create(required_services=["pong"])
        session = await running.until_status(created["session_id"], "Ready")
        (job,) = session["jobs"]
        async with process(running, "examples.pong_worker"):

            async def is_another_there() -> bool:
                workers = (await running.get("/api/v1/microservices"))["microservices"]
                return len([w for w in workers if w["status"] != "Disconnected"]) == 2

            await running.until(is_another_there, within_s=20, what="the second worker")
            path = f"/api/v1/workers/{job['worker_id']}/drain"
            view = await running.post(path, {"deadline_s": 3})
            assert view["draining"]
            assert await running.post(path, {"deadline_s": 3}) == view
            late = await running.create(required_services=["pong"])
            ready = await running.until_status(late["session_id"], "Ready", within_s=20)
            assert ready["jobs"][0]["worker_id"] != job["worker_id"], "nothing new for the one that drains"

            async def has_moved() -> bool:
                now = await running.session(created["session_id"])
                (moved,) = now["jobs"]
                return bool(moved["ready"] and moved["worker_id"] != job["worker_id"])

            await running.until(has_moved, within_s=20, what="the job to be done by the other worker")
            (moved,) = (await running.session(created["session_id"]))["jobs"]
            assert moved["attempt"] == 2

            async def has_ended() -> bool:
                return first.poll() is not None

            await running.until(has_ended, within_s=15, what="the drained worker to end")
            assert first.returncode == 0

            async def is_alone() -> bool:
                present = await running.get(f"/api/v1/sessions/{created['session_id']}/participants")
                return [p["attempt"] for p in present["participants"]] == [2]

            await running.until(is_alone, within_s=10, what="only the newest attempt to be in the room")
