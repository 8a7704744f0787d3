"""`python -m engine` as a process: it says where it is and what it does not do, refuses, and ends at once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest
from livekit import api
from livekit.protocol import models, rtc

from greenroom.free_ports import free_port, is_tcp_free, is_udp_free
from greenroom.media_server import MediaServer, prepare

pytestmark = pytest.mark.xdist_group("timed")

# Seconds until it has ended: the goal, and what a loaded machine is given.
ENDS_WITHIN_S = 1.0 if os.environ.get("GREENROOM_FULL") else 3.0
KEYS = {"LIVEKIT_API_KEY": "tests", "LIVEKIT_API_SECRET": "a secret of at least thirty-two characters"}


def started(*arguments: str, **variables: str) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LIVEKIT")}
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "engine", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**kept, **variables},
    )


@contextmanager
def engine(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Start one with our keys; gives it and the two lines that it says first."""
    with started(*arguments, **KEYS) as process:
        try:
            assert process.stdout is not None
            yield process, [process.stdout.readline().strip() for _ in range(2)]
        finally:
            process.kill()


def test_it_takes_free_ports_says_where_it_is_and_what_it_does_not_do() -> None:
    with engine("--port", "0", "--udp-port", "0") as (_, (ready, not_done)):
        url = ready.removeprefix("engine ready at ")
        assert url.startswith("ws://127.0.0.1:")
        with urllib.request.urlopen(url.replace("ws", "http", 1), timeout=5) as answer:
            assert answer.read() == b"OK"
        for word in ("development", "congestion control", "TURN", "egress", "agent dispatch", "resuming"):
            assert word in not_done


def test_sigterm_ends_it_within_a_second_and_gives_the_ports_back() -> None:
    tcp, udp = free_port(), free_port()
    with engine("--port", str(tcp), "--udp-port", str(udp)) as (process, _):
        assert not is_tcp_free(tcp)
        assert not is_udp_free(udp)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=5) == 0
        assert time.monotonic() - began < ENDS_WITHIN_S
    assert is_tcp_free(tcp)
    assert is_udp_free(udp)


@pytest.mark.parametrize(
    ("arguments", "variables", "sentence"),
    [
        (("--host", "0.0.0.0"), KEYS, "0.0.0.0 is no loopback address"),
        (("--port", "0"), {}, "LIVEKIT_API_KEY and LIVEKIT_API_SECRET must hold a key"),
        (("--port", "0"), {**KEYS, "LIVEKIT_API_SECRET": "letmein"}, "32 characters or more"),
    ],
)
def test_what_it_cannot_be_started_with_is_one_sentence_and_code_2(
    arguments: tuple[str, ...], variables: dict[str, str], sentence: str
) -> None:
    with started(*arguments, **variables) as process:
        _, said = process.communicate(timeout=20)
    assert process.returncode == 2
    assert sentence in said
    assert len(said.splitlines()) == 1
    assert "letmein" not in said


def test_a_port_that_is_taken_is_one_sentence_and_code_2() -> None:
    with engine("--port", "0", "--udp-port", "0") as (_, (ready, _)):
        port = ready.rpartition(":")[2]
        with started("--port", port, "--udp-port", "0", **KEYS) as process:
            _, said = process.communicate(timeout=20)
    assert (process.returncode, said.count("\n")) == (2, 1)
    assert port in said


async def test_who_is_connected_is_told_when_it_ends(tmp_path: Path) -> None:
    async with MediaServer(prepare(tmp_path, engine="embedded")) as server:
        cmdline = Path(f"/proc/{server.pid}/cmdline").read_text()
        assert server.api_secret not in cmdline
        async with api.LiveKitAPI(server.url, server.api_key, server.api_secret) as backend:
            await backend.room.create_room(api.CreateRoomRequest(name="tea"))
        grants = api.VideoGrants(room_join=True, room="tea")
        token = api.AccessToken(server.api_key, server.api_secret).with_identity("ada").with_grants(grants)
        headers = {"Authorization": f"Bearer {token.to_jwt()}"}
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(f"{server.url}/rtc", headers=headers) as socket,
        ):
            joined = rtc.SignalResponse.FromString((await socket.receive(timeout=5)).data)
            assert joined.join.room.name == "tea"
            began = time.monotonic()
            os.kill(server.pid, signal.SIGTERM)
            async with asyncio.timeout(5):
                async for message in socket:
                    said = rtc.SignalResponse.FromString(message.data)
                    if said.HasField("leave"):
                        break
                else:
                    pytest.fail("the socket closed without a goodbye")
            assert said.leave.reason == models.SERVER_SHUTDOWN
            while server.is_running:
                assert time.monotonic() - began < ENDS_WITHIN_S
                await asyncio.sleep(0.01)
    assert "Traceback" not in server.setup.log_path.read_text()
