"""Finding livekit-server: only the tested version fits, PATH before .tools."""

from __future__ import annotations

from pathlib import Path

import pytest

from greenroom.media_binary import LIVEKIT_VERSION, candidates, find_livekit_server, read_version


def make_program(folder: Path, answer: str) -> Path:
    folder.mkdir(exist_ok=True)
    program = folder / "livekit-server"
    program.write_text(f"#!/bin/sh\n{answer}\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ("echo livekit-server version 1.13.5", "1.13.5"),
        ("echo something else 1.13.5", None),
        ("echo livekit-server version 1.13.5; exit 1", None),
        ("true", None),
    ],
)
def test_a_program_is_asked_for_its_version(tmp_path: Path, answer: str, version: str | None) -> None:
    assert read_version(make_program(tmp_path, answer)) == version


def test_what_cannot_be_run_has_no_version(tmp_path: Path) -> None:
    program = make_program(tmp_path, "echo livekit-server version 1.13.5")
    program.chmod(0o644)
    assert read_version(program) is None
    assert read_version(tmp_path / "missing") is None


def test_one_on_the_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = make_program(tmp_path, f"echo livekit-server version {LIVEKIT_VERSION}")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert find_livekit_server() == program


def test_one_of_another_version_is_seen_and_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = make_program(tmp_path, "echo livekit-server version 0.9.0")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert candidates()[0].path == program
    assert not candidates()[0].fits
    assert find_livekit_server() != program
