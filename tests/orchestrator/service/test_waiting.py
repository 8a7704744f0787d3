"""Waits for sessions: they end with what was waited for, with the session, or with their time."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.core.errors import ServicesTimeoutError
from orchestrator.core.ids import SessionId
from orchestrator.core.states import RoomStatus
from orchestrator.service import waiting
from orchestrator.service.new_session import NewSession
from tests.fakes.assembly import Assembly, assembly


async def waiting_session(running: Assembly, **fields: object) -> SessionId:
    """Create a session that waits for a service which nobody offers."""
    request = NewSession(user_identity="anna", required_services=("asr",), **fields)  # type: ignore[arg-type]
    created = await running.sessions.create(request)
    return (await running.now(created.session.id)).id


async def test_a_wait_ends_with_its_time() -> None:
    async with assembly() as running:
        session_id = await waiting_session(running)
        asked = asyncio.ensure_future(running.sessions.waits.until_ready(session_id, 3.0))
        await asyncio.sleep(0.02)
        assert not asked.done()
        running.clock.advance(3.0)
        session = await asyncio.wait_for(asked, 30)  # it looks by itself: nothing was committed
        assert session.room_status is RoomStatus.WAITING


async def test_a_wait_ends_with_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_LOOK_S", 120.0)
    async with assembly() as running:
        session_id = await waiting_session(running)
        asked = asyncio.ensure_future(running.sessions.waits.until_ready(session_id, 100.0))
        await asyncio.sleep(0.02)
        await running.sessions.terminate(session_id)
        assert (await asyncio.wait_for(asked, 30)).end_reason == "terminated"


async def test_strict_services_that_do_not_come_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_LOOK_S", 120.0)
    async with assembly() as running:
        session_id = await waiting_session(running, policy="strict")
        asked = asyncio.ensure_future(running.sessions.waits.until_ready(session_id, 100.0))
        await asyncio.sleep(0.02)
        await running.after(61.0, session_id)
        with pytest.raises(ServicesTimeoutError):
            await asyncio.wait_for(asked, 30)


async def test_a_room_that_is_there_is_not_waited_for() -> None:
    async with assembly() as running:
        session_id = await waiting_session(running)
        session = await running.sessions.waits.until_created(session_id, 30.0)
        assert session.room_status is RoomStatus.WAITING
