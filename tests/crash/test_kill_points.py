"""R1: a recorder killed at any call that changes its files loses nothing acknowledged.

GREENROOM_FULL=1 takes 3,000 points (about 10 minutes), else 300.
"""

from __future__ import annotations

import asyncio
import os
import platform
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from scripts.system_package import why_skipped
from tests.crash.fed_media import write_media
from tests.crash.judge import judge
from tests.crash.kill_trials import Mode, Trial
from tests.crash.syscall_kills import CALLS, Tracer
from tests.fakes.recordings import make_key_ring

IS_FULL = os.environ.get("GREENROOM_FULL") == "1"
POINTS: dict[Mode, int] = {"passthrough": 190, "decoded": 110}
if IS_FULL:
    POINTS = {"passthrough": 1_900, "decoded": 1_150}
SECONDS = 5 if IS_FULL else 3
STRACE_KILLS = 40 if IS_FULL else 3
LIMIT_S = 3_600 if IS_FULL else 400

pytestmark = [pytest.mark.media, pytest.mark.timeout(LIMIT_S)]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: a kill loses no page, and no disk's fsync is to be measured."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as name:
        yield Path(name)


@pytest.fixture(scope="module", autouse=True)
def _tracing_works() -> None:
    """Skip where the machine lets no process be traced."""
    try:
        tracer = Tracer()
        tracer.start(lambda: None, Path("/nowhere"), kill_at=None)
        ended = tracer.wait()[1]
    except OSError as error:
        pytest.skip(f"this machine cannot: {error.strerror}")
    if ended != 0:
        pytest.skip("this machine cannot: it lets no process be traced")


async def run_trials(place: Path, mode: Mode, points: int, naive: str = "") -> list[Trial]:
    """Run `kill_trials` in a process of its own; gives what it said of each trial."""
    folder = place / (naive or mode)
    folder.mkdir()
    command = ["-m", "tests.crash.kill_trials", str(folder), mode, str(SECONDS), str(points), naive]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), LIMIT_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()[-2000:]
    return [msgspec.json.decode(line, type=Trial) for line in out.splitlines()]


async def test_nothing_acknowledged_is_lost_at_any_point_and_little_else(
    place: Path,
) -> None:
    passthrough, decoded = await asyncio.gather(
        *(run_trials(place, mode, points) for mode, points in POINTS.items())
    )
    for trials, points in ((passthrough, POINTS["passthrough"]), (decoded, POINTS["decoded"])):
        wrong = [(trial.call, trial.kill_at, trial.verdict) for trial in trials if trial.verdict.wrong]
        assert wrong == []
        assert len(trials) == points + 1
        killed = [trial for trial in trials if trial.is_killed]
        assert len(killed) >= points * 0.99, "too many recordings had fewer calls than the first one"
        # All kinds of calls are among them, and every stretch: before any media, amid it, after the manifest.
        assert {"openat", "write", "fsync", "link", "unlink", "mkdir"} <= {trial.call for trial in killed}
        verdicts = [trial.verdict for trial in killed]
        assert any(verdict.exit_code == -1 for verdict in verdicts)
        assert sum(verdict.exit_code == 3 and verdict.pictures > 0 for verdict in verdicts) > points / 3
        assert any(verdict.exit_code == 0 for verdict in verdicts)
        worst = [
            max(getattr(verdict, name) for verdict in verdicts)
            for name in ("video_loss_s", "audio_loss_s", "lag_s")
        ]
        print("{} kills; lost: video {:.2f} s, audio {:.2f} s; lag {:.2f} s".format(len(killed), *worst))


async def test_naive_recorders_are_caught(place: Path) -> None:
    early, in_place, keyframes_only = await asyncio.gather(
        *(run_trials(place, "passthrough", 10, naive) for naive in ("early", "in_place", "keyframes_only"))
    )
    # Acknowledged before it is stored: a chunk that was promised is missing.
    assert sum("it is missing" in text(trial) for trial in early if trial.is_killed) >= 5
    # Written under its own name: half a file where a whole one is due.
    assert sum("does not verify" in text(trial) for trial in in_place if trial.is_killed) >= 2
    # Fragments at keyframes only, of which there is one: nothing is there until the end.
    lost = [trial for trial in keyframes_only if "does not play" in text(trial)]
    assert len(lost) >= 4


def text(trial: Trial) -> str:
    return "; ".join(trial.verdict.wrong)


def strace(*arguments: str) -> list[str]:
    found = shutil.which("strace")
    if found is None:
        pytest.skip(why_skipped("strace", "strace.py"))
    names = ",".join(sorted(CALLS[platform.machine()].values()))
    return [found, "-f", "-qq", "-y", "-s", "0", "-e", f"trace={names}", *arguments]


def recorder(folder: Path) -> list[str]:
    (folder / "recordings").mkdir(parents=True)
    write_media(folder / "fed.mp4", SECONDS)
    return [sys.executable, "-m", "tests.crash.recorders", str(folder), str(folder / "fed.mp4"), str(SECONDS)]


async def test_strace_sees_the_same_calls(place: Path) -> None:
    """The tracer of `kill_trials` misses none: one recording under it, one under strace."""
    traced = (await run_trials(place, "passthrough", 0))[0]
    log, folder = place / "strace.log", place / "straced"
    process = await asyncio.create_subprocess_exec(*strace("-o", str(log)), *recorder(folder))
    assert await asyncio.wait_for(process.wait(), 60) == 0
    named = (changing_call(line, folder) for line in log.read_text().splitlines())
    seen = [name for name in named if name is not None]
    counted, expected = Counter(seen), Counter(traced.seen)
    assert counted.keys() == expected.keys()
    assert set(pairwise(seen)) == set(pairwise(traced.seen))
    # Chunks share a checkpoint or not as time has it: a few puts more or less.
    assert len(seen) == pytest.approx(len(traced.seen), rel=0.15)


def changing_call(line: str, folder: Path) -> str | None:
    """Name of a call in strace's log that changes the recordings; None for all others."""
    match = re.match(r"\d+ +(\w+)\((.*)", line)
    if match is None or f"{folder}/recordings" not in match[2]:
        return None
    return None if match[1] == "openat" and "O_CREAT" not in match[2] else match[1]


async def test_kills_by_strace_end_alike(place: Path) -> None:
    """The same kills by another's hand: at the n-th fsync, link, unlink or write of any one thread."""
    calls = ("fsync", "link", "unlink", "write")

    async def kill(number: int) -> list[str]:
        folder = place / f"strace-{number}"
        when = f"-e inject={calls[number % 4]}:signal=KILL:when={2 + number // 4}"
        process = await asyncio.create_subprocess_exec(
            *strace("-o", "/dev/null", *when.split()), *recorder(folder), stderr=asyncio.subprocess.DEVNULL
        )
        code = await asyncio.wait_for(process.wait(), 60)
        assert code in (-9, 137), f"{when}: ended with {code}"
        return (await asyncio.to_thread(judge, folder, make_key_ring())).wrong

    for first in range(0, STRACE_KILLS, 8):
        numbers = range(first, min(first + 8, STRACE_KILLS))
        assert await asyncio.gather(*map(kill, numbers)) == [[] for _ in numbers]
