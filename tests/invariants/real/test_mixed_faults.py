"""I1–I3, I5–I8, I10–I12 on the real system, while everything that can be broken is broken in turn."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from pathlib import Path
from typing import Any, Final

import pytest

from orchestrator.core.ids import ServiceId, identity_of
from sdk.client import Client, ServerEvent
from tests.integration.servers import LiveKitFactory
from tests.invariants.real.callers import Asked, Callers, restless
from tests.invariants.real.feed_checks import (
    Stored,
    check_attempts,
    check_deliveries,
    check_moves,
    check_presence,
    check_reader,
    check_rooms,
    check_store,
)
from tests.invariants.real.real_system import IS_FULL, RealSystem, real_system
from tests.invariants.real.weather import Weather
from tests.invariants.real.webhook_weather import WebhookWeather

pytestmark = [pytest.mark.acceptance, pytest.mark.integration, pytest.mark.xdist_group("timed")]

SEED: Final = int(os.environ.get("GREENROOM_SEED", "20261121"))
STORM_S: Final = 600.0 if IS_FULL else 60.0
REST_S: Final = 30.0  # after the last fault: 9 s for jobs, and what LiveKit's SDK takes to come back
CATCH_UP_S: Final = 10.0  # of a reader whose connection was just ended
QUIET_S: Final = 1.0  # without an event: all was told
OVER: Final = ("Terminating", "Terminated")


@pytest.mark.timeout(STORM_S + 180)
async def test_what_was_promised_holds_after_a_storm(
    tmp_path: Path, fresh_real_livekit_server: LiveKitFactory
) -> None:
    with WebhookWeather(SEED) as webhooks:
        await _storm(tmp_path, fresh_real_livekit_server, webhooks)
    assert {"lose", "repeat", "delay"} <= webhooks.done.keys()


async def _storm(tmp_path: Path, make_media: LiveKitFactory, webhooks: WebhookWeather) -> None:
    wrong: list[str] = []
    async with real_system(
        tmp_path,
        make_media,
        webhooks=webhooks,
        # A rest after refusals may last `retry_interval`: with its 30 s nothing could be said after REST_S.
        microservices__retry_interval="3",
        microservices__join_timeout="15",
    ) as running:
        weather = Weather(running, SEED)
        callers = Callers(running, SEED)
        got: list[ServerEvent] = []
        reading = asyncio.create_task(restless(running.client, got, SEED))
        try:
            async with asyncio.TaskGroup() as storm:
                storm.create_task(callers.work(STORM_S))
                storm.create_task(weather.blow(STORM_S))
            webhooks.is_calm = True
            await weather.clear()
            wrong += await _until_right(running, callers.asked)
            told = await _told_to_all(running, got)
            assert running.system.stop() == 0  # before the clients leave, which would be news
        finally:
            reading.cancel()
            await asyncio.wait({reading}, timeout=5)
            await callers.close()
        wrong += check_reader([event.seen for event in running.events], told, who="the steady reader")
        wrong += check_reader(got, told, who="the restless reader")
        wrong += check_moves(told) + check_attempts(told)
        wrong += check_deliveries(running.fleet.journal())
        wrong += check_store(told, _stored(tmp_path / "greenroom.db"))
        print(f"seed {SEED}, {len(callers.asked)} creations, {len(told)} events, webhooks {webhooks.done}")
        print(*weather.said, sep="\n")
        assert wrong == [], "\n".join([*wrong, running.system.log()])


async def _until_right(running: RealSystem, asked: list[Asked]) -> list[str]:
    """Wait until every session is as it should be; gives what is still wrong when the rest is over."""
    until = time.monotonic() + REST_S
    while wrong := await _what_is_wrong(running, asked):
        if time.monotonic() > until:
            return wrong
        await asyncio.sleep(0.5)
    return []


async def _what_is_wrong(running: RealSystem, asked: list[Asked]) -> list[str]:
    """Compare what was promised, what the orchestrator says, and what LiveKit lists."""
    wrong: list[str] = []
    live: dict[str, str] = {}
    created = [event.seen.data for event in running.events if event.seen.event == "session_created"]
    ids = [str(data["session_id"]) for data in created]
    sessions = {session_id: await running.system.session(session_id) for session_id in ids}
    for one in asked:
        wrong += _broken_promises(one, sessions)
    for session_id, session in sessions.items():
        if session["room_status"] == "Terminated":
            continue
        live[session["room_name"]] = session_id
        wrong += await _lacks(running, session)
    rooms = await running.eye.rooms()
    return wrong + (["LiveKit does not answer"] if rooms is None else check_rooms(rooms, live))


def _broken_promises(asked: Asked, sessions: dict[str, dict[str, Any]]) -> list[str]:
    """I11, I12: an acknowledged creation made one session, an acknowledged end is an end."""
    made = {
        session_id: session
        for session_id, session in sessions.items()
        if session["user_id"] == asked.user and session["end_reason"] != "create_failed"
    }
    if list(made) != [asked.session_id]:
        return [f"{asked.user} was told of session {asked.session_id}, and has {sorted(made)}"]
    wrong = [
        f"session {session_id} was answered with 502 and is {sessions[session_id]['room_status']}"
        for session_id in asked.failed_ids
        if sessions[session_id]["room_status"] not in OVER
    ]
    session = made[asked.session_id]
    if asked.is_ended and session["room_status"] != "Terminated":
        wrong.append(f"session {asked.session_id} was ended and is {session['room_status']}")
    if not asked.is_ended and session["room_status"] in OVER:
        wrong.append(f"nobody ended session {asked.session_id}: {session['end_reason']}")
    return wrong


async def _lacks(running: RealSystem, session: dict[str, Any]) -> list[str]:
    """I1, I5, I6: a live session is Ready or Active, whole, and who should be in its room is there alone."""
    session_id = session["session_id"]
    wrong = []
    if session["room_status"] not in ("Ready", "Active"):
        wrong.append(f"{session_id} is {session['room_status']}")
    if session["degraded"] or session["missing_services"]:
        wrong.append(f"{session_id} misses {session['missing_services']}: {session['jobs']}")
    wanted = {
        job["service_id"]: identity_of(ServiceId(job["service_id"]), job["attempt"])
        for job in session["jobs"]
    }
    present = await running.eye.identities(session["room_name"])
    return wrong + check_presence(sorted(present or ()), wanted, session_id=session_id)


async def _told_to_all(running: RealSystem, got: list[ServerEvent]) -> list[ServerEvent]:
    """Read the whole feed past all proxies, and let the readers come to its end.

    A reader that is not there after the wait is given up: what it lacks it has missed.
    """
    until = time.monotonic() + CATCH_UP_S
    while True:
        told = await _told(running)
        ends = (running.events[-1].seen.id, got[-1].id)
        if ends == (told[-1].id, told[-1].id) or time.monotonic() > until:
            return told


async def _told(running: RealSystem) -> list[ServerEvent]:
    """Read the feed from its start until nothing comes any more."""
    told: list[ServerEvent] = []
    async with Client(running.system.url) as client:
        events = client.events(from_start=True)
        while True:
            try:
                told.append(await asyncio.wait_for(anext(events), QUIET_S))
            except TimeoutError:
                return told


def _stored(path: Path) -> list[Stored]:
    with sqlite3.connect(path) as database:
        rows = database.execute("SELECT seq, session, number, name FROM events ORDER BY seq").fetchall()
    return [Stored(seq=seq, session=session, number=number, name=name) for seq, session, number, name in rows]
