"""How long a commit takes: 1, 16 and 256 callers, grouped and one by one, beside the disk's own fsync.

Each caller changes its own session again and again: a record of about 2 kB with version check, 3 events,
2 commands (and the removal of the 2 before), 2 deadlines. Two states, each beside a floor of its kind: `new`
(the write-ahead log and the floor's file still grow) and `steady` (both have reached their size and are
written over). The cells are interleaved, so that a noisy minute of the machine meets all of them.

Run: python -m bench.commits [--json] [--rounds N] [--seconds S]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import uvloop

from orchestrator.adapters import sqlite_lane
from orchestrator.adapters.session_json import encode_session
from orchestrator.adapters.sqlite_schema import WAL_PAGES
from orchestrator.adapters.sqlite_store import SqliteSessionStore
from orchestrator.adapters.system import SystemClock
from orchestrator.core.commands import LeaveJob
from orchestrator.core.events import Error
from orchestrator.core.ids import Identity, InstanceId, RoomName, ServiceId, SessionId
from orchestrator.core.session import Session, due_in
from orchestrator.core.step import Opening, Wanted, open_session
from orchestrator.ports import Change, CommandRow

CALLERS = (1, 16, 256)
FLOOR_BYTES = 12 * 1024  # what one commit writes to the log, roughly
FLOOR_BLOCKS = 2730  # 32 MiB of them, as large as the log
PREPARED = 16_000  # records made ahead, all callers together
GOAL_ONE = 2.5  # p50 of one caller, in fsyncs of the disk
GOAL_GROUP = 4.0  # commits a second of 16 callers, in those of the same store without groups


class Caller:
    """Commits to one session, one change after the other."""

    def __init__(self, store: SqliteSessionStore, clock: SystemClock) -> None:
        self._store = store
        now = clock.now()
        decision = open_session(
            Opening(
                session_id=SessionId(clock.new_id()),
                room_name=RoomName(f"room-{clock.new_id()}"),
                user_identity=Identity("somebody@example.org"),
                livekit_url="wss://livekit.example.org",
                metadata={"purpose": "x" * 600},
                services=tuple(Wanted(service_id=ServiceId(name)) for name in ("asr", "llm", "tts")),
            ),
            now,
        )
        self.session: Session = decision.session
        self._first = Change(session=decision.session, events=decision.events, commands=decision.commands)
        self._rows: tuple[CommandRow, ...] = ()
        self._ahead: list[Session] = []
        self.times: list[float] = []
        session = decision.session
        # Another due time in every commit, so that the index of deadlines moves too.
        later = {
            name: replace(deadline, due=due_in(deadline.due, 1))
            for name, deadline in session.deadlines.items()
        }
        self._deadlines = (session.deadlines, later)
        self._events = tuple(Error(session_id=session.id, message=f"event {n} of three") for n in range(3))
        self._commands = tuple(
            LeaveJob(
                job_id=f"{session.id}-{n}",
                attempt=1,
                worker_id="asr",
                room_name=session.room_name,
                reason="over",
            )
            for n in range(2)
        )

    async def begin(self) -> None:
        """Commit the session's first record."""
        self._rows = await self._store.commit(self._first)

    async def commit(self, change: Change) -> None:
        """Commit a change."""
        self._rows = await self._store.commit(change)
        self.session = change.session

    async def run(self, until: float) -> None:
        """Commit until the moment, noting how long each took."""
        while time.perf_counter() < until:
            change = self.next_change()
            started = time.perf_counter()
            await self.commit(change)
            self.times.append(time.perf_counter() - started)

    def prepare(self, count: int) -> None:
        """Make so many records ahead: the core's work is not what is measured."""
        session = self.session
        for _ in range(count):
            session = self._after(session)
            self._ahead.append(session)
        self._ahead.reverse()

    def next_change(self) -> Change:
        """Give the next change."""
        session = self._ahead.pop() if self._ahead else self._after(self.session)
        return Change(session=session, events=self._events, commands=self._commands, finished=self._rows)

    def _after(self, session: Session) -> Session:
        return replace(
            session,
            version=session.version + 1,
            events=session.events + 3,
            deadlines=self._deadlines[session.version % 2],
        )


def measure_fsync(folder: Path, *, seconds: float, is_steady: bool) -> list[float]:
    """Write 12 kB and fsync, again and again: the disk's floor. Not steady means that the file grows."""
    path = folder / "floor"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
    block, times, offset = os.urandom(FLOOR_BYTES), [], 0
    for _ in range(FLOOR_BLOCKS if is_steady else 0):
        os.write(descriptor, block)
    os.fsync(descriptor)
    until = time.perf_counter() + seconds
    try:
        while time.perf_counter() < until:
            started = time.perf_counter()
            os.pwrite(descriptor, block, offset)
            os.fdatasync(descriptor)
            times.append(time.perf_counter() - started)
            offset += FLOOR_BYTES
            if is_steady:
                offset %= FLOOR_BLOCKS * FLOOR_BYTES
    finally:
        os.close(descriptor)
        path.unlink()
    return times


@contextmanager
def groups_of(size: int) -> Iterator[None]:
    """Bound the groups of the writer: 1 is a store that fsyncs for each caller."""
    kept = sqlite_lane.MAX_GROUP
    sqlite_lane.MAX_GROUP = size  # type: ignore[misc]
    try:
        yield
    finally:
        sqlite_lane.MAX_GROUP = kept  # type: ignore[misc]


async def measure_commits(
    folder: Path, *, callers: int, seconds: float, is_steady: bool
) -> tuple[list[float], float]:
    """Commit in a fresh store; give the times and the commits a second."""
    clock = SystemClock()
    store = SqliteSessionStore(folder / "store.db", clock=clock, instance_id=InstanceId("bench"))
    await store.open()
    try:
        everybody = [Caller(store, clock) for _ in range(callers)]
        for caller in everybody:
            await caller.begin()
        if is_steady:
            await _fill_log(folder, Caller(store, clock))
        for caller in everybody:
            caller.prepare(PREPARED // callers)
        started = time.perf_counter()
        await asyncio.gather(*(caller.run(started + seconds) for caller in everybody))
        passed = time.perf_counter() - started
    finally:
        await store.close()
    times = [spent for caller in everybody for spent in caller.times]
    return times, len(times) / passed


async def _fill_log(folder: Path, caller: Caller) -> None:
    """Let the write-ahead log grow to its size, in large steps."""
    await caller.begin()
    log = folder / "store.db-wal"
    while log.stat().st_size < WAL_PAGES * 4096:
        change = caller.next_change()
        large = replace(change.session, metadata={"fill": "x" * 200_000})
        await caller.commit(replace(change, session=large))


def measure(folder: Path, *, rounds: int, seconds: float) -> dict[str, Any]:
    """Measure all cells ``rounds`` times, interleaved."""
    cells: dict[str, list[tuple[list[float], float]]] = {}
    for _ in range(rounds):
        for state, is_steady in (("new", False), ("steady", True)):
            floor = measure_fsync(folder, seconds=seconds / 2, is_steady=is_steady)
            cells.setdefault(f"{state}-fsync", []).append((floor, len(floor) / sum(floor)))
            for callers in CALLERS if is_steady else (1,):
                for name, size in (("group", sqlite_lane.MAX_GROUP), ("single", 1)):
                    with groups_of(size), tempfile.TemporaryDirectory(dir=folder) as fresh:
                        found = uvloop.run(
                            measure_commits(
                                Path(fresh), callers=callers, seconds=seconds, is_steady=is_steady
                            )
                        )
                    cells.setdefault(f"{state}-{name}-{callers}", []).append(found)
    return {name: _cell(found) for name, found in cells.items()}


def _cell(found: list[tuple[list[float], float]]) -> dict[str, float]:
    times = [spent for times, _ in found for spent in times]
    return {
        "per_s": round(median(rate for _, rate in found)),
        "p50_ms": round(median(times) * 1e3, 3),
        "p99_ms": round(quantiles(times, n=100)[98] * 1e3, 3),
        "count": len(times),
    }


def judge(cells: dict[str, Any]) -> dict[str, Any]:
    """Compare with the goals of docs/PERFORMANCE.md."""
    one = {
        state: cells[f"{state}-group-1"]["p50_ms"] / cells[f"{state}-fsync"]["p50_ms"]
        for state in ("new", "steady")
    }
    group = cells["steady-group-16"]["per_s"] / cells["steady-single-16"]["per_s"]
    return {
        "one_caller_in_fsyncs": {state: round(ratio, 2) for state, ratio in one.items()},
        "group_over_single_at_16": round(group, 2),
        "is_met": max(one.values()) <= GOAL_ONE and group >= GOAL_GROUP,
    }


def main() -> int:
    """Measure, print, and tell by the exit code whether the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.5, help="per cell and round")
    parser.add_argument("--folder", type=Path, default=Path("data"), help="on the disk to measure")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        cells = measure(Path(folder), rounds=options.rounds, seconds=options.seconds)
    verdict = judge(cells)
    if options.json:
        print(json.dumps({"cells": cells, "verdict": verdict}))
    else:
        size = len(encode_session(Caller(None, SystemClock()).session))  # type: ignore[arg-type]
        print(f"session record {size} bytes; disk floor: {FLOOR_BYTES} bytes + fdatasync")
        for name, cell in cells.items():
            print(
                f"{name:18} {cell['per_s']:8.0f}/s  p50 {cell['p50_ms']:8.3f}  p99 {cell['p99_ms']:8.3f} ms"
            )
        print(verdict)
    return 0 if verdict["is_met"] else 1


if __name__ == "__main__":
    sys.exit(main())
