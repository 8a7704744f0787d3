"""What the engine is started with, and what it refuses to start with."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.settings import SettingsError, load_settings

KEYS = {"LIVEKIT_API_KEY": "tests", "LIVEKIT_API_SECRET": "s" * 32}


def test_the_command_line_and_the_environment_are_read() -> None:
    argv = ["--port", "0", "--webhook-url", "http://127.0.0.1:1/a", "--webhook-event", "room_finished"]
    settings = load_settings([*argv, "--empty-timeout", "7"], KEYS)
    assert (settings.port, settings.udp_port, settings.host) == (0, 7882, "127.0.0.1")
    assert (settings.webhook_urls, settings.webhook_events) == (["http://127.0.0.1:1/a"], ["room_finished"])
    assert (settings.room_defaults.empty_timeout, settings.room_defaults.departure_timeout) == (7, 20)
    assert settings.key.api_secret == "s" * 32
    assert "sss" not in repr(settings)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "::", "localhost", "127.0.0.1.example.org", ""])
def test_an_address_that_others_reach_is_refused(host: str) -> None:
    with pytest.raises(SettingsError, match="no loopback address"):
        load_settings(["--host", host], KEYS)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1"])
def test_every_loopback_address_will_do(host: str) -> None:
    assert load_settings(["--host", host], KEYS).host == host


@pytest.mark.parametrize("said", ["--port=65536", "--udp-port=-1", "--max-participants=x"])
def test_a_number_out_of_range_is_refused(said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        load_settings([said], KEYS)
    assert ended.value.code == 2
    assert "number from 0 to" in capsys.readouterr().err


def test_the_key_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f"tests: {'k' * 32}\n")
    path.chmod(0o600)
    assert load_settings(["--key-file", str(path)], KEYS).key.api_secret == "k" * 32
    path.chmod(0o640)
    with pytest.raises(SettingsError, match="chmod 600"):
        load_settings(["--key-file", str(path)], {})


def test_a_missing_or_weak_key_is_refused_without_being_told(tmp_path: Path) -> None:
    weak = tmp_path / "weak"
    weak.write_text("tests: letmein\n")
    weak.chmod(0o600)
    for argv in ([], ["--key-file", str(tmp_path / "none")], ["--key-file", str(weak)]):
        with pytest.raises(SettingsError) as refused:
            load_settings(argv, {})
        assert "letmein" not in str(refused.value)
