"""The command line opens the keys as the settings say, and says in one sentence why it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from greenroom.errors import CommandError
from greenroom.recording_keys import open_keys
from vault.adapters.key_files import KeyFiles
from vault.adapters.secret_files import Passphrase, ScryptCost

PASSPHRASE = "correct horse battery staple"


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CONFIG_PATH", raising=False)
    monkeypatch.delenv("GREENROOM_PASSPHRASE_ENV", raising=False)


def test_key_files_are_opened_where_the_option_says(tmp_path: Path) -> None:
    made = KeyFiles.create_or_open(tmp_path / "keys")
    assert open_keys(tmp_path / "keys").kek_id == made.kek_id
    with pytest.raises(CommandError, match=r"elsewhere cannot be read.*--key-dir DIR"):
        open_keys(tmp_path / "elsewhere")


def test_the_passphrase_is_named_by_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    KeyFiles.create_or_open(
        tmp_path / "keys", passphrase=Passphrase(PASSPHRASE, "X"), cost=ScryptCost(n=2**10)
    )
    with pytest.raises(CommandError, match="are sealed with a passphrase"):
        open_keys(tmp_path / "keys")
    (tmp_path / "config.toml").write_text("[encryption]\npassphrase_env = 'THE_PASSPHRASE'\n")
    monkeypatch.setenv("THE_PASSPHRASE", PASSPHRASE)
    assert open_keys(tmp_path / "keys").sign(b"x")
    monkeypatch.setenv("THE_PASSPHRASE", "wrong horse battery staple")
    with pytest.raises(CommandError, match="the passphrase in THE_PASSPHRASE is not the one") as raised:
        open_keys(tmp_path / "keys")
    assert "wrong horse" not in str(raised.value)


def test_a_wrong_setting_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[encryption]\npassphrase_env = 'not a name'\n")
    with pytest.raises(CommandError, match=r"encryption\.passphrase_env"):
        open_keys(tmp_path / "keys")
