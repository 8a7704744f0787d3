"""Kill -9 between commit and delivery: what we ship loses nothing; a queue in memory, beside it, does."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.acceptance.webhook_process import SESSIONS
from tests.acceptance.webhook_trap import Trap, trap
from tests.fakes.receivers import SECRET

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).resolve().parents[2]
LIVES = 4  # of the process, each ended by a kill


def started(way: str, folder: Path, receiver: Trap, *, stdout: int) -> subprocess.Popen[bytes]:
    """Start the process."""
    program = [sys.executable, "-m", "tests.acceptance.webhook_process"]
    return subprocess.Popen(
        [*program, way, folder, f"{receiver.url}/x", SECRET],
        cwd=ROOT,
        stdout=stdout,
        stderr=subprocess.DEVNULL,
    )


async def live(way: str, folder: Path, receiver: Trap, events: int) -> dict[str, int]:
    """Run the process until it has committed so many events, then kill it; the last number by session."""
    process = started(way, folder, receiver, stdout=subprocess.PIPE)
    assert process.stdout is not None
    last: dict[str, int] = {}
    try:
        for _ in range(events):
            async with asyncio.timeout(30):
                name, number = (await asyncio.to_thread(process.stdout.readline)).split()
            last[name.decode()] = int(number)
    finally:
        process.kill()
        process.wait(timeout=10)
        process.stdout.close()
    return last


async def taken_after_kills(way: str, folder: Path) -> tuple[Trap, dict[str, int]]:
    """Kill it several times under a receiver that often fails; give what arrived and what was committed."""
    async with trap() as receiver:
        receiver.secrets["x"] = SECRET
        for life in range(LIVES):
            calls = 0

            def mood(body: object) -> str:
                nonlocal calls
                calls += 1
                return "well" if calls % 5 < 3 else "fail"

            receiver.moods["x"] = mood  # type: ignore[assignment]
            last = await live(way, folder, receiver, 40 + 7 * life)
        receiver.moods["x"] = "well"
        process = started(way, folder, receiver, stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 20
            while not all(last[name] + 5 in receiver.numbers("x", name) for name in SESSIONS):
                assert time.monotonic() < deadline, "what came after the last kill did not arrive"
                await asyncio.sleep(0.1)
        finally:
            process.kill()
            process.wait(timeout=10)
    return receiver, last


async def test_nothing_committed_is_lost_and_each_session_is_in_order(tmp_path: Path) -> None:
    receiver, last = await taken_after_kills("durable", tmp_path)
    for name in SESSIONS:
        numbers = receiver.numbers("x", name)
        assert numbers == list(range(2, numbers[-1] + 1))
        assert numbers[-1] > last[name] > 40
    ids = {taken.of: taken.message_id for taken in receiver.taken["x"]}
    assert all(ids[taken.of] == taken.message_id for taken in receiver.taken["x"])
    assert len(set(ids.values())) == len(ids)


async def test_control_a_queue_in_memory_loses_events_on_the_same_kills(tmp_path: Path) -> None:
    receiver, last = await taken_after_kills("naive", tmp_path)
    missing = [
        (name, number)
        for name in SESSIONS
        for number in range(2, last[name] + 1)
        if number not in receiver.numbers("x", name)
    ]
    assert missing
