"""A client whose network loses packets, or that stands still, goes on seeing; nobody else notices."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise

import pytest
from livekit import rtc

from tests.conformance.cameras import publishing, viewing
from tests.conformance.engines import ENGINES
from tests.conformance.relays import behind_relay, is_rtcp, is_rtp
from tests.conformance.stage import Stage, until
from tests.conformance.watching import FREEZE_S, watching_for_freezes

IS_FULL = os.environ.get("GREENROOM_FULL") == "1"
pytestmark = [
    pytest.mark.integration,
    pytest.mark.xdist_group("timed"),
    # Of LiveKit's ways to recover nothing is ours: they are looked at with the full numbers only.
    pytest.mark.parametrize("engine", ENGINES if IS_FULL else ("embedded",), indirect=True, scope="session"),
]
LOSSY_S = 60 if IS_FULL else 20
FROZEN_S = 30 if IS_FULL else 4
LOSS = 0.05


def losing(seed: int) -> Callable[[bytes, bool], bool]:
    """Lose 5 % of the media that is sent to the client."""
    chance = random.Random(seed)
    return lambda data, to_client: to_client and is_rtp(data) and chance.random() < LOSS


async def test_pictures_go_on_where_one_packet_of_twenty_is_lost(stage: Stage) -> None:
    bob = rtc.Room()
    async with (
        behind_relay(stage.engine, losing(1)) as (far, relay),
        viewing(bob) as seen,
        publishing(await stage.join("alice")) as alice,
    ):
        sid = (await alice.film()).sid
        await stage.join("bob", into=bob, url=far.url)
        await seen.sees(sid)
        async with watching_for_freezes(seen, sid) as watch:
            await asyncio.sleep(LOSSY_S)
        counters = seen.read(sid)
        await bob.disconnect()
    assert relay.lost > LOSSY_S * 20 * LOSS / 4, "the relay did its part"
    assert all(later > earlier for earlier, later in pairwise(counters))
    assert watch.longest_s < FREEZE_S
    assert len(counters) > LOSSY_S * 20 * 0.7


async def test_control_who_can_ask_for_nothing_freezes(stage: Stage) -> None:
    lose = losing(1)
    bob = rtc.Room()
    is_deaf = False
    async with (
        behind_relay(
            stage.engine, lambda data, to_client: lose(data, to_client) or (is_deaf and is_rtcp(data))
        ) as (far, relay),
        viewing(bob) as seen,
        publishing(await stage.join("alice")) as alice,
    ):
        sid = (await alice.film()).sid
        await stage.join("bob", into=bob, url=far.url)
        await seen.sees(sid)
        is_deaf = True
        async with watching_for_freezes(seen, sid) as watch:
            await until(lambda: watch.longest_s > FREEZE_S, lambda: watch)
        assert relay.lost
        await bob.disconnect()


FROZEN = """
import asyncio, sys
from livekit import rtc
async def main(url, token):
    room = rtc.Room()
    async def look(track):
        async for _ in rtc.VideoStream(track):
            print("picture", flush=True)
    room.on("track_subscribed", lambda track, *_: tasks.append(asyncio.create_task(look(track))))
    room.on("disconnected", lambda reason: print("disconnected", reason, flush=True))
    tasks = []
    await room.connect(url, token)
    print("joined", flush=True)
    await asyncio.sleep(3600)
asyncio.run(main(sys.argv[1], sys.stdin.readline().strip()))
"""


async def test_who_stands_still_for_a_while_sees_again_and_nobody_else_noticed(stage: Stage) -> None:
    carol = rtc.Room()
    async with viewing(carol) as seen, publishing(await stage.join("alice")) as alice:
        await stage.join("carol", into=carol)
        sid = (await alice.film()).sid
        await seen.sees(sid)
        frozen = await asyncio.create_subprocess_exec(
            sys.executable, "-c", FROZEN, stage.engine.url,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert frozen.stdin is not None
        assert frozen.stdout is not None
        frozen.stdin.write(stage.token("frozen").encode() + b"\n")
        try:
            await pictures(frozen.stdout, 10)
            frozen.send_signal(signal.SIGSTOP)
            async with watching_for_freezes(seen, sid) as watch:
                await asyncio.sleep(FROZEN_S)
                frozen.send_signal(signal.SIGCONT)
                await drained(frozen.stdout)
                await pictures(frozen.stdout, 30)
            assert watch.longest_s < FREEZE_S
            await until(lambda: "frozen" in carol.remote_participants)
        finally:
            frozen.kill()
            await frozen.wait()


async def pictures(out: asyncio.StreamReader, count: int) -> None:
    async with asyncio.timeout(30):
        while count:
            line = await out.readline()
            assert line, "the client ended"
            count -= line == b"picture\n"


async def drained(out: asyncio.StreamReader) -> None:
    """Pass over what was written before it stood still, or is shown in one go after it."""
    ends = time.monotonic() + 1
    while (left := ends - time.monotonic()) > 0:
        try:
            async with asyncio.timeout(left):
                await out.readline()
        except TimeoutError:
            return
