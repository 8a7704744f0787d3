"""A worker for the fault tests: joins rooms through LiveKit's SDK and writes down what it is given, when.

    python -m tests.invariants.real.worker_process JOURNAL

Settings come from `GREENROOM_…` variables. A line of the journal is JSON: `at` (CLOCK_MONOTONIC, one clock
for all processes of the machine), `what`, `worker_id`, `job_id`, `attempt`, `detail`. With `ZOMBIE_SAYS=done`
or `failed`, a job that finds that its process was frozen says so at once: a word of an attempt that is over.
SIGUSR1 makes every job say `done`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final

from sdk.hooks import WorkerHandler
from sdk.job import Job
from sdk.settings import WorkerSettings
from sdk.worker import Worker

_LOOK_S: Final = 0.2
_FROZEN_S: Final = 3.0  # a pause of the loop that no busy machine makes


class JournalWorker(WorkerHandler):
    """Stays in its rooms and keeps the journal; one write per line, so that a kill tears none."""

    def __init__(self, worker_id: str, journal: int, *, zombie_says: str = "") -> None:
        self._worker_id = worker_id
        self._journal = journal
        self._zombie_says = zombie_says
        self._asked_for_done = 0  # how often; each job says it once for each

    async def join_room(self, job: Job) -> None:
        """Write down the delivery, then stay until told otherwise."""
        self._write("joined", job)
        looked_at, asked = time.monotonic(), self._asked_for_done
        while True:
            await asyncio.sleep(_LOOK_S)
            if self._asked_for_done > asked:
                return await self._say(job, "done")
            pause_s, looked_at = time.monotonic() - looked_at, time.monotonic()
            if pause_s > _FROZEN_S and self._zombie_says:
                return await self._say(job, self._zombie_says)

    async def leave_room(self, job: Job) -> None:
        """Write down how it ended."""
        self._write("left", job, job.end_reason or "")

    async def rejoined(self, job: Job) -> None:
        """Write down that the room was joined again."""
        self._write("rejoined", job)

    def say_done(self) -> None:
        """Make every job end as done: a word of attempts that are current."""
        self._asked_for_done += 1

    async def _say(self, job: Job, word: str) -> None:
        self._write("spoke", job, word)
        if word == "done":
            await job.leave()
        else:
            await job.fail("the process was frozen")

    def _write(self, what: str, job: Job, detail: str = "") -> None:
        line = {
            "at": time.monotonic(),
            "what": what,
            "worker_id": self._worker_id,
            "job_id": job.job_id,
            "attempt": job.attempt,
            "detail": detail,
        }
        os.write(self._journal, (json.dumps(line) + "\n").encode())


async def _serve(settings: WorkerSettings, journal: int) -> None:
    handler = JournalWorker(settings.worker_id, journal, zombie_says=os.environ.get("ZOMBIE_SAYS", ""))
    worker = Worker(settings, handler)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, handler.say_done)
    async with worker:
        stopped = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stopped.set)
        await stopped.wait()


def main() -> None:
    """Serve until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    journal = os.open(Path(sys.argv[1]), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    asyncio.run(_serve(WorkerSettings.from_env(), journal))


if __name__ == "__main__":
    main()
