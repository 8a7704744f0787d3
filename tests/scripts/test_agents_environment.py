"""The agents' environment: made once, again when its lock changed or it was cut off."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import agents_environment
from scripts.agents_environment import EnvironmentMissingError, ensure


@pytest.mark.acceptance  # makes an environment: seconds
def test_it_is_made_once_and_again_when_the_lock_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    venv, lock = tmp_path / "tools" / "venv", tmp_path / "agents.lock"
    lock.write_text("# nothing\n")
    assert ensure(venv, lock) == venv / "bin" / "python"
    assert "is ready" in capsys.readouterr().err
    (venv / "mark").touch()
    ensure(venv, lock)
    assert (venv / "mark").exists()
    assert capsys.readouterr().err == ""
    (venv / ".set-up-for").unlink()  # as one that was cut off
    ensure(venv, lock)
    assert not (venv / "mark").exists()
    lock.write_text("nothing-of-this-name==1.0 --hash=sha256:" + "0" * 64 + "\n")
    with pytest.raises(EnvironmentMissingError, match="is the package index reachable"):
        ensure(venv, lock)
    assert not (venv / ".set-up-for").exists()


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    lock = tmp_path / "agents.lock"
    lock.write_text("# nothing\n")
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentMissingError, match="writable"):
        ensure(tmp_path / "file" / "venv", lock)


def test_the_lock_holds_hashes_and_no_address() -> None:
    text = agents_environment.LOCK.read_text(encoding="utf-8")
    assert "livekit-agents==" in text
    assert "://" not in text
    packages = [line for line in text.splitlines() if "==" in line and not line.startswith("#")]
    assert len(packages) > 20
    assert all(line.endswith("\\") for line in packages), "a package without a hash"
