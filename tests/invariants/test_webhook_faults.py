"""Shown by 4: webhooks lost, repeated, shuffled or late; our view is LiveKit's own within a list and 2 s."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import pytest
from livekit import api

from greenroom import free_ports
from tests.acceptance.system import System, joined
from tests.integration.servers import LiveKitFactory
from tests.invariants.old_tokens import lag_meter
from tests.invariants.webhook_faults import DELAY_S, FAULTS, FaultyRelay, Watched, look, participants, watch

pytestmark = [pytest.mark.acceptance, pytest.mark.integration, pytest.mark.xdist_group("timed")]

INTERVAL_S = 5.0  # `[reconcile] participants_interval`, by default
BOUND_S = INTERVAL_S + 2.0


async def come_and_go(
    client: api.LiveKitAPI,
    running: System,
    fault: str,
    watched: list[Watched],
    kept: contextlib.AsyncExitStack,
) -> None:
    """Have clients come, go and come back in three sessions; a fourth loses its room, a fifth ends."""
    made = [await running.create(user_identity="anna", room_name=f"{fault}-{n}") for n in range(5)]
    watched += [
        Watched(system=running, session_id=created["session_id"], room_name=created["room_name"])
        for created in made
    ]
    for n, created in enumerate(made[:3]):
        other = await running.post(
            f"/api/v1/sessions/{created['session_id']}/token", {"user_identity": "ben"}
        )
        async with joined(other):
            async with joined(created):
                await asyncio.sleep(0.3)
            if n == 0:
                await kept.enter_async_context(joined(created))  # anna is back, under another SID
        if n == 1:
            await kept.enter_async_context(joined(other))
    await client.room.delete_room(api.DeleteRoomRequest(room=made[3]["room_name"]))
    async with joined(made[4]):
        await running.post(f"/api/v1/sessions/{made[4]['session_id']}/terminate", {})


@pytest.mark.timeout(180)
async def test_whatever_becomes_of_the_webhooks_our_view_is_livekits(
    tmp_path: Path, fresh_real_livekit_server: LiveKitFactory
) -> None:
    async with FaultyRelay(seed=4).running() as relay, contextlib.AsyncExitStack() as stack:
        media = fresh_real_livekit_server(webhook_urls=[relay.url])
        running = System(tmp_path, media, free_ports.free_port())
        stack.push_async_callback(running.close)
        await running.start()
        relay.target = f"{running.url}/api/v1/livekit/webhook"
        http = media.url.replace("ws://", "http://")
        client = await stack.enter_async_context(api.LiveKitAPI(http, media.api_key, media.api_secret))
        watched: dict[str, list[Watched]] = {fault: [] for fault in FAULTS}
        async with lag_meter() as lag:
            watching = asyncio.create_task(watch(client, watched.values()))
            await asyncio.gather(
                *(come_and_go(client, running, fault, watched[fault], stack) for fault in FAULTS)
            )
            last_at = time.monotonic()
            await asyncio.sleep(BOUND_S)
            # The control: who takes webhooks for the truth is wrong by now.
            wrong = {fault: await naive_mistakes(client, relay, some) for fault, some in watched.items()}
            await asyncio.sleep(last_at + DELAY_S + BOUND_S - time.monotonic())
            watching.cancel()
            await asyncio.wait({watching})
        for some in watched.values():
            for one in some:
                await look(client, one)

        longest = {fault: max(one.longest_s for one in some) for fault, some in watched.items()}
        print(f"longest differences: {longest}; own lag {lag.worst_s:.3f} s; naive mistakes: {wrong}")
        for fault, some in watched.items():
            for one in some:
                assert one.longest_s <= BOUND_S + lag.worst_s, (fault, one.worst)
                assert one.differs_since is None, (fault, one.worst)
                assert one.looks > 20
        # What was to be there is there: the same view of nothing would be worth nothing.
        for fault, some in watched.items():
            assert [len(one.theirs or ()) for one in some[:3]] == [1, 1, 0], fault
            assert some[4].theirs is None
        assert min(relay.taken[fault] for fault in FAULTS) >= 10
        assert relay.refused == []
        assert [fault for fault in ("dropped", "shuffled", "delayed") if not wrong[fault]] == []


async def naive_mistakes(client: api.LiveKitAPI, relay: FaultyRelay, watched: list[Watched]) -> list[str]:
    """Name the rooms of which the naive observer believes what is not so."""
    mistakes = []
    for one in watched:
        theirs = await participants(client, one.room_name)
        if relay.naive.rooms.get(one.room_name, set()) != set((theirs or {}).values()):
            mistakes.append(one.room_name)
    return mistakes
