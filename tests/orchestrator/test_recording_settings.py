"""Where recordings and their keys lie: the same place as the recorder's, and set by the same variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.core.errors import SettingsError
from orchestrator.settings import Settings, load_settings
from recorder.settings import RecorderSettings


def test_orchestrator_and_recorder_look_in_the_same_places() -> None:
    ours, theirs = Settings(), RecorderSettings.model_construct()
    assert ours.recording.chunk_store == theirs.chunk_store
    assert ours.encryption.key_dir == theirs.key_dir
    assert ours.recording.spool_path == theirs.spool_path
    assert ours.recording.spool_budget == theirs.spool_budget


def test_the_variables_of_the_recorder_set_them(tmp_path: Path) -> None:
    environment = {"CHUNK_STORAGE_PATH": "/a/recordings", "GREENROOM_KEY_DIR": "/a/keys"}
    config = tmp_path / "config.toml"
    config.write_text("[encryption]\nkey_dir = '/b'\n")
    settings = load_settings(config, environment)
    assert settings.recording.chunk_store == "/a/recordings"
    assert settings.encryption.key_dir == Path("/a/keys")


@pytest.mark.parametrize("place", ["", "gs://bucket", "s3://me:hunter2@bucket"])
def test_what_is_no_place_is_refused(tmp_path: Path, place: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f"[recording]\nchunk_store = '{place}'\n")
    with pytest.raises(SettingsError, match=r"recording\.chunk_store") as caught:
        load_settings(config, {})
    assert "hunter2" not in str(caught.value)


def test_a_quota_is_written_in_bytes_or_with_a_unit(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    for text, expected in (("1000", 1000), ('"500GiB"', 500 * 2**30), ('"2TB"', 2 * 10**12)):
        config.write_text(f"[recording]\ndisk_quota = {text}\nretention_days = 30\n")
        settings = load_settings(config, {}).recording
        assert (settings.disk_quota, settings.retention_days) == (expected, 30)
    assert settings.quota_policy == "refuse"


@pytest.mark.parametrize(
    "line",
    [
        'spool_budget = "much"',
        "spool_budget = -1",
        'disk_quota = "much"',
        "disk_quota = 0",
        "retention_days = -1",
        'quota_policy = "x"',
    ],
)
def test_a_limit_that_means_nothing_is_refused(tmp_path: Path, line: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f"[recording]\n{line}\n")
    with pytest.raises(SettingsError, match=rf"recording\.{line.split()[0]} "):
        load_settings(config, {})


@pytest.mark.parametrize("value", ['"much"', "-1", '"5XB"'])
def test_what_is_no_size_is_told_how_one_is_written(tmp_path: Path, value: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f"[recording]\ndisk_quota = {value}\n")
    with pytest.raises(SettingsError, match=r"no size; write bytes or a unit, such as 500MB or 2GiB$"):
        load_settings(config, {})


@pytest.mark.parametrize("value", ["correct horse battery staple", "correcthorsebatterystaple"])
def test_a_passphrase_in_the_place_of_its_variable_is_not_shown(tmp_path: Path, value: str) -> None:
    with pytest.raises(SettingsError, match="GREENROOM_PASSPHRASE_ENV") as raised:
        load_settings(None, {"GREENROOM_PASSPHRASE_ENV": value})
    assert value not in str(raised.value)


def test_the_orchestrator_opens_the_keys_as_recorders_do() -> None:
    environment = {
        "GREENROOM_KEY_DIR": "/a/keys",
        "GREENROOM_PASSPHRASE_ENV": "THE_PASSPHRASE",
        "GREENROOM_KMS": "https://vault.example/transit/greenroom",
    }
    keys = load_settings(None, environment).encryption.keys
    assert (keys.key_dir, keys.passphrase_env) == (Path("/a/keys"), "THE_PASSPHRASE")
    assert keys.kms == "https://vault.example/transit/greenroom"
    theirs = RecorderSettings(**environment)  # type: ignore[arg-type]
    assert (theirs.key_dir, theirs.passphrase_env, theirs.kms) == (
        keys.key_dir,
        keys.passphrase_env,
        keys.kms,
    )
