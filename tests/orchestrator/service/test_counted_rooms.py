"""Calls of LiveKit are counted with their outcome, and passed on unchanged."""

from __future__ import annotations

import pytest

from orchestrator.core.errors import RoomServerError, RoomServerUnavailableError
from orchestrator.core.ids import Identity, JobId, RoomName, SessionId
from orchestrator.service.counted_rooms import CountedRooms
from tests.fakes.clock import FakeClock
from tests.fakes.rooms import FakeRooms

NAME = RoomName("room")


async def test_every_call_is_passed_on_and_counted() -> None:
    fake = FakeRooms(deployment_id="d")
    rooms = CountedRooms(fake, FakeClock())
    made = await rooms.create_room(NAME, SessionId("s"))
    fake.add_participant("room", "bob")
    assert await rooms.list_rooms((NAME,)) == [made]
    assert [p.identity for p in await rooms.list_participants(NAME)] == ["bob"]
    await rooms.remove_participant(NAME, Identity("bob"))
    await rooms.create_dispatch(NAME, "echo", job_id=JobId("s-1"), attempt=1, metadata="")
    (dispatch,) = await rooms.list_dispatches(NAME)
    assert (dispatch.agent_name, dispatch.job_id, dispatch.attempt) == ("echo", "s-1", 1)
    await rooms.delete_dispatch(NAME, dispatch.id)
    assert await rooms.list_dispatches(NAME) == []
    await rooms.delete_room(NAME)
    assert await rooms.list_rooms() == []
    assert rooms.calls == {
        ("create_room", "ok"): 1,
        ("list_rooms", "ok"): 2,
        ("list_participants", "ok"): 1,
        ("remove_participant", "ok"): 1,
        ("create_dispatch", "ok"): 1,
        ("list_dispatches", "ok"): 2,
        ("delete_dispatch", "ok"): 1,
        ("delete_room", "ok"): 1,
    }


async def test_what_fails_is_counted_by_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRooms(deployment_id="d")
    clock = FakeClock()
    rooms = CountedRooms(fake, clock)
    fake.down = True
    with pytest.raises(RoomServerUnavailableError):
        await rooms.list_rooms()

    async def refuse(names: object) -> None:
        clock.advance(0.25)
        raise RoomServerError("refused")

    monkeypatch.setattr(fake, "list_rooms", refuse)
    with pytest.raises(RoomServerError):
        await rooms.list_rooms()
    assert rooms.calls == {("list_rooms", "unavailable"): 1, ("list_rooms", "refused"): 1}
    assert rooms.seconds == {"list_rooms": 0.25}
