"""The command line as a person meets it: run as a program, good input and bad."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from greenroom.data_folder import held_folder
from greenroom.free_ports import free_port


def greenroom(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LIVEKIT", "SERVER"))}
    return subprocess.run(
        [sys.executable, "-m", "greenroom", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**kept, "NO_COLOR": "1", **variables},
        timeout=60,
    )


def assert_refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """One sentence on standard error, exit code 2, no traceback."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("greenroom: ")
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr


def test_version_names_what_it_stands_on(tmp_path: Path) -> None:
    done = greenroom("version", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("greenroom 0.")
    assert "livekit-server 1.13.5" in done.stdout


def test_without_a_command_the_commands_are_listed(tmp_path: Path) -> None:
    done = greenroom("--help", cwd=tmp_path)
    for command in ("up", "demo", "serve", "recorder", "verify", "export", "keys", "doctor", "version"):
        assert f"\n  {command} " in done.stdout


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("up", "--port", "0"), ("up", "--port", "x"), ("verify",)]
)
def test_misuse_of_the_command_line_is_exit_code_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = greenroom(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_up_on_a_taken_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        assert_refused(greenroom("up", "--port", port, cwd=tmp_path), f"port {port}", "--port N")


def test_up_and_demo_in_a_folder_that_another_process_holds(tmp_path: Path) -> None:
    with held_folder(tmp_path / "data"):
        for command in ("up", "demo"):
            done = greenroom(command, "--data", "data", cwd=tmp_path)
            assert_refused(done, f"held by process {os.getpid()}", "--data DIR")


def test_up_in_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = greenroom("up", "--data", "file/data", "--port", str(free_port()), cwd=tmp_path)
    assert_refused(done, "cannot be written", "--data DIR")


@pytest.mark.parametrize(
    ("arguments", "variables", "word"),
    [
        (("--engine", "asterisk"), {}, "'asterisk' is not known"),
        ((), {"SERVER_PORT": "many"}, "SERVER_PORT"),
        (
            (),
            {"LIVEKIT_URL": "ws://127.0.0.1:1", "LIVEKIT_API_KEY": "k", "LIVEKIT_API_SECRET": "s"},
            "SECRET has 1",
        ),
        ((), {"CONFIG_PATH": "missing.toml"}, "missing.toml"),
    ],
)
def test_up_with_a_wrong_setting(
    tmp_path: Path, arguments: tuple[str, ...], variables: dict[str, str], word: str
) -> None:
    assert_refused(greenroom("up", *arguments, cwd=tmp_path, **variables), word)
    assert list(tmp_path.iterdir()) == []


def test_up_with_an_unknown_key_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[server]\nprot = 1\n")
    assert_refused(greenroom("up", cwd=tmp_path), "server.prot", "docs/SETTINGS.md")


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1", "http://127.0.0.1/?key=1"])
def test_demo_with_an_address_that_is_none(tmp_path: Path, url: str) -> None:
    assert_refused(greenroom("demo", "--url", url, cwd=tmp_path), repr(url))


def test_demo_against_nothing_that_listens_reports_that_it_did_not_hold(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = greenroom("demo", "--url", url, "--seconds", "3", "--json", cwd=tmp_path)
    assert done.returncode == 1
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["ok"] is False
    assert f"{url} cannot be reached" in report["problems"]
    assert "Traceback" not in done.stderr


def test_serve_passes_its_options_on(tmp_path: Path) -> None:
    done = greenroom("serve", "--host", "192.0.2.1", cwd=tmp_path)
    assert done.returncode == 2
    assert "SERVER_HOST" in done.stderr


def test_verify_says_in_json_all_that_it_says(tmp_path: Path) -> None:
    golden = Path(__file__).parent.parent / "vectors" / "recording-v1"
    recording = next(path for path in sorted(golden.iterdir()) if path.name != "keys" and path.is_dir())
    done = greenroom(
        "verify", str(recording), "--public-key", str(golden / "keys" / "signing.pub"), "--json", cwd=tmp_path
    )
    report = json.loads(done.stdout)
    assert done.returncode == report["exit_code"]
    assert report["is_empty"] is (sum(track["recorded_s"] for track in report["tracks"]) == 0)


def test_verify_of_what_is_no_recording(tmp_path: Path) -> None:
    assert_refused(greenroom("verify", "nowhere", cwd=tmp_path), "signing.pub", "--public-key FILE")


def test_export_without_keys_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "recording").mkdir()
    done = greenroom("export", "recording", "--out", "out.mp4", cwd=tmp_path)
    assert_refused(done, "data/keys", "--key-dir DIR")
    assert not (tmp_path / "out.mp4").exists()


def test_doctor_prints_a_table_or_one_object(tmp_path: Path) -> None:
    port = str(free_port())
    table = greenroom("doctor", "--port", port, cwd=tmp_path)
    assert "livekit-server" in table.stdout
    done = greenroom("doctor", "--port", port, "--json", cwd=tmp_path)
    report = json.loads(done.stdout)
    assert done.returncode == (0 if report["ok"] else 1)
    assert {"python", "packages", "udp", "fsync", "port"} <= {one["name"] for one in report["findings"]}


def test_doctor_fails_when_something_is_missing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = greenroom("doctor", "--port", str(server.getsockname()[1]), "--json", cwd=tmp_path)
    assert done.returncode == 1
    missing = [one for one in json.loads(done.stdout)["findings"] if one["state"] == "missing"]
    assert "port" in [one["name"] for one in missing]
    assert all(one["fix"] for one in missing)
