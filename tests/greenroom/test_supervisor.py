"""The supervisor on small real programs: order, restart, misuse, and an end that is never late."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from greenroom.errors import CommandError
from greenroom.supervisor import Program, Supervisor

SLEEP = "import time; time.sleep(60)"
STUBBORN = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "open(sys.argv[1], 'w').close(); time.sleep(60)"
)
# Writes its name into the file when it is asked to end, after a moment.
POLITE = (
    "import signal, sys, time\n"
    "def end(*_):\n"
    "    time.sleep(0.2); open(sys.argv[1], 'a').write(sys.argv[2] + ' '); sys.exit(0)\n"
    "signal.signal(signal.SIGTERM, end); open(sys.argv[1] + '.' + sys.argv[2], 'w').close(); time.sleep(60)"
)


class Console:
    """Keeps what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, name: str, text: str) -> None:
        self.lines.append(f"{name}: {text}")


def program(
    code: str,
    *arguments: str,
    name: str = "child",
    stage: int = 0,
    steps: tuple[tuple[int, float], ...] = ((signal.SIGTERM, 2.0), (signal.SIGKILL, 1.0)),
    until: Callable[[], bool] = lambda: True,
) -> Program:
    async def not_ready() -> str | None:
        return None if until() else "it has not said so"

    return Program(
        name=name,
        argv=(sys.executable, "-c", code, *arguments),
        env=dict(os.environ),
        stage=stage,
        stop_steps=steps,
        not_ready=not_ready,
        ready_within_s=10,
    )


async def eventually(condition: Callable[[], bool], *, within_s: float = 10) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.02)


async def test_a_program_that_dies_is_started_again_and_that_is_said(tmp_path: Path) -> None:
    console = Console()
    async with Supervisor(tmp_path, console.say) as supervisor:
        await supervisor.start(program(SLEEP))
        first = supervisor.pid("child")
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: supervisor.pid("child") not in (None, first))
    assert "child: ended (killed by SIGKILL); starting it again in 0.5 s" in console.lines
    assert supervisor.pid("child") is None


async def test_stages_end_in_their_order(tmp_path: Path) -> None:
    book = tmp_path / "ended"
    async with Supervisor(tmp_path, Console().say) as supervisor:
        for name, stage in (("last", 2), ("middle", 1), ("first", 0)):
            started = tmp_path / f"ended.{name}"
            await supervisor.start(
                program(POLITE, str(book), name, name=name, stage=stage, until=started.exists)
            )
    assert book.read_text().split() == ["first", "middle", "last"]


async def test_one_that_ignores_the_polite_signal_is_killed_when_its_time_is_over(tmp_path: Path) -> None:
    started = tmp_path / "started"
    steps = ((signal.SIGTERM, 0.3), (signal.SIGKILL, 30.0))
    async with Supervisor(tmp_path, Console().say) as supervisor:
        await supervisor.start(program(STUBBORN, str(started), steps=steps, until=started.exists))
        began = time.monotonic()
    assert 0.3 <= time.monotonic() - began < 15
    assert supervisor.pid("child") is None


async def test_a_misconfigured_program_is_not_tried_again_and_its_sentence_is_ours(tmp_path: Path) -> None:
    console = Console()
    code = "import sys; print('recorder: GREENROOM_URL is no address', file=sys.stderr); sys.exit(2)"
    with pytest.raises(CommandError, match=r"^child: recorder: GREENROOM_URL is no address$"):
        async with Supervisor(tmp_path, console.say) as supervisor:
            await supervisor.start(program(code, until=lambda: False))
    assert not any("starting it again" in line for line in console.lines)


async def test_a_long_sentence_keeps_its_fix_which_stands_at_its_end(tmp_path: Path) -> None:
    code = "import sys; print('greenroom child: ' + 'long ' * 60 + 'make it', file=sys.stderr); sys.exit(2)"
    with pytest.raises(CommandError, match=r"^child: (long ){60}make it$"):
        async with Supervisor(tmp_path, Console().say) as supervisor:
            await supervisor.start(program(code, until=lambda: False))


async def test_one_that_ends_at_once_every_time_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(
        CommandError, match=r"^child: it ended 3 times at its start: no luck; see .*child\.log$"
    ):
        async with Supervisor(tmp_path, Console().say) as supervisor:
            await supervisor.start(program("import sys; sys.exit('no luck')", until=lambda: False))


async def test_misuse_after_a_restart_ends_the_work_that_depends_on_it(tmp_path: Path) -> None:
    mark = tmp_path / "second-time"
    code = (
        "import os, sys, time\n"
        "if os.path.exists(sys.argv[1]):\n"
        "    print('no key'); sys.exit(2)\n"
        "open(sys.argv[1], 'w').close(); time.sleep(60)"
    )
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("work")

    async with Supervisor(tmp_path, Console().say) as supervisor:
        await supervisor.start(program(code, str(mark), until=mark.exists))
        pid = supervisor.pid("child")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(CommandError, match=r"^child: no key$"):
            await supervisor.while_running(work())
    assert ended == ["work"]


async def test_work_that_finishes_gives_its_result(tmp_path: Path) -> None:
    async def work() -> int:
        return 7

    async with Supervisor(tmp_path, Console().say) as supervisor:
        await supervisor.start(program(SLEEP))
        assert await supervisor.while_running(work()) == 7


async def test_logs_go_to_a_file_each_and_short_lines_to_the_console(tmp_path: Path) -> None:
    console = Console()
    entry = "{'event': 'x' * 500, 'level': 'info'}"
    code = f"import json, time; print(json.dumps({entry}), flush=True); time.sleep(60)"
    async with Supervisor(tmp_path, console.say) as supervisor:
        await supervisor.start(program(code))
        await eventually(lambda: bool(console.lines))
    assert "x" * 500 in (tmp_path / "child.log").read_text()
    assert console.lines[0].startswith("child: xxx")
    assert len(console.lines[0]) < 200


async def test_a_cancelled_end_kills_what_still_runs(tmp_path: Path) -> None:
    started = tmp_path / "started"
    pids: list[int] = []

    async def hold() -> None:
        async with Supervisor(tmp_path, Console().say) as supervisor:
            steps = ((signal.SIGTERM, 30.0), (signal.SIGKILL, 1.0))
            await supervisor.start(program(STUBBORN, str(started), steps=steps, until=started.exists))
            pids.append(supervisor.pid("child") or 0)
            await asyncio.sleep(60)

    task = asyncio.create_task(hold())
    await eventually(lambda: bool(pids))
    began = time.monotonic()
    task.cancel()
    await asyncio.sleep(0.1)  # the first one is being polite now
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 5
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


@pytest.mark.skipif(
    sys.platform != "linux", reason="this machine cannot: only Linux ties children to a parent"
)
def test_killing_the_supervisor_leaves_no_program_behind(tmp_path: Path) -> None:
    starter = (
        "import asyncio, os, pathlib, sys\n"
        "from greenroom.supervisor import Program, Supervisor\n"
        "async def main():\n"
        "    async with Supervisor(pathlib.Path(sys.argv[1]), print) as supervisor:\n"
        "        argv = (sys.executable, '-c', 'import time; time.sleep(60)')\n"
        "        await supervisor.start(Program(name='child', argv=argv, env=dict(os.environ), stage=0))\n"
        "        print(supervisor.pid('child'), flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())"
    )
    with subprocess.Popen([sys.executable, "-c", starter, str(tmp_path)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < deadline, "the child outlived its supervisor"
        time.sleep(0.02)
