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
from vault.adapters import key_files
from vault.adapters.key_files import KeyFiles, read_public_key
from vault.core.ids import KekId
from vault.core.note import verify_signature
from vault.core.sealing import AttemptScope, WrappedKey
from vault.errors import KeyFileError, WrongKeyError

SCOPE = AttemptScope(recording_id=RECORDING, attempt=1)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    KeyFiles.create_or_open(tmp_path / "keys")
    return tmp_path / "keys"


def kek_path(keys: Path) -> Path:
    (path,) = keys.glob("kek-*.key")
    return path


def test_a_first_start_makes_four_private_files(keys: Path) -> None:
    names = sorted(os.listdir(keys))
    assert [re.sub("[0-9a-f]{16}", "ID", name) for name in names] == [
        "active-kek",
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
    assert ring.unwrap(wrapped, SCOPE) == b"d" * 32
    assert ring.wrap(b"d" * 32, SCOPE) != wrapped  # a fresh nonce each time
    other = AttemptScope(recording_id=OTHER_RECORDING, attempt=1)
    with pytest.raises(WrongKeyError):
        ring.unwrap(wrapped, other)


def test_a_key_that_is_not_there_is_named(keys: Path) -> None:
    ring = KeyFiles.open(keys)
    with pytest.raises(WrongKeyError, match=f"0000000000000000 is not in .*{ring.kek_id}"):
        ring.unwrap(WrappedKey(kek_id=KekId("0" * 16), data=bytes(60)), SCOPE)


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


@pytest.mark.parametrize("made", [1, 2, 3])
def test_a_first_start_that_was_killed_is_completed(keys: Path, made: int) -> None:
    names = [kek_path(keys).name, "active-kek", "signing.key", "signing.pub"]
    for name in names[made:]:
        (keys / name).unlink()
    kept = {name: (keys / name).read_bytes() for name in names[:made]}
    KeyFiles.create_or_open(keys)
    assert {name: (keys / name).read_bytes() for name in names[:made]} == kept
    assert sorted(os.listdir(keys)) == sorted(names)


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
    assert ring.unwrap(wrapped, SCOPE) == b"d" * 32
    (keys / "active-kek").unlink()
    with pytest.raises(KeyFileError, match="holds 2 key-encryption keys and no active-kek"):
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
    assert len(os.listdir(tmp_path / "keys")) == 4


def test_a_rotation_makes_a_key_that_wraps_and_the_old_one_still_opens(keys: Path) -> None:
    ring, other = KeyFiles.open(keys), KeyFiles.open(keys)
    old = ring.wrap(b"d" * 32, SCOPE)
    new_id = ring.rotate(2_000_000_000)
    assert new_id != old.kek_id
    assert [(kek.kek_id, kek.is_active) for kek in ring.keks() if kek.is_active] == [(new_id, True)]
    assert {kek.since_s for kek in ring.keks() if kek.is_active} == {2_000_000_000}
    # A program that opened the ring before sees it too.
    assert other.kek_id == new_id
    new = other.wrap(b"e" * 32, SCOPE)
    assert new.kek_id == new_id
    for each in (ring, other, KeyFiles.open(keys)):
        assert each.unwrap(old, SCOPE) == b"d" * 32
        assert each.unwrap(new, SCOPE) == b"e" * 32


def test_a_directory_of_before_the_word_of_the_active_key_rotates_too(keys: Path) -> None:
    (keys / "active-kek").unlink()
    old_id = KeyFiles.open(keys).kek_id
    os.utime(kek_path(keys), (1_000_000_000, 1_000_000_000))
    (kek,) = KeyFiles.open(keys).keks()
    assert (kek.kek_id, kek.is_active, kek.since_s) == (old_id, True, 1_000_000_000)
    ring = KeyFiles.create_or_open(keys)
    assert ring.rotate(2_000_000_000) != old_id
    assert {kek.kek_id: kek.is_active for kek in ring.keks()} == {old_id: False, ring.kek_id: True}


@pytest.mark.parametrize("killed_before", ["_make_kek", "_write_active"])
def test_a_rotation_that_is_killed_leaves_the_old_key_active(
    keys: Path, killed_before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_id = KeyFiles.open(keys).kek_id

    def die(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(key_files, killed_before, die)
    with pytest.raises(KeyboardInterrupt):
        KeyFiles.open(keys).rotate(2_000_000_000)
    monkeypatch.undo()
    assert KeyFiles.open(keys).kek_id == old_id
    assert KeyFiles.open(keys).rotate(2_000_000_000) != old_id


def test_an_old_key_is_destroyed_and_the_active_one_never(keys: Path) -> None:
    ring = KeyFiles.open(keys)
    old = ring.wrap(b"d" * 32, SCOPE)
    ring.rotate(2_000_000_000)
    with pytest.raises(ValueError, match="wraps new recordings: rotate first"):
        ring.destroy(ring.kek_id)
    ring.destroy(old.kek_id)
    ring.destroy(old.kek_id)  # a repeat is no error
    assert [kek.kek_id for kek in ring.keks()] == [ring.kek_id]
    assert not ring.has_kek(old.kek_id)
    with pytest.raises(WrongKeyError):
        ring.unwrap(old, SCOPE)


@pytest.mark.parametrize(
    "content", ["", "greenroom-active-kek-1 xyz 1\n", "greenroom-active-kek-1 \n", "a b c\n"]
)
def test_a_corrupt_word_of_the_active_key_is_refused(keys: Path, content: str) -> None:
    (keys / "active-kek").write_text(content)
    with pytest.raises(KeyFileError, match="active-kek is corrupt"):
        _ = KeyFiles.open(keys).kek_id


def test_an_active_key_that_is_lost_is_named(keys: Path) -> None:
    ring = KeyFiles.open(keys)
    ring.rotate(2_000_000_000)
    (keys / f"kek-{ring.kek_id}.key").unlink()
    with pytest.raises(KeyFileError, match="which active-kek names: restore it"):
        _ = KeyFiles.open(keys).kek_id


def test_where_a_service_wraps_the_files_only_sign(tmp_path: Path) -> None:
    files = KeyFiles.create_or_open(tmp_path / "keys", needs_kek=False)
    assert sorted(os.listdir(tmp_path / "keys")) == ["signing.key", "signing.pub"]
    assert (files.has_any_kek, files.keks()) == (False, [])
    with pytest.raises(KeyFileError, match="has signing keys but no kek"):
        KeyFiles.create_or_open(tmp_path / "keys")
    assert files.rotate(2_000_000_000) == KeyFiles.create_or_open(tmp_path / "keys").kek_id
