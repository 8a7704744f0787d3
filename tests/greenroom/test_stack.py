"""What the stack decides before it starts anything: settings, port, and what each program is told."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from greenroom import media_server
from greenroom.errors import CommandError
from greenroom.free_ports import free_port
from greenroom.stack import (
    check_port,
    chunk_store_of,
    media_server_program,
    orchestrator_program,
    read_settings,
    worker_programs,
)
from orchestrator.settings import Settings, load_settings

SECRET = "s" * 40


def test_a_media_server_of_ones_own_needs_its_key_and_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEKIT_URL", "wss://media.example")
    monkeypatch.setenv("LIVEKIT_API_KEY", "key")
    with pytest.raises(CommandError, match="LIVEKIT_API_SECRET"):
        read_settings()
    monkeypatch.setenv("LIVEKIT_API_SECRET", "weak")
    with pytest.raises(CommandError, match="LIVEKIT_API_SECRET has 4 characters"):
        read_settings()
    monkeypatch.setenv("LIVEKIT_API_SECRET", SECRET)
    assert read_settings().livekit.server_url == "wss://media.example"


def test_a_taken_port_is_one_sentence_with_the_fix() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(
            CommandError, match=rf"port {port} on 127\.0\.0\.1 cannot be used \(.*\); .*--port N"
        ):
            check_port(port)
    check_port(port)


def test_the_orchestrator_keeps_everything_in_the_data_folder() -> None:
    livekit = {"LIVEKIT_SERVER_URL": "ws://127.0.0.1:1", "LIVEKIT_API_KEY": "k", "LIVEKIT_API_SECRET": SECRET}
    program = orchestrator_program(Path("/data"), 8123, livekit, "/data/recordings")
    expected = {
        "SERVER_HOST": "127.0.0.1",
        "SERVER_PORT": "8123",
        "STORE_URL": "sqlite:////data/greenroom.db",
        "CHUNK_STORAGE_PATH": "/data/recordings",
        "GREENROOM_KEY_DIR": "/data/keys",
        **livekit,
    }
    assert expected.items() <= program.env.items()
    assert SECRET not in " ".join(program.argv)
    assert SECRET not in repr(program)


def test_recordings_lie_in_the_data_folder_unless_another_place_is_configured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert chunk_store_of(read_settings(), Path("/data")) == "/data/recordings"
    monkeypatch.setenv("CHUNK_STORAGE_PATH", "s3://bucket/prefix")
    assert chunk_store_of(read_settings(), Path("/data")) == "s3://bucket/prefix"


def test_workers_are_told_where_the_orchestrator_is_and_no_secret_of_livekit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LIVEKIT_API_SECRET", SECRET)
    monkeypatch.setenv("VAULT_TOKEN", "hvs.token")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "aws-secret")
    monkeypatch.setenv("THE_PASSPHRASE", "correct horse battery staple")
    monkeypatch.setenv("GREENROOM_PASSPHRASE_ENV", "THE_PASSPHRASE")
    monkeypatch.setenv("GREENROOM_KMS", "https://vault.example/transit/key")
    monkeypatch.setenv("CHUNK_STORAGE_PATH", "s3://bucket/p")
    recorder, pong = worker_programs(Path("/data"), "http://127.0.0.1:8123", load_settings())
    assert recorder.env["GREENROOM_PASSPHRASE_ENV"] == "THE_PASSPHRASE"
    assert recorder.env["GREENROOM_KMS"] == "https://vault.example/transit/key"
    secrets = {"VAULT_TOKEN", "THE_PASSPHRASE", "AWS_SECRET_ACCESS_KEY"}
    assert secrets <= set(recorder.env)
    assert not secrets & set(pong.env)
    assert recorder.env["CHUNK_STORAGE_PATH"] == "s3://bucket/p"
    assert recorder.env["SPOOL_PATH"] == "/data/spool"
    assert recorder.env["GREENROOM_KEY_DIR"] == "/data/keys"
    for program in (recorder, pong):
        assert program.env["GREENROOM_URL"] == "http://127.0.0.1:8123"
        assert SECRET not in program.env.values()


def test_the_recorder_spools_where_and_as_much_as_the_file_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[recording]\nspool_path = '/fast/spool'\nspool_budget = '500MB'\n")
    recorder, _ = worker_programs(Path("/data"), "http://127.0.0.1:1", load_settings(config))
    assert (recorder.env["SPOOL_PATH"], recorder.env["SPOOL_BUDGET"]) == ("/fast/spool", "500000000")
    monkeypatch.setenv("SPOOL_BUDGET", "0")  # a variable wins over the file
    recorder, _ = worker_programs(Path("/data"), "http://127.0.0.1:1", load_settings(config))
    assert recorder.env["SPOOL_BUDGET"] == "0"


def test_workers_end_before_the_orchestrator_and_all_of_it_within_ten_seconds(tmp_path: Path) -> None:
    orchestrator = orchestrator_program(tmp_path, free_port(), {}, "recordings")
    workers = worker_programs(tmp_path, "http://127.0.0.1:1", Settings())
    assert all(worker.stage < orchestrator.stage for worker in workers)
    livekit = media_server_program(media_server.prepare(tmp_path, binary=Path("/bin/false")))
    assert orchestrator.stage < livekit.stage
    programs = (workers[0], orchestrator, livekit)
    assert sum(grace_s for program in programs for _, grace_s in program.stop_steps) <= 10
