"""For authors of workers: run a worker against a fake orchestrator and fake rooms, in one test.

```python
async def test_it_greets() -> None:
    async with WorkerHarness(lambda settings, rooms: make_worker(settings, rooms=rooms)) as harness:
        job = await harness.start_job()
        alice = await harness.rooms.join(job.room_name, "alice")
        ...
        await harness.end_job(job)
```
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Self

from sdk.fake_jobs import FakeJob
from sdk.fake_orchestrator import FakeOrchestrator
from sdk.fake_room import FakeDataPacket, FakeParticipant, FakeRoom, FakeRoomLink, FakeRooms, fake_token
from sdk.ports import RoomFactory
from sdk.settings import WorkerSettings
from sdk.wire import RecordingTask
from sdk.worker import Worker

__all__ = [
    "FakeDataPacket",
    "FakeJob",
    "FakeOrchestrator",
    "FakeParticipant",
    "FakeRoom",
    "FakeRoomLink",
    "FakeRooms",
    "WorkerHarness",
    "fake_token",
]


class WorkerHarness:
    """A worker, its orchestrator and its rooms; an async context manager."""

    def __init__(
        self,
        make: Callable[[WorkerSettings, RoomFactory], Worker],
        *,
        service_id: str = "tested",
        heartbeat_interval: float = 0.5,
        **settings: Any,
    ) -> None:
        """Prepare a harness.

        Args:
            make: makes the worker; gives the room factory on to `Worker(…, rooms=…)`.
            service_id: what the worker offers.
            heartbeat_interval: seconds; three missed ones make the worker lose its connection.
            **settings: more fields of `WorkerSettings`.
        """
        self._make = make
        self._service_id = service_id
        self._settings = settings
        self._worker: Worker | None = None
        self.orchestrator = FakeOrchestrator(heartbeat_interval=heartbeat_interval)
        self.rooms = FakeRooms()

    @property
    def worker(self) -> Worker:
        """The worker under test."""
        assert self._worker is not None
        return self._worker

    async def __aenter__(self) -> Self:
        await self.orchestrator.__aenter__()
        try:
            settings = WorkerSettings(self.orchestrator.url, self._service_id, **self._settings)
            self._worker = self._make(settings, self.rooms.link)
            await self._worker.__aenter__()
        except BaseException:
            await self.orchestrator.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.worker.__aexit__()
        finally:
            await self.orchestrator.__aexit__(None, None, None)

    async def start_job(
        self, *, metadata: dict[str, str] | None = None, recording: RecordingTask | None = None, **offer: Any
    ) -> FakeJob:
        """Offer and assign a job, and wait until the worker is in its room and `join_room` has begun."""
        job = await self.orchestrator.offer(metadata=metadata, **offer)
        self.rooms.create(job.room_name)
        await self.orchestrator.accepted(job)
        await self.orchestrator.assign(job, recording=recording)
        await self.orchestrator.reported(job, "joined")
        await asyncio.sleep(0.01)  # the first step of `join_room` comes right behind the report
        return job

    async def end_job(self, job: FakeJob) -> None:
        """Ask the worker to leave and wait until it is done."""
        await self.orchestrator.leave(job)
        await self.orchestrator.reported(job, "done")
