"""`greenroom up` as a person runs it: everything starts, dies, comes back and ends together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from greenroom.embedded_engine import MediaEngine
from greenroom.free_ports import free_port
from tests.integration.servers import ENGINE, look_for

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]

OURS = {"orchestrator", "recorder", "pong_worker"}
# As their command lines have them.
PROGRAMS: dict[MediaEngine, set[str]] = {
    "livekit": OURS | {"livekit-server"},
    "embedded": OURS | {"-m\0engine"},
}
KNOWN = PROGRAMS["livekit"] | PROGRAMS["embedded"]


@dataclass
class Up:
    """A running `greenroom up`, what it printed, and its children."""

    process: subprocess.Popen[str]
    port: int
    lines: list[str] = field(default_factory=list)

    def wait_for(self, text: str, *, within_s: float = 60) -> None:
        eventually(lambda: any(text in line for line in self.lines), within_s, lambda: "\n".join(self.lines))

    def children(self) -> dict[str, int]:
        """Give name and process id of each program that runs under it."""
        found: dict[str, int] = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                command = (folder / "cmdline").read_text()
            except (OSError, ValueError, IndexError):
                continue
            if parent == self.process.pid:
                found |= {name: int(folder.name) for name in KNOWN if name in command}
        return found

    def get(self, path: str) -> dict[str, object]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            body: dict[str, object] = json.load(answer)
            return body

    def post(self, path: str, body: dict[str, object]) -> dict[str, object]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            given: dict[str, object] = json.load(answer)
            return given


def eventually(condition: Callable[[], bool], within_s: float, explain: Callable[[], str]) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s:\n{explain()}"
        time.sleep(0.1)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@contextmanager
def running_up(data: Path, port: int, *, engine: MediaEngine = ENGINE) -> Iterator[Up]:
    """Start it, and leave nothing behind whatever happens in the block."""
    look_for(engine, pytest.skip)
    options = ["--data", str(data), "--port", str(port), "--engine", engine]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LIVEKIT", "SERVER"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "greenroom", "up", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=kept,
        cwd=data.parent,
    )
    up = Up(process, port)

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            up.lines.append(line.rstrip())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield up
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()
        reader.join(timeout=20)
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.mark.parametrize("engine", PROGRAMS)
def test_it_starts_everything_and_one_ctrl_c_ends_all_within_ten_seconds(
    data: Path, engine: MediaEngine
) -> None:
    with running_up(data, free_port(), engine=engine) as up:
        up.wait_for("Greenroom is up")
        children = up.children()
        assert set(children) == PROGRAMS[engine]
        assert up.get("/health")["status"] == "healthy"
        began = time.monotonic()
        up.process.send_signal(signal.SIGINT)
        assert up.process.wait(timeout=15) == 0
        assert time.monotonic() - began < 10
        assert all(is_gone(pid) for pid in children.values())
    assert {path.name for path in data.parent.iterdir()} == {"data"}
    assert (data / "greenroom.db").is_file()


def test_what_dies_comes_back_and_that_is_said(data: Path) -> None:
    with running_up(data, free_port()) as up:
        up.wait_for("Greenroom is up")
        before = up.children()
        programs = PROGRAMS[ENGINE]
        for name in programs:
            os.kill(before[name], signal.SIGKILL)
        eventually(
            lambda: set(up.children()) == programs and not set(up.children().values()) & set(before.values()),
            30,
            lambda: "\n".join(up.lines),
        )
        assert sum("ended (killed by SIGKILL); starting it again" in line for line in up.lines) == 4

        def answers() -> bool:
            try:
                return up.get("/ready") is not None
            except (urllib.error.URLError, OSError):
                return False

        eventually(answers, 30, lambda: "\n".join(up.lines))


def test_killing_it_leaves_nothing_and_the_next_start_takes_the_same_places(data: Path) -> None:
    port = free_port()
    with running_up(data, port) as up:
        up.wait_for("Greenroom is up")
        children = up.children()
        ports = (data / "livekit.ports.json").read_text()
        secret = (data / "livekit.secret").read_text()
        up.process.kill()
        eventually(lambda: all(is_gone(pid) for pid in children.values()), 15, lambda: str(children))
    with running_up(data, port) as up:
        up.wait_for("Greenroom is up")
        assert (data / "livekit.ports.json").read_text() == ports
        assert (data / "livekit.secret").read_text() == secret


def test_a_live_session_goes_on_at_the_next_start(data: Path) -> None:
    port = free_port()
    with running_up(data, port) as up:
        up.wait_for("Greenroom is up")
        created = up.post("/api/v1/create-session", {"user_identity": "guest", "required_services": []})
        assert created["status"] == "Ready"
    assert up.process.returncode == 0
    with running_up(data, port) as up:
        up.wait_for("Greenroom is up")
        session = up.get(f"/api/v1/sessions/{created['session_id']}")
        assert (session["room_name"], session["room_status"]) == (created["room_name"], "Ready")
        token = up.post(f"/api/v1/sessions/{created['session_id']}/token", {"user_identity": "guest"})
        assert token["livekit_url"] == created["livekit_url"]


def test_a_second_one_on_the_same_folder_or_port_is_refused_and_harms_nobody(data: Path) -> None:
    port = free_port()
    with running_up(data, port) as up:
        up.wait_for("Greenroom is up")
        with running_up(data, free_port()) as second:
            assert second.process.wait(timeout=30) == 2
        assert f"held by process {up.process.pid}" in second.lines[-1]
        with running_up(data.parent / "other", port) as third:
            assert third.process.wait(timeout=30) == 2
        assert f"port {port} on 127.0.0.1 cannot be used" in third.lines[-1]
        assert up.get("/health")["status"] == "healthy"


def test_no_secret_shows_on_a_command_line_or_in_a_log(data: Path) -> None:
    with running_up(data, free_port()) as up:
        up.wait_for("Greenroom is up")
        secret = (data / "livekit.secret").read_text().strip().partition(": ")[2]
        for pid in up.children().values():
            assert secret not in Path(f"/proc/{pid}/cmdline").read_text()
    for log in (data / "logs").iterdir():
        assert secret not in log.read_text()
    assert secret not in "\n".join(up.lines)
