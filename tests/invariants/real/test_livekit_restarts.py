"""livekit-server killed again and again under live sessions: no session is lost, and everybody comes back."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from sdk.ports import Grant
from sdk.room import LiveKitRoom
from sdk.wire import TokenGranted
from tests.integration.servers import LiveKitFactory
from tests.invariants.real.fleet import PULL_SERVICE, PUSH_SERVICE
from tests.invariants.real.real_system import IS_FULL, RealSystem, real_system, start_livekit
from tests.invariants.real.worker_trials import percentile

pytestmark = [pytest.mark.acceptance, pytest.mark.integration, pytest.mark.xdist_group("timed")]

SEED: Final = 20261121
KILLS: Final = 10 if IS_FULL else 3
SESSIONS: Final = 20
ROOM_S: Final = 3.0  # from LiveKit's answering until every room exists again
CALL_S: Final = 0.2  # of that limit, this much is for LiveKit's own CreateRoom
BACK_S: Final = 40.0  # LiveKit's SDK tries for 15 to 44 s by itself
SERVICES: Final = (PULL_SERVICE, PUSH_SERVICE)  # every other session has the one


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """What one kill took: seconds from LiveKit's answering, per session.

    ``floor_s`` is the longest that a plain CreateRoom took meanwhile, of a room of nobody's.
    """

    away_s: float
    floor_s: float
    room_s: tuple[float, ...]
    back_s: tuple[float, ...]


@pytest.mark.timeout(1200 if IS_FULL else 240)
async def test_no_session_is_lost_when_livekit_is_killed(
    tmp_path: Path, fresh_real_livekit_server: LiveKitFactory
) -> None:
    chance = random.Random(SEED)
    restarts: list[Restart] = []
    # Tokens of 10 s: who comes back in a later restart comes with one that was renewed.
    async with (
        real_system(tmp_path, fresh_real_livekit_server, livekit__token_ttl="10") as running,
        _clients(running, SESSIONS) as created,
    ):
        await _until_whole(running, created, within_s=BACK_S)
        for _ in range(KILLS):
            restarts.append(await _restart(running, created, away_s=chance.uniform(0.2, 2.5)))
            for session in created:
                await running.client.token(session["session_id"], "guest")  # raises when it is refused
            await _join_once(await running.client.token(created[0]["session_id"], "guest"))
        _report(restarts)
        for restart in restarts:
            assert max(restart.room_s) - max(0.0, restart.floor_s - CALL_S) <= ROOM_S
        names = [event.seen.event for event in running.events]
        assert names.count("room_recreated") == KILLS * SESSIONS
        assert names.count("session_created") == SESSIONS
        assert "session_terminated" not in names


async def test_who_waits_for_webhooks_loses_every_room(
    tmp_path: Path, fresh_real_livekit_server: LiveKitFactory
) -> None:
    """The control: a kill sends no webhook, and without its room nobody is let in."""
    async with real_system(
        tmp_path, fresh_real_livekit_server, pull=0, push=0, reconcile__rooms_interval="60"
    ) as running:
        created = await running.system.create()
        await running.system.until_status(created["session_id"], "Ready")
        running.system.media.kill()
        answered_at = await start_livekit(running.system.media)
        await asyncio.sleep(ROOM_S + 1.0 - (time.monotonic() - answered_at))
        assert await running.eye.rooms() == {}
        token = (await running.client.token(created["session_id"], "anna")).access_token
        url = f"http://127.0.0.1:{running.system.media.setup.http_port}/rtc/validate"
        async with running.system.http.get(url, params={"access_token": token}) as answer:
            assert answer.status == 404


@asynccontextmanager
async def _clients(running: RealSystem, count: int) -> AsyncIterator[list[dict[str, Any]]]:
    """Make sessions, each with a worker and with its client in the room."""
    rooms: list[LiveKitRoom] = []
    created: list[dict[str, Any]] = []
    try:
        for n in range(count):
            session = await running.system.create(
                user_identity=f"anna-{n}", required_services=[SERVICES[n % len(SERVICES)]]
            )
            created.append(session)
            rooms.append(LiveKitRoom())
            grant = Grant(livekit_url=session["livekit_url"], access_token=session["access_token"])
            await rooms[-1].connect(grant, timeout_s=15)
        yield created
    finally:
        await asyncio.gather(*(room.disconnect(timeout_s=5) for room in rooms))


async def _restart(running: RealSystem, created: Sequence[dict[str, Any]], *, away_s: float) -> Restart:
    media = running.system.media
    media.kill()
    await asyncio.sleep(away_s)
    answered_at = await start_livekit(media)
    room_at, floor_s = await _until_rooms(running, [session["room_name"] for session in created])
    back_at = await _until_whole(running, created, within_s=BACK_S)
    return Restart(
        away_s=away_s,
        floor_s=floor_s,
        room_s=tuple(at - answered_at for at in room_at),
        back_s=tuple(at - answered_at for at in back_at),
    )


async def _until_rooms(running: RealSystem, names: Sequence[str]) -> tuple[list[float], float]:
    """Wait until LiveKit lists all these rooms; gives when each was first seen, and the floor meanwhile."""
    seen: dict[str, float] = {}
    floor_s = 0.0
    until = time.monotonic() + BACK_S
    while not seen.keys() >= set(names):
        assert time.monotonic() < until, f"{len(set(names) - seen.keys())} rooms were not made again"
        for name in await running.eye.rooms() or ():
            seen.setdefault(name, time.monotonic())
        asked_at = time.monotonic()
        await running.eye.make_room("bystanders")
        floor_s = max(floor_s, time.monotonic() - asked_at)
        await asyncio.sleep(0.1)
    return [seen[name] for name in names], floor_s


async def _until_whole(
    running: RealSystem, created: Sequence[dict[str, Any]], *, within_s: float
) -> list[float]:
    """Wait until each session is Active with nobody missing and LiveKit lists client and worker."""
    whole_at: dict[str, float] = {}
    until = time.monotonic() + within_s
    while len(whole_at) < len(created):
        waiting = [s for s in created if s["session_id"] not in whole_at]
        present = await running.eye.look_at(s["room_name"] for s in waiting)
        for session in waiting:
            why_not = await _why_not(running, session, present[session["room_name"]] or frozenset())
            if not why_not:
                whole_at[session["session_id"]] = time.monotonic()
            assert time.monotonic() < until, f"{why_not}\n{running.system.log()}"
        await asyncio.sleep(0.3)
    return [whole_at[session["session_id"]] for session in created]


async def _why_not(running: RealSystem, created: dict[str, Any], present: frozenset[str]) -> str:
    """Say what a session lacks; "" when it is whole."""
    kinds = {identity.partition("#")[0].partition("-")[0] for identity in present}
    if "anna" not in kinds or not kinds & set(SERVICES):
        return f"{created['session_id']} has only {sorted(present)} in its room"
    session = await running.system.session(created["session_id"])
    if session["room_name"] != created["room_name"] or session["room_status"] != "Active":
        return f"{created['session_id']} is {session['room_status']} in room {session['room_name']}"
    if session["missing_services"] or session["degraded"]:
        return f"{created['session_id']} misses {session['missing_services']}: {session['jobs']}"
    return ""


async def _join_once(granted: TokenGranted) -> None:
    """A token minted after the restart lets somebody new in."""
    room = LiveKitRoom()
    await room.connect(
        Grant(livekit_url=granted.livekit_url, access_token=granted.access_token), timeout_s=15
    )
    await room.disconnect(timeout_s=5)


def _report(restarts: Sequence[Restart]) -> None:
    """Print what was measured; pytest shows it with -s or when the test fails."""
    for restart in restarts:
        print(
            f"away {restart.away_s:.1f} s: rooms after at most {max(restart.room_s):.2f} s"
            f" (a plain CreateRoom {restart.floor_s:.2f} s),"
            f" everybody back p50 {percentile(restart.back_s, 0.5):.1f} s, max {max(restart.back_s):.1f} s"
        )
