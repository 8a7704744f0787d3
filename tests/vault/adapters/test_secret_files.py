"""Secrets sealed with a passphrase: opened by it alone, and never touched by a wrong one."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from vault.adapters.key_files import KeyFiles
from vault.adapters.secret_files import Passphrase, ScryptCost
from vault.errors import KeyFileError

RIGHT = Passphrase("correct horse battery staple", "GREENROOM_TEST_PASSPHRASE")
WRONG = Passphrase("wrong horse battery staple", "GREENROOM_TEST_PASSPHRASE")
CHEAP = ScryptCost(n=2**10)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    KeyFiles.create_or_open(tmp_path / "keys", passphrase=RIGHT, cost=CHEAP)
    return tmp_path / "keys"


def content(keys: Path) -> dict[str, bytes]:
    return {name: (keys / name).read_bytes() for name in os.listdir(keys)}


def test_the_right_passphrase_opens_the_same_keys(keys: Path) -> None:
    first = KeyFiles.open(keys, passphrase=RIGHT)
    second = KeyFiles.create_or_open(keys, passphrase=RIGHT)
    assert (first.kek_id, first.public_key) == (second.kek_id, second.public_key)
    assert first.sign(b"x") == second.sign(b"x")
    assert "passphrase.scrypt" in os.listdir(keys)


def test_a_wrong_passphrase_says_so_and_changes_nothing(keys: Path) -> None:
    before = content(keys)
    for opened in (KeyFiles.open, KeyFiles.create_or_open):
        with pytest.raises(KeyFileError, match="in GREENROOM_TEST_PASSPHRASE is not the one of") as raised:
            opened(keys, passphrase=WRONG)
        assert WRONG.text not in str(raised.value)
    assert content(keys) == before


def test_no_secret_stands_in_clear(keys: Path, tmp_path: Path) -> None:
    plain = KeyFiles.create_or_open(tmp_path / "plain")
    (name,) = (name for name in os.listdir(keys) if name.startswith("kek-"))
    assert (keys / name).read_text().startswith("greenroom-kek-1-sealed ")
    assert (keys / "signing.key").read_text().startswith("greenroom-signing-key-1-sealed ")
    assert (tmp_path / "plain" / f"kek-{plain.kek_id}.key").read_text().startswith("greenroom-kek-1 ")
    assert RIGHT.text not in repr(RIGHT)
    assert all(RIGHT.text.encode() not in data for data in content(keys).values())


def test_sealed_keys_need_a_passphrase_and_plain_ones_have_none(keys: Path, tmp_path: Path) -> None:
    for opened in (KeyFiles.open, KeyFiles.create_or_open):
        with pytest.raises(KeyFileError, match="are sealed with a passphrase: name the variable"):
            opened(keys)
    KeyFiles.create_or_open(tmp_path / "plain")
    for opened in (KeyFiles.open, KeyFiles.create_or_open):
        with pytest.raises(KeyFileError, match="are not sealed with a passphrase"):
            opened(tmp_path / "plain", passphrase=RIGHT)


@pytest.mark.parametrize("text", ["short", "fifteen letters", "a" * 30, "abc" * 9])
def test_a_weak_passphrase_is_refused_before_anything_is_made(tmp_path: Path, text: str) -> None:
    with pytest.raises(KeyFileError, match="is too weak: take at least 16 characters") as raised:
        KeyFiles.create_or_open(tmp_path / "keys", passphrase=Passphrase(text, "THE_VARIABLE"), cost=CHEAP)
    assert text not in str(raised.value)
    assert os.listdir(tmp_path / "keys") == []


def test_a_secret_under_another_name_or_of_another_directory_is_refused(keys: Path, tmp_path: Path) -> None:
    KeyFiles.create_or_open(tmp_path / "other", passphrase=RIGHT, cost=CHEAP)
    (keys / "signing.key").write_bytes((tmp_path / "other" / "signing.key").read_bytes())
    with pytest.raises(KeyFileError, match=r"signing\.key is corrupt"):
        KeyFiles.open(keys, passphrase=RIGHT)


@pytest.mark.parametrize(
    "line",
    [
        "greenroom-passphrase-1 1024 8 1 AAAA AAAA",
        "greenroom-passphrase-1 1023 8 1 AAAAAAAAAAAAAAAAAAAAAA== AAAAAAAAAAAAAAAAAAAAAA==",
        "greenroom-passphrase-1 1073741824 64 1 AAAAAAAAAAAAAAAAAAAAAA== AAAAAAAAAAAAAAAAAAAAAA==",
        "greenroom-passphrase-1 x 8 1 AAAAAAAAAAAAAAAAAAAAAA== AAAAAAAAAAAAAAAAAAAAAA==",
        "other 1024 8 1 AAAAAAAAAAAAAAAAAAAAAA== AAAAAAAAAAAAAAAAAAAAAA==",
        "nothing",
    ],
)
def test_a_corrupt_cost_file_is_refused_without_a_guess(keys: Path, line: str) -> None:
    (keys / "passphrase.scrypt").write_text(line + "\n")
    with pytest.raises(KeyFileError, match=r"passphrase\.scrypt is corrupt"):
        KeyFiles.open(keys, passphrase=RIGHT)


def test_a_first_start_that_was_killed_is_completed(keys: Path) -> None:
    made = content(keys)
    for name in os.listdir(keys):
        if name != "passphrase.scrypt":
            (keys / name).unlink()
    (keys / "signing.key.00ff.tmp").write_bytes(b"half")
    KeyFiles.create_or_open(keys, passphrase=RIGHT)
    assert (keys / "passphrase.scrypt").read_bytes() == made["passphrase.scrypt"]
    assert len(os.listdir(keys)) == len(made) + 1


def test_a_rotation_seals_the_new_key_too(keys: Path) -> None:
    ring = KeyFiles.open(keys, passphrase=RIGHT)
    kek_id = ring.rotate(2_000_000_000)
    assert (keys / f"kek-{kek_id}.key").read_text().startswith("greenroom-kek-1-sealed ")
    assert KeyFiles.open(keys, passphrase=RIGHT).kek_id == kek_id


def test_a_guess_at_the_default_cost_takes_its_time(tmp_path: Path) -> None:
    begun = time.process_time()
    KeyFiles.create_or_open(tmp_path / "keys", passphrase=RIGHT)
    assert time.process_time() - begun > 0.1, "two derivations of 128 MiB"
    line = (tmp_path / "keys" / "passphrase.scrypt").read_text()
    assert line.startswith("greenroom-passphrase-1 131072 8 1 ")
