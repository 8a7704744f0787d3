"""Getting versitygw: only a program that says the tested version is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.versitygw import VERSION, VERSITYGW, find_versitygw, read_version


def program(folder: Path, text: str) -> Path:
    path = folder / "versitygw"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("says", "version"),
    [
        ("Version  : 1.8.0", "1.8.0"),
        ("Version  : v1.8.0", "1.8.0"),
        ("Version  : git", "git"),
        ("hello", None),
    ],
)
def test_a_program_is_asked_for_its_version(tmp_path: Path, says: str, version: str | None) -> None:
    assert read_version(program(tmp_path, f"echo '{says}'")) == version
    assert read_version(tmp_path / "nothing") is None


def test_one_on_the_path_comes_first_when_it_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    there = program(tmp_path, f"echo 'Version  : {VERSION}'")
    assert find_versitygw() == there
    program(tmp_path, "echo 'Version  : 0.1'")
    assert find_versitygw() != there


def test_the_build_writes_the_version_into_the_program() -> None:
    assert VERSITYGW.ldflags == f"-X=main.Version={VERSION}"
    assert VERSITYGW.module.endswith(f"@v{VERSION}")
