"""Getting livekit-server: what is there is used at once, and a failure is one sentence with the fix."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from greenroom.media_binary import LIVEKIT_VERSION, read_version
from scripts.go_tool import GoToolchain as Toolchain
from scripts.go_tool import Progress, explain, go_environment, go_version
from scripts.livekit_server import LIVEKIT

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "livekit_server.py"


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def run(*arguments: str, path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PATH": f"{path}:/usr/bin:/bin", **variables},
    )


def fake_go(folder: Path, install: str, version: str = "go1.26.8") -> Path:
    """Make a Go command that says a version and does ``install`` instead of a build."""
    return program(
        folder / "go", f'case "$1" in version) echo "go version {version} linux/amd64";; *) {install};; esac'
    )


SUCCEEDS = (
    'echo "go: downloading example.com/a v1"; echo example.com/a; mkdir -p "$GOBIN"; server=$GOBIN/server;'
    rf' printf "#!/bin/sh\necho livekit-server version {LIVEKIT_VERSION}\n" >$server; chmod +x $server'
)


def test_one_on_the_path_is_used_as_it_is(tmp_path: Path) -> None:
    there = program(tmp_path / "livekit-server", f"echo livekit-server version {LIVEKIT_VERSION}")
    done = run(path=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{there}\n", "")


def test_it_is_built_named_and_nothing_else_stays(tmp_path: Path) -> None:
    fake_go(tmp_path / "bin", SUCCEEDS)
    done = run("--build", "--into", str(tmp_path / "tools"), path=tmp_path / "bin")
    assert done.returncode == 0, done.stderr
    assert read_version(tmp_path / "tools" / "livekit-server") == LIVEKIT_VERSION
    assert sorted(entry.name for entry in (tmp_path / "tools").iterdir()) == [
        ".livekit-server.lock",
        "livekit-server",
        "livekit-server.build.log",
    ]


def test_what_a_killed_build_left_is_cleared_away(tmp_path: Path) -> None:
    left = tmp_path / "tools" / "build-livekit-server-gone" / "mod"
    left.mkdir(parents=True)
    (left / "file").write_text("")
    left.chmod(0o555)  # as Go leaves its module cache
    fake_go(tmp_path / "bin", SUCCEEDS)
    assert run("--build", "--into", str(tmp_path / "tools"), path=tmp_path / "bin").returncode == 0
    assert not (tmp_path / "tools" / "build-livekit-server-gone").exists()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("dial tcp: lookup proxy.example: no such host", ["cannot be reached", "GOPROXY"]),
        ("module: reading https://proxy.example: 404 Not Found", ["refuses", "GOPROXY"]),
        ("write: no space left on device", ["disk is full"]),
        ("something nobody foresaw", ["failed", "run it again"]),
    ],
)
def test_a_build_that_fails_is_one_sentence(tmp_path: Path, said: str, words: list[str]) -> None:
    fake_go(tmp_path / "bin", f'echo "{said}"; exit 1')
    done = run("--build", "--into", str(tmp_path / "tools"), path=tmp_path / "bin")
    assert done.returncode == 1
    assert done.stdout == ""
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith("livekit_server.py: ")
    for word in [*words, "livekit-server.build.log"]:
        assert word in sentence
    assert not (tmp_path / "tools" / "livekit-server").exists()
    assert said in (tmp_path / "tools" / "livekit-server.build.log").read_text()


def test_a_program_that_does_not_run_here_is_not_kept(tmp_path: Path) -> None:
    fake_go(tmp_path / "bin", 'mkdir -p "$GOBIN"; echo broken >"$GOBIN/server"')
    done = run("--build", "--into", str(tmp_path / "tools"), path=tmp_path / "bin")
    assert "does not run on this machine" in done.stderr
    assert not (tmp_path / "tools" / "livekit-server").exists()


def test_two_at_once_make_one_build(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    fake_go(tmp_path / "bin", f"echo built >>{tmp_path}/builds; {SUCCEEDS}")
    with (tools / ".livekit-server.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = subprocess.Popen(
            [sys.executable, SCRIPT, "--into", str(tools), "--build"],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"},
        )
        with waiting:
            assert waiting.stderr is not None
            assert "another build" in waiting.stderr.readline()
            assert not (tmp_path / "builds").exists()
            fcntl.flock(lock, fcntl.LOCK_UN)
            waiting.communicate(timeout=30)
    assert waiting.returncode == 0


@pytest.mark.parametrize(
    ("said", "version"), [("go1.26.8", (1, 26)), ("go1.9", (1, 9)), ("devel", (0, 0)), ("go2.0rc1", (2, 0))]
)
def test_versions_of_go(tmp_path: Path, said: str, version: tuple[int, int]) -> None:
    assert go_version(fake_go(tmp_path, "true", version=said)) == version


def test_a_fetched_go_caches_beside_the_build_and_the_systems_where_it_always_does(tmp_path: Path) -> None:
    own = go_environment(Toolchain(command=Path("go"), is_own=True), tmp_path)
    assert own["GOMODCACHE"].startswith(str(tmp_path))
    assert own["GOCACHE"].startswith(str(tmp_path))
    system = go_environment(Toolchain(command=Path("go"), is_own=False), tmp_path)
    assert system.get("GOMODCACHE") == os.environ.get("GOMODCACHE")
    for environment in (own, system):
        assert environment["GOTOOLCHAIN"] == "local"
        assert environment["CGO_ENABLED"] == "0"
        assert "GOOS" not in environment


def test_progress_counts_what_go_says(tmp_path: Path) -> None:
    progress = Progress()
    said = ["go: downloading a.b/c v1\n", "a.b/c/d\n", "a.b/c\n", "# a.b/c\n", "file.go:1: error\n"]
    with (tmp_path / "log").open("w") as log:
        progress.read(said, log)
    assert (progress.modules, progress.packages) == (1, 2)
    assert "file.go:1: error" in progress.lines
    assert (tmp_path / "log").read_text() == "".join(said)


def test_every_cause_names_a_way_out() -> None:
    for _, sentence in LIVEKIT.causes:
        assert "; " in sentence or " about " in sentence
    assert "run it again" in explain(LIVEKIT, Progress(), Path("log"))
