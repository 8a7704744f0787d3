"""Setting up: nothing happens when nothing changed, and what was interrupted is begun again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project with an empty lock, so that a set-up takes seconds and needs no package index."""
    for name in ("setup.py", "python.sh"):
        (tmp_path / "scripts").mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / "scripts" / name, tmp_path / "scripts" / name)
    (tmp_path / "requirements.lock").write_text("# nothing\n")
    (tmp_path / "pyproject.toml").write_text("not even TOML")
    return tmp_path


def set_up(project: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, project / "scripts" / "setup.py"],
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
        env={**os.environ, "PIP_NO_INDEX": "1", **variables},
    )


@pytest.mark.acceptance  # makes an environment: seconds
def test_a_project_that_cannot_be_installed_is_one_sentence_and_leaves_its_mark(project: Path) -> None:
    done = set_up(project)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("setup.py: the locked packages could not be installed")
    assert (project / ".venv" / ".unfinished").exists()
    assert not (project / ".venv" / ".set-up-for").exists()


@pytest.mark.acceptance  # makes an environment: seconds
def test_what_was_interrupted_is_begun_again_from_an_empty_folder(project: Path) -> None:
    venv = project / ".venv"
    venv.mkdir()
    (venv / ".unfinished").touch()
    (venv / "half-installed").touch()
    set_up(project)
    assert not (venv / "half-installed").exists()


@pytest.mark.acceptance  # makes an environment: seconds
def test_a_finished_one_is_left_alone(project: Path) -> None:
    venv = project / ".venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True, timeout=60)
    # What a finished set-up of this project writes.
    code = "import runpy; print(runpy.run_path('scripts/setup.py')['fingerprint'](), end='')"
    wanted = subprocess.run(
        [sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True, timeout=30
    ).stdout
    (venv / ".set-up-for").write_text(wanted)
    done = set_up(project)
    assert (done.returncode, done.stderr) == (0, "")
    (project / "requirements.lock").write_text("# something else\n")
    assert "the locked packages changed" in set_up(project).stderr


def find_python(project: Path, path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [project / "scripts" / "python.sh"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env={"PATH": path},
    )


def test_a_python_that_is_new_enough_is_found_among_old_ones(project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python3").write_text("#!/bin/sh\ncase $2 in *print*) echo 3.9;; *) exit 1;; esac\n")
    (folder / "python3").chmod(0o755)
    done = find_python(project, f"{folder}:/nonexistent")
    assert done.returncode == 1
    assert "needs Python 3.11 or newer (found: python3=3.9)" in done.stderr
    (folder / "python3.11").symlink_to(sys.executable)
    done = find_python(project, f"{folder}:/nonexistent")
    assert (done.returncode, done.stdout) == (0, f"{folder}/python3.11\n")


def test_a_python_that_cannot_make_an_environment_is_one_sentence_with_the_package_to_install(
    project: Path,
) -> None:
    code = (
        "import runpy, sys; sys.modules['ensurepip'] = None\n"
        "runpy.run_path('scripts/setup.py', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 1
    assert "has no ensurepip" in done.stderr
    assert "-venv" in done.stderr
    assert "Traceback" not in done.stderr
