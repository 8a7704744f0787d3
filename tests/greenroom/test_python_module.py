"""Running our modules: the folder that one stands in has no say."""

from __future__ import annotations

import subprocess
from pathlib import Path

from greenroom.python_module import python_module


def test_a_folder_of_the_same_name_is_not_taken_for_ours(tmp_path: Path) -> None:
    (tmp_path / "greenroom").mkdir()
    (tmp_path / "greenroom" / "__main__.py").write_text("print('somebody else')")
    command = python_module("greenroom", "version")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.startswith("greenroom 0.")
