"""The worker of the plain contract knows none of our code, registers again and again, and answers as told."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

import examples.reference_worker
from sdk.testing import FakeJob, FakeOrchestrator

JOB = FakeJob(job_id="s1", attempt=1, session_id="s1", room_name="room-s1", identity="plain")


def test_it_imports_nothing_of_ours() -> None:
    tree = ast.parse(Path(examples.reference_worker.__file__).read_text(encoding="utf-8"))
    modules = {
        (node.module or "").split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
    } | {
        name.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for name in node.names
    }
    assert modules.isdisjoint({"sdk", "greenroom", "orchestrator", "recorder", "vault", "examples"})


@pytest.mark.parametrize("joins", [False, True])
async def test_it_registers_late_and_answers(joins: bool) -> None:
    async with FakeOrchestrator(livekit_url="ws://127.0.0.1:9") as fake:
        await fake.go_away()
        program = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "examples.reference_worker",
            "--url",
            fake.url,
            "--service-id",
            "plain",
            *([] if joins else ["--no-join"]),
            env=dict(os.environ),
            stderr=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
        )
        try:
            await asyncio.sleep(0.7)
            await fake.come_back()
            registration = await fake.registered()
            assert registration.service_id == "plain"
            assert registration.worker_id is None
            assert await fake.call("health") == (200, '{"status": "healthy"}')
            status, text = await fake.join_room(JOB, with_attempt=False)
            if joins:  # there is no media server at that address
                assert (status, text) == (500, "Failed to join room: ConnectError")
            else:
                assert status == 200
                assert json.loads(text)["service_id"] == "plain"
            program.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(program.wait(), 5) == 0
        finally:
            if program.returncode is None:
                program.kill()
                await program.wait()
