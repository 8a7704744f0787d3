"""Key files: made once, read ever after, and refused with one sentence when something is wrong with them."""

from __future__ import annotations

import base64
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.recordings import OTHER_RECORDING, RECORDING
from vault.adapters.key_files import KeyFiles, read_public_key
from vault.core.ids import KekId
from vault.core.note import verify_signature
from vault.core.sealing import AttemptScope
from vault.errors import KeyFileError, WrongKeyError

SCOPE = AttemptScope(recording_id=RECORDING, attempt=1)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    KeyFiles.create_or_open(tmp_path / "keys")
    return tmp_path / "keys"


def kek_path(keys: Path) -> Path:
    (path,) = keys.glob("kek-*.key")
    return path


def test_a_first_start_makes_three_private_files(keys: Path) -> None:
    names = sorted(os.listdir(keys))
    assert [re.sub("[0-9a-f]{16}", "ID", name) for name in names] == [
        "kek-ID.key",
        "signing.key",
        "signing.pub",
    ]
    assert {stat.S_IMODE((keys / name).stat().st_mode) for name in names} == {0o600}


def test_the_next_start_reads_the_same_keys(keys: Path) -> None:
    before = {name: (keys / name).read_bytes() for name in os.listdir(keys)}
    first, second = KeyFiles.create_or_open(keys), KeyFiles.open(keys)
    assert {name: (keys / name).read_bytes() for name in os.listdir(keys)} == before
    assert (first.kek_id, first.public_key) == (second.kek_id, second.public_key)
    assert read_public_key(keys / "signing.pub") == first.public_key
    assert f"kek-{first.kek_id}.key" in before


def test_a_wrapped_key_opens_for_its_attempt_only(keys: Path) -> None:
    ring = KeyFiles.open(keys)
    wrapped = ring.wrap(b"d" * 32, SCOPE)
    assert ring.unwrap(wrapped, kek_id=ring.kek_id, scope=SCOPE) == b"d" * 32
    assert ring.wrap(b"d" * 32, SCOPE) != wrapped  # a fresh nonce each time
    other = AttemptScope(recording_id=OTHER_RECORDING, attempt=1)
    with pytest.raises(WrongKeyError):
        ring.unwrap(wrapped, kek_id=ring.kek_id, scope=other)


def test_a_key_that_is_not_there_is_named(keys: Path) -> None:
    ring = KeyFiles.open(keys)
    with pytest.raises(WrongKeyError, match=f"0000000000000000 is not in .*{ring.kek_id}"):
        ring.unwrap(bytes(60), kek_id=KekId("0" * 16), scope=SCOPE)


def test_signatures_fit_the_public_key(keys: Path) -> None:
    ring = KeyFiles.open(keys)
    verify_signature(b"message", ring.sign(b"message"), public_key=ring.public_key)
    assert ring.sign(b"message") == ring.sign(b"message")


def test_no_key_is_shown(keys: Path) -> None:
    secrets = [(keys / name).read_text().split()[-1] for name in os.listdir(keys) if name.endswith(".key")]
    assert not any(secret in repr(KeyFiles.open(keys)) for secret in secrets)


def test_without_the_signing_key_one_can_read_but_not_sign(keys: Path) -> None:
    (keys / "signing.key").unlink()
    with pytest.raises(KeyFileError, match=r"signing\.key is missing: nothing can be signed"):
        KeyFiles.open(keys).sign(b"message")


@pytest.mark.parametrize("lost", ["signing.key", "kek"])
def test_a_lost_secret_is_never_replaced(keys: Path, lost: str) -> None:
    (kek_path(keys) if lost == "kek" else keys / lost).unlink()
    before = sorted(os.listdir(keys))
    with pytest.raises(KeyFileError, match="restore it"):
        KeyFiles.create_or_open(keys)
    assert sorted(os.listdir(keys)) == before


@pytest.mark.parametrize("made", [1, 2])
def test_a_first_start_that_was_killed_is_completed(keys: Path, made: int) -> None:
    names = [kek_path(keys).name, "signing.key", "signing.pub"]
    for name in names[made:]:
        (keys / name).unlink()
    kept = {name: (keys / name).read_bytes() for name in names[:made]}
    KeyFiles.create_or_open(keys)
    assert {name: (keys / name).read_bytes() for name in names[:made]} == kept
    assert len(os.listdir(keys)) == 3


@pytest.mark.parametrize("name", ["kek", "signing.key"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "corrupt"),
        (b"greenroom-kek-1 AAAA\n", "corrupt"),
        (b"\xff\xfe", "corrupt"),
        (b"x" * 5000, "corrupt"),
        (b"two\nlines\n", "corrupt"),
    ],
)
def test_a_corrupt_secret_is_refused_by_name(keys: Path, name: str, content: bytes, message: str) -> None:
    path = kek_path(keys) if name == "kek" else keys / name
    path.write_bytes(content)
    with pytest.raises(KeyFileError, match=f"{path.name} is {message}"):
        KeyFiles.open(keys)


@pytest.mark.parametrize(
    ("name", "label"), [("kek", "greenroom-kek-1"), ("signing.key", "greenroom-signing-key-1")]
)
def test_a_weak_secret_is_refused(keys: Path, name: str, label: str) -> None:
    path = kek_path(keys) if name == "kek" else keys / name
    path.write_text(f"{label} {base64.b64encode(b'ab' * 16).decode()}\n")
    with pytest.raises(KeyFileError, match=r"is weak"):
        KeyFiles.open(keys)


def test_a_kek_under_another_name_is_refused(keys: Path) -> None:
    kek_path(keys).rename(keys / f"kek-{'0' * 16}.key")
    with pytest.raises(KeyFileError, match="another key than its name says"):
        KeyFiles.open(keys)


@pytest.mark.parametrize("name", ["kek", "signing.key"])
def test_a_secret_open_to_others_is_refused(keys: Path, name: str) -> None:
    path = kek_path(keys) if name == "kek" else keys / name
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match=r"open to others \(mode 0640\): chmod 600"):
        KeyFiles.open(keys)


def test_halves_of_two_keys_are_refused(keys: Path, tmp_path: Path) -> None:
    KeyFiles.create_or_open(tmp_path / "other")
    (keys / "signing.pub").write_bytes((tmp_path / "other" / "signing.pub").read_bytes())
    with pytest.raises(KeyFileError, match="not halves of one key"):
        KeyFiles.open(keys)


def test_two_keks_open_both_but_wrap_nothing(keys: Path, tmp_path: Path) -> None:
    other = KeyFiles.create_or_open(tmp_path / "other")
    wrapped = other.wrap(b"d" * 32, SCOPE)
    old = kek_path(tmp_path / "other")
    (keys / old.name).write_bytes(old.read_bytes())
    (keys / old.name).chmod(0o600)
    ring = KeyFiles.open(keys)
    assert ring.unwrap(wrapped, kek_id=other.kek_id, scope=SCOPE) == b"d" * 32
    with pytest.raises(KeyFileError, match="holds 2 key-encryption keys"):
        _ = ring.kek_id


@pytest.mark.parametrize("content", ["", "ssh-ed25519 AAAA\n", "greenroom-public-key-1 " + "A" * 43 + "=\n"])
def test_a_public_key_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "signing.pub").write_text(content)
    with pytest.raises(KeyFileError, match=r"signing\.pub is"):
        read_public_key(tmp_path / "signing.pub")
    with pytest.raises(KeyFileError, match=r"nowhere\.pub is missing"):
        read_public_key(tmp_path / "nowhere.pub")


def test_a_directory_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="nowhere"):
        KeyFiles.open(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyFileError, match="cannot be used for keys"):
        KeyFiles.create_or_open(tmp_path / "file" / "keys")


def test_programs_that_start_together_agree_on_the_keys(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from vault.adapters.key_files import KeyFiles;"
        "ring = KeyFiles.create_or_open(Path(sys.argv[1])); print(ring.kek_id, ring.public_key.hex())"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "keys")]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    answers = {process.communicate(timeout=60)[0] for process in started}
    assert len(answers) == 1
    assert len(os.listdir(tmp_path / "keys")) == 3
