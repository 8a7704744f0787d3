"""A real S3 server for tests: versitygw on a folder and a free port, to be killed or frozen."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from greenroom.free_ports import LOOPBACK, free_port
from scripts.versitygw import VERSION, find_versitygw
from vault.core.store_location import S3Location

MISSING = f"versitygw {VERSION} is not there; run: python3 scripts/versitygw.py"
ACCESS_KEY, SECRET_KEY = "tester", "a-secret-of-the-tests"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
_START_S = 20.0


class S3Server:
    """One process; `start` after `kill` comes back on the same port with the same objects."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._program, self._folder = program, folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def endpoint(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def make_bucket(self) -> str:
        """Make a bucket that nobody else uses."""
        name = f"bucket-{uuid.uuid4()}"
        self.path_of(name).mkdir()
        return name

    def path_of(self, bucket: str) -> Path:
        """Where this server keeps a bucket's objects, as files."""
        return self._folder / bucket

    def location(self, bucket: str, prefix: str = "recordings") -> S3Location:
        """How a chunk store in this bucket is written."""
        return S3Location(bucket=bucket, prefix=prefix, endpoint=self.endpoint, region="us-east-1")

    def start(self) -> None:
        """Start it and wait until it answers."""
        own = {"ROOT_ACCESS_KEY_ID": ACCESS_KEY, "ROOT_SECRET_ACCESS_KEY": SECRET_KEY}
        argv = [str(self._program), "--port", f"{LOOPBACK}:{self.port}", "--keep-alive", "--quiet"]
        self._process = subprocess.Popen(
            [*argv, "--health", "/health", "posix", str(self._folder)],
            env={**os.environ, **own},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _START_S
        while not self._answers():
            assert self._process.poll() is None, "versitygw ended"
            assert time.monotonic() < deadline, "versitygw does not answer"
            time.sleep(0.05)

    def freeze(self) -> None:
        """Let it take connections and answer nothing, until `thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, frozen or not; twice is no matter."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=10)

    def _signal(self, signum: int) -> None:
        assert self._process is not None
        self._process.send_signal(signum)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=1)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()


@contextmanager
def running_s3_server(folder: Path, skip: Callable[[str], None]) -> Iterator[S3Server]:
    """Start one; it is gone afterwards."""
    program = find_versitygw()
    if program is None:
        skip(MISSING)
    assert program is not None
    server = S3Server(program, folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
