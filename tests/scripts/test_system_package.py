"""Programs of the system are found or installed; strace and Chromium are got in the same manner."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.system_package import PackageError, find, install, why_skipped

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def program(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_strace_that_is_there_is_taken_and_one_that_is_not_is_asked_for(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPTS / "strace.py")]
    environment = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert "install the package strace" in done.stderr
    path = program(tmp_path, "strace", "exit 0")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)
    assert (done.returncode, done.stdout.strip()) == (0, str(path))


def test_a_package_without_the_program_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "apt-get", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find(["apt-get"]) == str(tmp_path / "apt-get")
    expected = "no program of a name" if os.geteuid() == 0 else "only root"
    with pytest.raises(PackageError, match=expected):
        install("tool", ["tool"], "install it")


@pytest.mark.parametrize(
    ("user", "apt", "may_stay"), [(0, "/usr/bin/apt-get", False), (0, None, True), (7, "/a", True)]
)
def test_only_what_cannot_be_installed_may_be_skipped_in_ci(
    monkeypatch: pytest.MonkeyPatch, user: int, apt: str | None, may_stay: bool
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: user)
    monkeypatch.setattr("shutil.which", lambda _: apt)
    reason = why_skipped("strace", "strace.py")
    assert reason.startswith("this machine cannot: ") is may_stay
    assert "strace" in reason
