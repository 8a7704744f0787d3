"""Holding a data folder: one process at a time, and a sentence for everybody else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from greenroom.data_folder import held_folder
from greenroom.errors import CommandError, FolderHeldError

HOLD = (
    "import pathlib, sys, time\n"
    "from greenroom.data_folder import held_folder\n"
    "with held_folder(pathlib.Path(sys.argv[1])):\n"
    "    print('held', flush=True); time.sleep(60)"
)


def test_it_is_made_and_given_as_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with held_folder(Path("new/data")) as folder:
        assert folder == tmp_path / "new" / "data"
        assert (folder / "logs").is_dir()


def test_a_second_holder_is_told_the_first_ones_process(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with (
            pytest.raises(FolderHeldError, match=f"is held by process {other.pid}; end it, or .*--data DIR"),
            held_folder(tmp_path),
        ):
            pass
        other.send_signal(signal.SIGKILL)


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        other.kill()
    with held_folder(tmp_path):
        assert (tmp_path / ".greenroom.lock").read_text() == f"{os.getpid()}\n"


def test_children_of_the_holder_do_not_go_on_holding(tmp_path: Path) -> None:
    with held_folder(tmp_path):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], close_fds=False)
    try:
        with held_folder(tmp_path):
            assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def test_a_file_in_its_place_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no folder")
    with (
        pytest.raises(CommandError, match=r"cannot be written \(.*\); name another: --data DIR"),
        held_folder(tmp_path / "data"),
    ):
        pass


def test_an_unwritable_place_is_one_sentence() -> None:
    with (
        pytest.raises(CommandError, match=r"/proc/greenroom/data cannot be written \(.*\); name another"),
        held_folder(Path("/proc/greenroom/data")),
    ):
        pass
