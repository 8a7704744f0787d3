"""Which media server is chosen, and how the embedded engine is told what `livekit.yaml` says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.settings import load_settings
from greenroom import livekit_secret, media_binary
from greenroom.embedded_engine import choose_engine, engine_arguments
from greenroom.errors import MediaServerError
from greenroom.media_server import prepare


@pytest.fixture
def no_livekit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_binary, "TOOLS_DIR", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture
def livekit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    binary = tmp_path / "livekit-server"
    binary.write_text(f"#!/bin/sh\necho livekit-server version {media_binary.LIVEKIT_VERSION}\n")
    binary.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return binary


def test_auto_takes_the_configured_one_first_then_livekit(livekit: Path) -> None:
    engine, said = choose_engine("auto", server_url="wss://media.example")
    assert (engine, said) == (None, "LiveKit at wss://media.example, as configured")
    engine, said = choose_engine("auto", server_url=None)
    assert (engine, str(livekit) in said) == ("livekit", True)
    assert choose_engine("livekit", server_url=None)[0] == "livekit"
    assert choose_engine("livekit", server_url="wss://media.example")[0] is None


@pytest.mark.usefixtures("no_livekit")
def test_without_livekit_auto_takes_the_embedded_one_and_says_why() -> None:
    engine, said = choose_engine("auto", server_url=None)
    assert (engine, "no livekit-server" in said) == ("embedded", True)
    with pytest.raises(MediaServerError, match="--engine embedded"):
        choose_engine("livekit", server_url=None)


@pytest.mark.usefixtures("livekit")
def test_who_asks_for_the_embedded_one_gets_it() -> None:
    assert choose_engine("embedded", server_url="wss://media.example")[0] == "embedded"


def test_the_engine_reads_back_what_livekit_yaml_says(tmp_path: Path) -> None:
    overrides = {"room": {"auto_create": True, "empty_timeout": 7}}
    setup = prepare(tmp_path, engine="embedded", webhook_urls=["http://127.0.0.1:9/w"], overrides=overrides)
    assert setup.argv[1:4] == ("-P", "-m", "engine")
    assert setup.api_secret not in " ".join(setup.argv)
    settings = load_settings(setup.argv[4:], {})
    assert (settings.port, settings.udp_port, settings.host) == (setup.http_port, setup.udp_port, "127.0.0.1")
    assert (settings.key.api_key, settings.key.api_secret) == (setup.api_key, setup.api_secret)
    assert settings.webhook_urls == ["http://127.0.0.1:9/w"]
    assert "room_finished" in settings.webhook_events
    room = settings.room_defaults
    assert (room.empty_timeout, room.departure_timeout, room.max_participants) == (7, 480, 50)
    assert settings.auto_create


def test_what_the_engine_does_not_have_is_refused_and_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"redis\.address"):
        engine_arguments({"redis": {"address": "127.0.0.1:6379"}})
    with pytest.raises(ValueError, match=r"room\.playout_delay\.enabled"):
        prepare(tmp_path, engine="embedded", overrides={"room": {"playout_delay": {"enabled": True}}})


def test_no_filter_of_webhooks_sends_all(tmp_path: Path) -> None:
    setup = prepare(tmp_path, engine="embedded", overrides={"webhook": {"filter_params": None}})
    assert load_settings(setup.argv[4:], {}).webhook_events == []


def test_both_engines_take_the_ports_and_the_key_of_the_last_start(tmp_path: Path) -> None:
    one = prepare(tmp_path, engine="embedded")
    other = prepare(tmp_path, binary=Path("/bin/false"))
    assert (one.url, one.api_secret) == (other.url, other.api_secret)
    assert (one.log_path.name, other.log_path.name) == ("engine.log", "livekit.log")
    assert (tmp_path / livekit_secret.FILE_NAME).stat().st_mode & 0o077 == 0
