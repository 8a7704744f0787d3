"""Starts real LiveKit agents (tests/integration/agent.py) as processes, and reads what they say."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from greenroom.media_server import MediaServer, clean_environment
from scripts.agents_environment import ensure

PROGRAM: Final = Path(__file__).with_name("agent.py")
REGISTER_S: Final = 30.0  # importing livekit-agents takes seconds where both cores are busy


class AgentProcess:
    """One running agent worker, its output in a file."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    def log(self) -> str:
        """Give what it wrote."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def said(self, what: str) -> list[dict[str, Any]]:
        """Give its own lines of a kind: ``asked``, ``begun`` or ``joined``."""
        lines = [json.loads(line) for line in self.log().splitlines() if line.startswith('{"at"')]
        return [line for line in lines if line["what"] == what]

    async def registered(self) -> None:
        """Wait until LiveKit has taken it."""
        deadline = time.monotonic() + REGISTER_S
        while '"registered worker"' not in self.log():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            await asyncio.sleep(0.05)

    def kill(self) -> None:
        """Kill -9."""
        self.process.kill()
        self.process.wait(timeout=10)


@contextmanager
def agent_process(media: MediaServer, folder: Path, name: str) -> Iterator[AgentProcess]:
    """Run an agent of this name beside a media server.

    Raises:
        EnvironmentMissingError: there is no environment for it, and none can be made.
    """
    environment = {
        **clean_environment(os.environ),
        "LIVEKIT_URL": media.url,
        "LIVEKIT_API_KEY": media.api_key,
        "LIVEKIT_API_SECRET": media.api_secret,
    }
    environment.pop("PYTHONPATH", None)
    path = folder / f"agent-{name}-{time.monotonic_ns()}.log"
    with path.open("wb") as log:
        process = subprocess.Popen(
            [str(ensure()), str(PROGRAM), name, "start"], env=environment, stdout=log, stderr=log
        )
    try:
        yield AgentProcess(process, path)
    finally:
        if process.poll() is None:
            process.kill()  # it would wait for its jobs
            process.wait(timeout=10)
