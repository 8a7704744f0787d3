"""The media server's own key: strong, private, made once."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from greenroom.errors import MediaServerError
from greenroom.livekit_secret import load, load_or_make


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_it_is_made_once_private_and_strong(tmp_path: Path) -> None:
    path = tmp_path / "livekit.secret"
    first = load_or_make(path)
    assert load_or_make(path) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(first.api_secret) >= 32
    assert first.api_key.startswith("GR")
    assert list(tmp_path.iterdir()) == [path]


def test_two_folders_have_different_secrets(tmp_path: Path) -> None:
    assert load_or_make(tmp_path / "a").api_secret != load_or_make(tmp_path / "b").api_secret


def test_many_that_start_at_once_agree_on_one_pair(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys\n"
        "from greenroom.livekit_secret import load_or_make\n"
        "print(load_or_make(pathlib.Path(sys.argv[1])).api_key)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "livekit.secret")]
    starts = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(5)]
    assert len({start.communicate(timeout=30)[0] for start in starts}) == 1
    assert all(start.returncode == 0 for start in starts)


def test_the_secret_shows_in_no_repr(tmp_path: Path) -> None:
    pair = load_or_make(tmp_path / "livekit.secret")
    assert pair.api_secret not in repr(pair)


@pytest.mark.parametrize(
    ("text", "mode", "sentence"),
    [
        ("key: " + "s" * 40, 0o644, "can be read by others; run: chmod 600"),
        ("key: devsecret", 0o600, "has 9 characters, at least 32 are needed; delete the file"),
        ("", 0o600, "does not hold one line KEY: SECRET"),
        ("nothing", 0o600, "does not hold one line KEY: SECRET"),
        (f"a: {'s' * 40}\nb: {'s' * 40}\n", 0o600, "does not hold one line KEY: SECRET"),
    ],
)
def test_an_unusable_file_is_one_sentence_that_never_shows_the_secret(
    tmp_path: Path, text: str, mode: int, sentence: str
) -> None:
    path = write(tmp_path / "livekit.secret", text, mode)
    with pytest.raises(MediaServerError, match=sentence) as refused:
        load(path)
    assert "devsecret" not in str(refused.value)
    assert "s" * 40 not in str(refused.value)
