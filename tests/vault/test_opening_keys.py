"""One way to open the keys, the same for all programs, with one sentence when it fails."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from vault.adapters.key_files import KeyFiles
from vault.errors import KeyFileError
from vault.opening_keys import KeySettings, SharedKeys, age_days, age_warning, open_key_ring
from vault.retried_keys import RetriedKeys

DAY_S = 86400


def test_key_files_are_made_only_when_asked(tmp_path: Path) -> None:
    settings = KeySettings(key_dir=tmp_path / "keys")
    with pytest.raises(KeyFileError, match="cannot be read"):
        open_key_ring(settings)
    made = open_key_ring(settings, create=True)
    assert isinstance(made, KeyFiles)
    assert open_key_ring(settings).public_key == made.public_key


@pytest.mark.parametrize("value", [None, ""])
def test_a_passphrase_that_is_not_set_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    if value is not None:
        monkeypatch.setenv("NOT_SET", value)
    with pytest.raises(KeyFileError, match="names NOT_SET, which is not set or empty"):
        open_key_ring(KeySettings(key_dir=tmp_path / "keys", passphrase_env="NOT_SET"), create=True)
    assert not (tmp_path / "keys").exists()


def test_a_key_service_is_not_asked_while_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "hvs.x")
    settings = KeySettings(key_dir=tmp_path / "keys", kms="http://127.0.0.1:9/transit/greenroom")
    ring = open_key_ring(settings, create=True)
    assert isinstance(ring, RetriedKeys)
    assert ring.sign(b"x")
    assert not list((tmp_path / "keys").glob("kek-*"))


def test_without_the_library_of_the_key_service_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "hvac", None)
    monkeypatch.delitem(sys.modules, "vault.adapters.transit_keys", raising=False)
    settings = KeySettings(key_dir=tmp_path / "keys", kms="http://127.0.0.1:9/transit/greenroom")
    with pytest.raises(KeyFileError, match=r"pip install 'greenroom\[kms\]'"):
        open_key_ring(settings, create=True)


def test_an_old_key_is_told_and_not_rotated(tmp_path: Path) -> None:
    ring = KeyFiles.create_or_open(tmp_path / "keys", now_s=1_000_000_000)
    kek_id = ring.kek_id
    young, old = 1_000_000_000 + 90 * DAY_S - 1, 1_000_000_000 + 91 * DAY_S
    assert age_warning(ring.keks(), rotation_days=90, now_s=young) == ""
    told = age_warning(ring.keks(), rotation_days=90, now_s=old)
    assert told.startswith(f"key-encryption key {kek_id} has been in use for 91 days, longer than the 90")
    assert (age_days(ring.keks(), now_s=old), age_days([], now_s=old)) == (91, None)
    assert ring.kek_id == kek_id


def test_a_program_opens_its_ring_once_and_a_failure_is_tried_again(tmp_path: Path) -> None:
    shared = SharedKeys(KeySettings(key_dir=tmp_path / "keys"))
    with pytest.raises(KeyFileError):
        shared()
    made = KeyFiles.create_or_open(tmp_path / "keys")
    assert shared() is shared()
    assert shared().kek_id == made.kek_id
    assert SharedKeys(KeySettings(key_dir=tmp_path / "other"), create=True)().kek_id != made.kek_id
