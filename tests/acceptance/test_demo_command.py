"""`greenroom demo`, `verify` and `export` as programs: a real recording, then every way to spoil it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from greenroom.embedded_engine import MediaEngine
from tests.integration.servers import ENGINE, look_for
from vault.adapters.key_files import KeyFiles

pytestmark = [pytest.mark.acceptance, pytest.mark.media, pytest.mark.timeout(240)]

SECONDS = 6
SHORT_S = 4  # on the second media server
OTHER: MediaEngine = "livekit" if ENGINE == "embedded" else "embedded"
SAID = {"livekit": "livekit-server ", "embedded": "the embedded engine, as asked"}


def greenroom(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LIVEKIT", "SERVER"))}
    return subprocess.run(
        [sys.executable, "-m", "greenroom", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=kept,
        timeout=120,
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Run the demo once; gives the folder that it ran in and the object on its last line."""
    look_for(ENGINE, pytest.skip)
    folder = tmp_path_factory.mktemp("demo")
    done = greenroom("demo", "--engine", ENGINE, "--seconds", str(SECONDS), "--json", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, json.loads(done.stdout.splitlines()[-1])


def test_its_report_says_what_was_done(demo: tuple[Path, dict[str, Any]]) -> None:
    _, report = demo
    assert_it_held(report, seconds=SECONDS)


def test_it_holds_on_the_other_media_server_too(tmp_path: Path) -> None:
    look_for(OTHER, pytest.skip)
    done = greenroom("demo", "--engine", OTHER, "--seconds", str(SHORT_S), "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"media server: {SAID[OTHER]}" in done.stderr + done.stdout
    assert_it_held(json.loads(done.stdout.splitlines()[-1]), seconds=SHORT_S)


def assert_it_held(report: dict[str, Any], *, seconds: int) -> None:
    assert report["states"][-1] == "Terminated"
    assert {"session_created", "session_ready", "client_joined", "session_terminated"} <= set(
        report["events"]
    )
    assert 0 < report["time_to_token_ms"] <= report["time_to_ready_ms"]
    recording, export = report["recording"], report["export"]
    assert recording["verified"] is True
    assert recording["chunks"] >= recording["tree_size"] > 2 * seconds
    assert abs(export["duration_s"] - seconds) < 2
    assert export["video_frames"] > 20 * seconds
    assert Path(export["path"]).is_file()


def test_everything_it_wrote_is_in_the_data_folder(demo: tuple[Path, dict[str, Any]]) -> None:
    folder, report = demo
    assert [path.name for path in folder.iterdir()] == ["data"]
    assert Path(report["recording"]["path"]).is_relative_to(folder / "data")


def test_the_recording_verifies_with_the_public_key_alone(
    demo: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, report = demo
    key = folder / "data" / "keys" / "signing.pub"
    done = greenroom("verify", report["recording"]["path"], "--public-key", key, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    verified = json.loads(done.stdout)
    assert (verified["status"], verified["root"]) == ("complete", report["recording"]["root"])


def test_it_is_exported_again_the_same(demo: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, report = demo
    out = tmp_path / "again.mp4"
    done = greenroom("export", report["recording"]["path"], "--out", out, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["video_frames"] == report["export"]["video_frames"]
    assert out.stat().st_size == Path(report["export"]["path"]).stat().st_size


def test_one_bit_flipped_in_any_stored_file_is_found_and_the_file_named(
    demo: tuple[Path, dict[str, Any]],
) -> None:
    folder, report = demo
    recording = Path(report["recording"]["path"])
    files = [path for path in recording.rglob("*") if path.is_file()]
    assert len(files) > SECONDS
    for path in files:
        original = path.read_bytes()
        spoiled = bytearray(original)
        spoiled[len(spoiled) // 2] ^= 0x10
        path.write_bytes(spoiled)
        try:
            done = greenroom("verify", recording, cwd=folder)
        finally:
            path.write_bytes(original)
        assert done.returncode == 1, f"{path.name}: {done.stdout}{done.stderr}"
        assert path.name in done.stdout
    assert greenroom("verify", recording, cwd=folder).returncode == 0


def test_without_the_right_keys_nothing_is_written_and_nothing_deleted(
    demo: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, report = demo
    recording = Path(report["recording"]["path"])
    before = {path: path.read_bytes() for path in recording.rglob("*") if path.is_file()}
    keys = tmp_path / "keys"
    KeyFiles.create_or_open(keys)
    out = tmp_path / "out.mp4"
    refused = greenroom("export", recording, "--key-dir", keys, "--out", out, cwd=folder)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].startswith("greenroom: ")
    assert not out.exists()
    assert greenroom("verify", recording, "--key-dir", keys, cwd=folder).returncode != 0
    assert {path: path.read_bytes() for path in recording.rglob("*") if path.is_file()} == before
