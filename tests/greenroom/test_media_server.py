"""The media server of `up` and of the tests: its configuration, its start and its three ways to end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from livekit import api, rtc

from greenroom import free_ports, media_server
from greenroom.errors import MediaServerError
from greenroom.media_server import MediaServer, prepare
from tests.integration.servers import LiveKitFactory, SharedLiveKit

NEVER_RUN = Path("/nonexistent/livekit-server")


def test_the_configuration_is_the_template_with_ports_keys_and_webhook_filled_in(tmp_path: Path) -> None:
    setup = prepare(tmp_path, webhook_urls=["http://127.0.0.1:1/hook"], binary=NEVER_RUN)
    config = yaml.safe_load(Path(setup.argv[2]).read_text())
    assert config["port"] == setup.http_port
    assert config["rtc"]["udp_port"] == setup.udp_port
    assert [server.split(":")[0] for server in config["rtc"]["stun_servers"]] == ["127.0.0.1"]
    webhook = config["webhook"]
    assert (webhook["api_key"], webhook["urls"]) == (setup.api_key, ["http://127.0.0.1:1/hook"])
    assert "participant_joined" in webhook["filter_params"]["include_events"]
    assert config["bind_addresses"] == ["127.0.0.1"]
    assert config["room"]["auto_create"] is False


def test_the_secret_is_strong_private_and_neither_in_the_configuration_nor_on_the_command_line(
    tmp_path: Path,
) -> None:
    setup = prepare(tmp_path, binary=NEVER_RUN)
    key_file = tmp_path / "livekit.secret"
    assert len(setup.api_secret) >= 32
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert setup.api_secret not in Path(setup.argv[2]).read_text()
    assert setup.api_secret not in " ".join(setup.argv)
    assert setup.api_secret not in repr(setup)


def test_a_second_start_takes_the_same_keys_and_ports(tmp_path: Path) -> None:
    first, second = prepare(tmp_path, binary=NEVER_RUN), prepare(tmp_path, binary=NEVER_RUN)
    assert (first.api_secret, first.http_port, first.udp_port) == (
        second.api_secret,
        second.http_port,
        second.udp_port,
    )


def test_a_remembered_port_that_is_taken_now_is_left_to_its_holder(tmp_path: Path) -> None:
    first = prepare(tmp_path, binary=NEVER_RUN)
    with socket.create_server(("127.0.0.1", first.http_port)):
        second = prepare(tmp_path, binary=NEVER_RUN)
    assert second.http_port != first.http_port


@pytest.mark.parametrize(
    "memory", ["", "{}", "[1]", '{"http": "x", "udp": 1}', '{"http": 99999999, "udp": 1}']
)
def test_an_unusable_memory_of_ports_is_no_obstacle(tmp_path: Path, memory: str) -> None:
    (tmp_path / "livekit.ports.json").write_text(memory)
    assert free_ports.is_tcp_free(prepare(tmp_path, binary=NEVER_RUN).http_port)


def test_overrides_win_and_leave_their_neighbours(tmp_path: Path) -> None:
    setup = prepare(tmp_path, overrides={"room": {"auto_create": True}}, binary=NEVER_RUN)
    config = yaml.safe_load(Path(setup.argv[2]).read_text())
    assert config["room"]["auto_create"] is True
    assert config["room"]["max_participants"] == 50


def test_a_missing_program_is_one_sentence_with_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media_server, "find_livekit_server", lambda: None)
    with pytest.raises(MediaServerError, match=r"neither on PATH nor in \.tools; run: .*livekit_server\.py"):
        prepare(tmp_path)


def test_a_program_that_ends_at_its_start_names_its_log(tmp_path: Path) -> None:
    setup = prepare(tmp_path, binary=Path("/bin/false"))
    with pytest.raises(MediaServerError, match=r"ended at its start \(code 1\); see .*livekit\.log"):
        MediaServer(setup).start()


@pytest.mark.integration
async def test_it_makes_rooms_and_its_webhooks_reach_the_target(livekit_server: SharedLiveKit) -> None:
    async with api.LiveKitAPI(
        livekit_server.url.replace("ws", "http", 1), livekit_server.api_key, livekit_server.api_secret
    ) as rooms:
        await rooms.room.create_room(api.CreateRoomRequest(name="webhook-reaches-target"))
        await rooms.room.delete_room(api.DeleteRoomRequest(room="webhook-reaches-target"))
    receiver = api.WebhookReceiver(api.TokenVerifier(livekit_server.api_key, livekit_server.api_secret))
    deadline = time.monotonic() + 10
    events: set[str] = set()
    while "room_finished" not in events:
        assert time.monotonic() < deadline, f"only {events} arrived"
        await asyncio.sleep(0.05)
        events = {
            receiver.receive(webhook.body.decode(), webhook.authorization).event
            for webhook in list(livekit_server.webhooks.received)
        }


@pytest.mark.integration
async def test_it_ends_within_two_seconds_while_somebody_is_in_a_room(
    fresh_real_livekit_server: LiveKitFactory,
) -> None:
    server = fresh_real_livekit_server(overrides={"room": {"auto_create": True}})
    grants = api.VideoGrants(room_join=True, room="busy")
    token = api.AccessToken(server.api_key, server.api_secret).with_identity("guest").with_grants(grants)
    room = rtc.Room()
    await asyncio.wait_for(room.connect(server.url, token.to_jwt()), 10)
    began = time.monotonic()
    await asyncio.to_thread(server.stop)
    assert time.monotonic() - began < 2
    assert not server.is_running
    await asyncio.wait_for(room.disconnect(), 10)


@pytest.mark.integration
def test_killed_it_comes_back_on_the_same_ports(fresh_livekit_server: LiveKitFactory) -> None:
    server = fresh_livekit_server()
    url, pid = server.url, server.pid
    server.kill()
    assert not media_server.answers(server.setup)
    server.start()
    assert server.url == url
    assert server.pid != pid
    assert media_server.answers(server.setup)


@pytest.mark.integration
async def test_it_is_an_async_context_manager_that_leaves_no_process(tmp_path: Path) -> None:
    async with MediaServer(prepare(tmp_path)) as server:
        pid = server.pid
        assert server.is_running
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.integration
def test_it_dies_when_the_one_who_started_it_is_killed(tmp_path: Path) -> None:
    starter = (
        "import sys, time, pathlib; from greenroom.media_server import MediaServer, prepare\n"
        "server = MediaServer(prepare(pathlib.Path(sys.argv[1]))); server.start()\n"
        "print(server.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", starter, str(tmp_path)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        os.kill(pid, 0)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline, "livekit-server outlived the process that started it"
        time.sleep(0.02)
