"""What the recorder is told of `config.toml`: what is configured, in words that it reads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from greenroom.recorder_environment import recorder_environment
from orchestrator.settings import Settings, load_settings
from recorder.settings import RecorderSettings

CONFIG = """
[recording]
chunk_store = "/srv/recordings"
checkpoint_copies = "/mnt/copies"
spool_path = "/srv/spool"
spool_budget = "500MB"

[encryption]
key_dir = "/srv/keys"
passphrase_env = "THE_PASSPHRASE"
kms = "https://vault.example/transit/key"
"""


def test_of_what_nobody_configured_nothing_is_told() -> None:
    assert recorder_environment(Settings()) == {}


def test_what_the_file_says_acts_in_the_recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    for name, value in recorder_environment(load_settings(config, {})).items():
        monkeypatch.setenv(name, value)
    settings = RecorderSettings()
    assert (settings.chunk_store, settings.key_dir) == ("/srv/recordings", Path("/srv/keys"))
    assert settings.checkpoint_copies == "/mnt/copies"
    assert (settings.spool_path, settings.spool_budget) == (Path("/srv/spool"), 500_000_000)
    assert (settings.passphrase_env, settings.kms) == ("THE_PASSPHRASE", "https://vault.example/transit/key")


def test_a_variable_wins_over_the_file(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    told = recorder_environment(load_settings(config, {"SPOOL_PATH": "/other"}))
    assert told["SPOOL_PATH"] == "/other"


def test_greenroom_recorder_reads_the_file(tmp_path: Path) -> None:
    """Seen from outside: a spool that cannot be one is refused by the name of its folder."""
    (tmp_path / "no-folder").write_text("a file")
    (tmp_path / "config.toml").write_text("[recording]\nspool_path = 'no-folder'\n")
    done = subprocess.run(
        [sys.executable, "-m", "greenroom", "recorder"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=dict(os.environ),
        timeout=60,
    )
    assert done.returncode == 2
    assert "SPOOL_PATH cannot be used: no-folder" in done.stderr, done.stderr
