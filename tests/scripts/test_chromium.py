"""The browser's script finds what is there, installs it when it may, and says what to do when it may not."""

from __future__ import annotations

import importlib.util
import os
import stat
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "chromium.py"


def program(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(folder), "HOME": str(folder)}
    return subprocess.run(
        [sys.executable, SCRIPT], capture_output=True, text=True, check=False, timeout=60, env=environment
    )


def test_one_on_path_is_taken(tmp_path: Path) -> None:
    path = program(tmp_path, "chromium-browser", "exit 0")
    done = run(tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, str(path))


def test_without_apt_one_sentence_says_what_to_do(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "install the package chromium" in done.stderr
    assert done.stderr.count("\n") == 1


def test_root_installs_it(tmp_path: Path) -> None:
    target = tmp_path / "chromium"
    program(tmp_path, "apt-get", f'[ "$2" = update ] || {{ echo > {target}; /bin/chmod 755 {target}; }}')
    done = run(tmp_path)
    if os.geteuid() == 0:
        assert (done.returncode, done.stdout.strip()) == (0, str(target))
    else:
        assert "only root" in done.stderr


def test_an_apt_that_fails_is_told(tmp_path: Path) -> None:
    program(tmp_path, "apt-get", "echo 'E: no network' >&2; exit 100")
    done = run(tmp_path)
    assert done.returncode == 1
    assert ("E: no network" in done.stderr) is (os.geteuid() == 0)


def test_the_tests_look_for_the_same_names() -> None:
    from tests.integration.browser import NAMES

    spec = importlib.util.spec_from_file_location("chromium_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.NAMES == NAMES
