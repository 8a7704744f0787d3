"""Many joins and leaves, one after the other, leave nothing behind in the embedded engine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import median

import pytest
from livekit import api, rtc

from tests.conformance.cameras import publications, publishing
from tests.conformance.engines import running
from tests.conformance.stage import WITHIN_S, Stage, leave, open_stage, until

IS_FULL = os.environ.get("GREENROOM_FULL") == "1"
pytestmark = pytest.mark.integration

ROUNDS = 200 if IS_FULL else 50
WARM = 15  # rounds until everything that is kept once is there
STAYING = 12
ASK = rtc.RoomOptions(auto_subscribe=False)
LEAST_LEAK_KIB = 30.0  # of one round: less than what one participant who stays takes


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """An engine of this test's own: one that others filled before has room for many."""
    with running("embedded", tmp_path, pytest.skip) as engine:
        async with open_stage(engine) as stage:
            yield stage


def rss_kib(pid: int) -> int:
    """Memory of a process that is in use. Source: proc_pid_status(5)."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError(f"{pid} has no memory")


def slope(samples: list[int]) -> float:
    """Give by how much the samples grow from one to the next, between the medians of their halves' ends."""
    tenth = max(3, len(samples) // 5)
    return (median(samples[-tenth:]) - median(samples[:tenth])) / (len(samples) - tenth)


async def come(stage: Stage, watcher: rtc.Room, number: int) -> rtc.Room:
    """Join and publish sound, which is told to who is there."""
    room, identity = rtc.Room(), f"guest-{number}"
    async with asyncio.timeout(WITHIN_S):
        await room.connect(stage.engine.url, stage.token(identity), ASK)
    async with publishing(room) as publisher:
        await publisher.hum()
        await until(lambda: publications(watcher, identity))
    return room


async def test_rounds_of_joins_and_leaves_do_not_grow(stage: Stage) -> None:
    watcher = await stage.join("watcher", options=ASK)
    samples: list[int] = []
    for number in range(WARM + ROUNDS):
        await leave(await come(stage, watcher, number))
        samples.append(rss_kib(stage.engine.pid))
    await stage.here("watcher")
    assert watcher.isconnected()
    assert slope(samples[WARM:]) < LEAST_LEAK_KIB, samples


async def test_control_who_stays_is_seen_in_the_memory(stage: Stage) -> None:
    watcher, guests, samples = await stage.join("watcher", options=ASK), list[rtc.Room](), list[int]()
    for number in range(STAYING):
        guests.append(await come(stage, watcher, number))
        samples.append(rss_kib(stage.engine.pid))
    await asyncio.gather(*map(leave, guests))
    await stage.rooms.delete_room(api.DeleteRoomRequest(room=stage.name))
    assert slope(samples) > 2 * LEAST_LEAK_KIB, samples
