"""A pull worker of the test: it says hello, speaks by its line, and keeps what it is told."""

from __future__ import annotations

from typing import Any

from orchestrator.service.registry import Worker
from sdk.wire import Hello, WorkerFrame
from tests.fakes.assembly import Assembly
from tests.fakes.workers import FakeLine


class Pulled:
    """A pull worker of the test: its line, and what it says."""

    def __init__(self, running: Assembly, worker: Worker, line: FakeLine) -> None:
        self.running, self.worker, self.line = running, worker, line

    async def say(self, frame: WorkerFrame) -> None:
        await self.running.pull.frame(self.worker, self.line, frame)
        await self.running.settled()


async def hello(running: Assembly, worker_id: str = "w1", *, service: str = "asr", **fields: Any) -> Pulled:
    line = FakeLine()
    frame = Hello(service_id=service, worker_id=worker_id, **fields)
    worker = await running.pull.welcome(line, frame)
    await running.settled()
    return Pulled(running, worker, line)
