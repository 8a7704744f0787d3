"""Keeps programs running beside each other: starts them, starts them again when they die, ends them."""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self, TypeVar

from greenroom import die_with_parent
from greenroom.console import LONGEST_REASON, LogFollower, last_line, shorten
from greenroom.errors import CommandError

MISUSE: Final = 2  # exit code of a program that was configured wrongly: starting it again changes nothing
STEADY_S: Final = 30.0  # a program that lived so long begins its backoff anew
LONGEST_PAUSE_S: Final = 10.0
TRIES_TO_BE_READY: Final = 3
_POLL_S: Final = 0.1
_FOLLOW_S: Final = 0.2
_LARGEST_LOG_BYTES: Final = 16 * 1024 * 1024

Result = TypeVar("Result")
Say = Callable[[str, str], None]  # program's name, line


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One program to keep running.

    Attributes:
        argv: command and arguments; no secret stands there, `ps` shows them.
        env: its whole environment.
        stage: programs of a lower stage are ended first, those of one stage together.
        stop_steps: signals and the seconds that each is given.
        death_signal: what the kernel sends it when the supervisor itself is killed.
        not_ready: asks once whether it does its work; gives None, or why not.
        ready_within_s: how long it may take at its first start.
        is_quiet: show only its errors on the console; the log file has everything.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    stage: int
    stop_steps: tuple[tuple[int, float], ...] = ((signal.SIGTERM, 5.0), (signal.SIGKILL, 1.0))
    death_signal: int = signal.SIGTERM
    not_ready: Callable[[], Awaitable[str | None]] | None = None
    ready_within_s: float = 30.0
    is_quiet: bool = False


@dataclass(slots=True)
class _Child:
    program: Program
    log_path: Path
    process: asyncio.subprocess.Process | None = None
    log_start: int = 0  # where in the log its present life begins
    deaths: int = 0
    is_ending: bool = False
    failure: str = ""
    guard: asyncio.Lock = field(default_factory=asyncio.Lock)  # between starting again and ending


class Supervisor:
    """Runs programs; leaving the block ends them, lowest stage first.

    Each writes its log itself, into a file that it was given as output: nothing is lost when the supervisor
    is killed, and nothing waits for it to read. Call it on the thread that lives as long as the programs may.
    """

    def __init__(self, logs: Path, say: Say) -> None:
        self._logs = logs
        self._say = say
        self._children: list[_Child] = []
        self._tasks = asyncio.TaskGroup()
        self._ending = asyncio.Event()
        self._failed = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.stop()
        except BaseException:  # cancelled: there is no time left to be polite
            self.kill()
            raise
        finally:
            await self._tasks.__aexit__(None, None, None)

    async def start(self, *programs: Program) -> None:
        """Start programs together and wait until all are ready.

        Raises:
            CommandError: one was configured wrongly, ends again and again, or is not ready in time.
        """
        children = [_Child(program, self._logs / f"{program.name}.log") for program in programs]
        self._children += children
        for child in children:
            self._tasks.create_task(self._follow(child, LogFollower(child.log_path)))
            self._tasks.create_task(self._keep_running(child))
        for child in children:
            await self._wait_ready(child)

    async def wait_failed(self) -> None:
        """Wait until a program can no longer be kept running.

        Raises:
            CommandError: always, saying which and why.
        """
        await self._failed.wait()
        raise CommandError(next(child.failure for child in self._children if child.failure))

    async def while_running(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do some work on the running programs; it is cancelled when one of them fails for good.

        Raises:
            CommandError: one failed.
        """
        task = asyncio.create_task(work)
        failure = asyncio.create_task(self._failed.wait())
        try:
            await asyncio.wait((task, failure), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await self.wait_failed()
            return await task
        finally:
            for left in (task, failure):
                left.cancel()
            await asyncio.gather(task, failure, return_exceptions=True)

    def pid(self, name: str) -> int | None:
        """Give the process id of a program that runs now."""
        for child in self._children:
            if child.program.name == name and child.process and child.process.returncode is None:
                return child.process.pid
        return None

    async def stop(self) -> None:
        """End all programs, stage by stage."""
        self._ending.set()
        by_stage = sorted(self._children, key=lambda child: child.program.stage)
        for _, group in itertools.groupby(by_stage, key=lambda child: child.program.stage):
            await asyncio.gather(*(self._end(child) for child in group))

    def kill(self) -> None:
        """End all programs at once, for the person who does not want to wait."""
        self._ending.set()
        for child in self._children:
            child.is_ending = True
            _send(child.process, signal.SIGKILL)

    async def _keep_running(self, child: _Child) -> None:
        pause_s = 0.5
        while True:
            started = time.monotonic()
            async with child.guard:
                if child.is_ending:
                    return
                child.process = await self._spawn(child)
            code = await child.process.wait()
            child.deaths += 1
            if child.is_ending:
                return
            if code == MISUSE:
                line = await asyncio.to_thread(last_line, child.log_path, child.log_start)
                sentence = shorten(_without_names(line, child.program.name), longest=LONGEST_REASON)
                self._fail(child, sentence or f"it ended with code 2; see {child.log_path}")
                return
            pause_s = 0.5 if time.monotonic() - started > STEADY_S else pause_s
            self._say(child.program.name, f"ended ({_cause(code)}); starting it again in {pause_s:g} s")
            try:
                await asyncio.wait_for(self._ending.wait(), pause_s)
            except TimeoutError:
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def _spawn(self, child: _Child) -> asyncio.subprocess.Process:
        program = child.program
        log = await asyncio.to_thread(_open_log, child.log_path)
        try:
            child.log_start = log.tell()
            return await asyncio.create_subprocess_exec(
                *die_with_parent.with_parent(program.argv, signum=program.death_signal),
                env=dict(program.env),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # the terminal's Ctrl-C is for us; the order of ending is ours
            )
        finally:
            log.close()

    async def _wait_ready(self, child: _Child) -> None:
        program, deadline = child.program, time.monotonic() + child.program.ready_within_s
        reason: str | None = "it has not started"
        while not child.failure:
            if child.process is not None and child.process.returncode is None:
                reason = None if program.not_ready is None else await program.not_ready()
                if reason is None:
                    return
            if child.deaths >= TRIES_TO_BE_READY:
                line = await asyncio.to_thread(last_line, child.log_path, child.log_start)
                shown = shorten(line, longest=LONGEST_REASON)
                self._fail(
                    child, f"it ended {child.deaths} times at its start: {shown}; see {child.log_path}"
                )
            elif time.monotonic() > deadline:
                self._fail(
                    child, f"not ready after {program.ready_within_s:g} s: {reason}; see {child.log_path}"
                )
            else:
                await asyncio.sleep(_POLL_S)
        raise CommandError(child.failure)

    def _fail(self, child: _Child, reason: str) -> None:
        child.failure = f"{child.program.name}: {reason}"
        self._failed.set()

    async def _end(self, child: _Child) -> None:
        async with child.guard:
            child.is_ending = True
        process = child.process
        if process is None:
            return
        for signum, grace_s in child.program.stop_steps:
            _send(process, signum)
            try:
                await asyncio.wait_for(process.wait(), grace_s)
                return
            except TimeoutError:
                continue

    async def _follow(self, child: _Child, follower: LogFollower) -> None:
        """Show the log on the console, until the program has ended for good."""
        while True:
            has_ended = child.is_ending and (child.process is None or child.process.returncode is not None)
            for line in await asyncio.to_thread(follower.new_lines):
                text = shorten(line, errors_only=child.program.is_quiet)
                if text:
                    self._say(child.program.name, text)
            if has_ended:
                return
            await asyncio.sleep(_FOLLOW_S)


def _open_log(path: Path) -> IO[Any]:
    if path.exists() and path.stat().st_size > _LARGEST_LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    log = path.open("ab")
    log.seek(0, 2)
    return log


def _send(process: asyncio.subprocess.Process | None, signum: int) -> None:
    if process is not None and process.returncode is None:
        try:
            process.send_signal(signum)
        except ProcessLookupError:
            pass  # ended this moment


def _without_names(line: str, name: str) -> str:
    """Take away whose sentence it is: `_fail` says it."""
    return line.removeprefix("greenroom: ").removeprefix(f"greenroom {name}: ")


def _cause(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"
