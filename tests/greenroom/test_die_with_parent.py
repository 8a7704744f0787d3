"""Tying a child to its parent: the same process becomes the program, and signals reach it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from greenroom import die_with_parent


def run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    command = die_with_parent.with_parent(argv, signum=signal.SIGKILL)
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def test_the_program_gets_its_arguments_its_environment_and_gives_its_exit_code() -> None:
    done = run([sys.executable, "-c", "import sys; print(sys.argv[1:]); sys.exit(7)", "a b", "--", "-I"])
    assert (done.stdout, done.returncode) == ("['a b', '--', '-I']\n", 7)


def test_a_program_that_is_not_there_is_one_sentence() -> None:
    done = run(["/nonexistent/program"])
    assert done.returncode == 1
    assert done.stderr == "/nonexistent/program cannot be started: No such file or directory\n"


def test_a_child_whose_parent_is_already_gone_does_not_begin(tmp_path: Path) -> None:
    mark = tmp_path / "began"
    command = die_with_parent.with_parent(["touch", str(mark)], signum=signal.SIGKILL)
    script = command.index(die_with_parent.__file__)
    command[script + 2] = "1"  # as it is after the parent died and init took the child
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert "the parent was gone" in done.stderr
    assert not mark.exists()
