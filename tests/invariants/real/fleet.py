"""Worker processes that a test kills, freezes and wakes by their process id, and what they wrote down."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from greenroom import die_with_parent

PULL_SERVICE: Final = "asr"
PUSH_SERVICE: Final = "tts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a worker's journal; ``at`` is CLOCK_MONOTONIC, which all processes share."""

    at: float
    what: str
    worker_id: str
    job_id: str
    attempt: int
    detail: str


class WorkerProcess:
    """One worker; `start` after `kill` starts it again under the same worker id."""

    def __init__(self, worker_id: str, service_id: str, *, folder: Path, is_push: bool = False) -> None:
        self.worker_id = worker_id
        self.service_id = service_id
        self.is_push = is_push
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._is_frozen = False

    @property
    def is_frozen(self) -> bool:
        """Whether it was stopped and not woken."""
        return self._is_frozen

    @property
    def is_alive(self) -> bool:
        """Whether the process exists, frozen or not."""
        return self._process is not None and self._process.poll() is None

    def start(self, orchestrator_url: str, *, zombie_says: str = "") -> None:
        """Start the process; it connects by itself."""
        environment = {
            **os.environ,
            "GREENROOM_URL": orchestrator_url,
            "GREENROOM_SERVICE_ID": self.service_id,
            "GREENROOM_WORKER_ID": self.worker_id,
            "GREENROOM_CAPACITY": "100",
            "ZOMBIE_SAYS": zombie_says,
        }
        if self.is_push:
            environment["GREENROOM_ENDPOINT"] = "http://127.0.0.1:0"
        program = [sys.executable, "-m", "tests.invariants.real.worker_process", str(self._journal)]
        with (self._folder / f"{self.worker_id}.log").open("ab") as log:
            self._process = subprocess.Popen(
                die_with_parent.with_parent(program, signum=signal.SIGKILL),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """Kill -9."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(timeout=10)
        self._is_frozen = False

    def freeze(self) -> None:
        """SIGSTOP: the sockets stand, nobody answers."""
        self._signal(signal.SIGSTOP)
        self._is_frozen = True

    def wake(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)
        self._is_frozen = False

    def say_done(self) -> None:
        """Make every job that it holds say `done`."""
        self._signal(signal.SIGUSR1)

    def journal(self) -> list[Line]:
        """Give what it wrote down, over all its starts."""
        if not self._journal.exists():
            return []
        lines: list[dict[str, Any]] = [json.loads(line) for line in self._journal.read_text().splitlines()]
        return [Line(**line) for line in lines]

    def log(self) -> str:
        """Give the end of its log."""
        path = self._folder / f"{self.worker_id}.log"
        return path.read_text()[-3000:] if path.exists() else ""

    @property
    def _journal(self) -> Path:
        return self._folder / f"{self.worker_id}.jsonl"

    def _signal(self, signum: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signum)


class Fleet:
    """The workers of one test: pull workers of `asr`, push workers of `tts`."""

    def __init__(self, workers: Sequence[WorkerProcess]) -> None:
        self.workers = list(workers)

    @property
    def pull(self) -> list[WorkerProcess]:
        """Those with an outgoing socket."""
        return [worker for worker in self.workers if not worker.is_push]

    @property
    def push(self) -> list[WorkerProcess]:
        """Those that are called."""
        return [worker for worker in self.workers if worker.is_push]

    def find(self, worker_id: str) -> WorkerProcess:
        """Give a worker by its id."""
        return next(worker for worker in self.workers if worker.worker_id == worker_id)

    def journal(self) -> list[Line]:
        """Give what all of them wrote down, in the order of time."""
        lines = [line for worker in self.workers for line in worker.journal()]
        return sorted(lines, key=lambda line: line.at)


@contextmanager
def fleet(folder: Path, *, pull: int, push: int) -> Iterator[Fleet]:
    """Give workers that are not started yet; whatever runs is killed at the end."""
    workers = [
        *(WorkerProcess(f"pull-{n}", PULL_SERVICE, folder=folder) for n in range(1, pull + 1)),
        *(WorkerProcess(f"push-{n}", PUSH_SERVICE, folder=folder, is_push=True) for n in range(1, push + 1)),
    ]
    try:
        yield Fleet(workers)
    finally:
        for worker in workers:
            worker.kill()  # also ends one that is frozen
