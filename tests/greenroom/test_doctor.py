"""What the doctor finds: each thing once missing and once there, and nothing left behind."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from greenroom import free_ports, media_binary
from greenroom.data_folder import held_folder
from greenroom.doctor import Finding, examine


def finding(name: str, data: Path, port: int | None = None) -> Finding:
    return next(one for one in examine(data, port or free_ports.free_port()) if one.name == name)


def test_on_a_machine_that_is_set_up_nothing_is_missing(tmp_path: Path) -> None:
    missing = {one.name for one in examine(tmp_path, free_ports.free_port()) if one.state == "missing"}
    assert missing == set()


def test_without_livekit_server_the_embedded_engine_is_what_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media_binary, "TOOLS_DIR", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert finding("livekit-server", tmp_path).state == "info"
    settings = finding("settings", tmp_path)
    assert (settings.state, "embedded engine" in settings.found) == ("ok", True)
    monkeypatch.setenv("ENGINE", "livekit")
    assert finding("settings", tmp_path).state == "missing"


def test_what_is_missing_has_a_fix_and_nothing_else_has(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for one in examine(tmp_path / "file" / "data", 1):
        assert bool(one.fix) is (one.state == "missing"), one


def test_a_data_folder_that_will_be_made_is_not_made_by_looking(tmp_path: Path) -> None:
    data = tmp_path / "not" / "yet"
    assert "(will be made)" in finding("data folder", data).found
    assert list(tmp_path.iterdir()) == []


def test_a_data_folder_that_cannot_be_written_is_missing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = finding("data folder", tmp_path / "file" / "data")
    assert (found.state, found.fix) == ("missing", "name another folder: --data DIR")


def test_a_port_that_is_taken_is_missing_unless_our_own_stack_has_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert finding("port", tmp_path, port).state == "missing"
        with held_folder(tmp_path):
            assert finding("port", tmp_path, port).state == "info"


@pytest.mark.parametrize(
    ("text", "mode", "state"),
    [
        ("GRkey: " + "s" * 43, 0o600, "ok"),
        ("GRkey: short", 0o600, "missing"),
        ("k: " + "s" * 43, 0o644, "missing"),
    ],
)
def test_a_weak_or_open_secret_is_missing_and_never_shown(
    tmp_path: Path, text: str, mode: int, state: str
) -> None:
    path = tmp_path / "livekit.secret"
    path.write_text(text)
    path.chmod(mode)
    found = finding("livekit secret", tmp_path)
    assert found.state == state
    assert text.split(": ")[1] not in found.found


def test_a_wrong_setting_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER_PORT", "99999")
    found = finding("settings", tmp_path)
    assert found.state == "missing"
    assert found.found.startswith("SERVER_PORT = ")
