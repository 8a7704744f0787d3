"""In CI a skip is a failure, unless the machine itself lacks what the test needs; reasons are listed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = """
import pytest

def test_that_needs_a_program():
    pytest.skip("chromium is not there; run: make setup")

@pytest.mark.skipif(True, reason="this machine cannot: it has no GPU")
def test_that_needs_other_hardware():
    raise AssertionError

@pytest.mark.xfail(reason="a known limit")
def test_that_is_known_to_fail():
    raise AssertionError

def test_that_runs():
    pass
"""


def run_pytest(folder: Path, ci: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-c",
            os.devnull,
            "--rootdir",
            folder,
            "-p",
            "tests.conftest",
            folder,
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "CI": ci},
        timeout=60,
    )


def test_outside_of_ci_skips_are_listed_with_their_reasons(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    done = run_pytest(tmp_path, ci="")
    assert done.returncode == 0, done.stdout
    assert "test_that_needs_a_program: chromium is not there; run: make setup" in done.stdout
    assert "1 passed, 2 skipped, 1 xfailed" in done.stdout


def test_in_ci_a_test_that_could_have_run_fails(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    done = run_pytest(tmp_path, ci="true")
    assert done.returncode == 1
    assert "skipped in CI, where it has to run: chromium is not there" in done.stdout
    assert "1 failed, 1 passed, 1 skipped, 1 xfailed" in done.stdout


def test_in_ci_a_whole_file_cannot_hide_either(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text("import pytest\npytest.importorskip('no_such_package')\n")
    assert run_pytest(tmp_path, ci="").returncode == 5  # nothing collected, nothing failed
    done = run_pytest(tmp_path, ci="true")
    assert done.returncode not in (0, 5)
    assert "no_such_package" in done.stdout
