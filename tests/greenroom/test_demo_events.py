"""What the demo takes from a session's events, and how long it waits for them."""

from __future__ import annotations

import asyncio

from greenroom.demo_events import FollowedSession
from sdk.client import ServerEvent
from sdk.errors import UnavailableError


def told(*events: tuple[str, dict[str, object]]) -> FollowedSession:
    session = FollowedSession()
    for name, data in events:
        session.take(ServerEvent(id="1:1", event=name, data=data))
    return session


def test_states_names_and_the_recording_are_noted_in_order() -> None:
    session = told(
        ("status_changed", {"status": "WaitingForServices"}),
        ("recording_status_changed", {"recording_status": "starting"}),
        ("status_changed", {"status": "Ready"}),
        ("session_ready", {}),
        ("status_changed", {"status": "Ready"}),
        ("recording_started", {"recording_status": "recording"}),
    )
    assert session.states == ["WaitingForServices", "Ready"]
    assert session.names[0] == "status_changed"
    assert len(session.names) == 6
    assert session.recording_status == "recording"
    assert session.ready_at is not None


async def test_waiting_ends_as_soon_as_it_is_told() -> None:
    session = told()
    waiting = asyncio.create_task(session.wait_for(lambda now: bool(now.states), within_s=5))
    await asyncio.sleep(0)
    session.take(ServerEvent(id="", event="status_changed", data={"status": "Ready"}))
    assert await waiting


async def test_waiting_ends_without_it_at_its_deadline_and_when_the_stream_is_lost() -> None:
    session = told()
    assert not await session.wait_for(lambda now: bool(now.states), within_s=0.02)
    session.give_up(UnavailableError("gone"))
    assert not await session.wait_for(lambda now: bool(now.states), within_s=60)
