"""What the suites of the session store are made of: changes, and the store with its clock."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from orchestrator.core.commands import LeaveJob
from orchestrator.core.errors import (
    RoomNameTakenError,
)
from orchestrator.core.events import (
    Error,
)
from orchestrator.core.ids import Identity, RoomName, ServiceId, SessionId, WorkerId
from orchestrator.core.session import Session
from orchestrator.core.step import Opening, Wanted, open_session
from orchestrator.core.workers import Registration
from orchestrator.ports import Change, CommandRow, SessionStore
from tests.fakes.clock import START, FakeClock

LEASE_S = 10.0


@dataclass
class World:
    """A store with its clock, and what it told about its head."""

    store: SessionStore
    clock: FakeClock
    heads: list[int] = field(default_factory=list)


def first_change(name: str = "room-1", *, session_id: str = "s1", services: tuple[str, ...] = ()) -> Change:
    """Give the intent of a session, as the core decides it: one event, one command, two deadlines."""
    opening = Opening(
        session_id=SessionId(session_id),
        room_name=RoomName(name),
        user_identity=Identity("anna"),
        user_name="Anna Ölander",
        metadata={"purpose": "ぬ\x00"},
        services=tuple(Wanted(service_id=ServiceId(service)) for service in services),
    )
    decision = open_session(opening, START)
    return Change(session=decision.session, events=decision.events, commands=decision.commands)


def next_change(session: Session, *texts: str, **fields: object) -> Change:
    """Give a change that appends an `error` event for each text."""
    after = replace(session, version=session.version + 1, events=session.events + len(texts))
    return Change(
        session=replace(after, **fields),  # type: ignore[arg-type]
        events=tuple(Error(session_id=session.id, message=text) for text in texts),
    )


async def saved(store: SessionStore, name: str = "room-1", session_id: str = "s1") -> Session:
    change = first_change(name, session_id=session_id)
    await store.commit(change)
    return change.session


def leave_job(attempt: int = 1) -> LeaveJob:
    return LeaveJob(job_id="s1-1", attempt=attempt, worker_id="asr", room_name="room-1", reason="over")


def registration(service: str, *, capacity: int | None = None, endpoint: str | None = None) -> Registration:
    return Registration(
        worker_id=WorkerId(service),
        service_id=ServiceId(service),
        endpoint=endpoint,
        capacity=capacity,
        registered_at=START,
        seen_at=START,
    )


async def claim_later(world: World) -> list[CommandRow]:
    world.clock.advance(LEASE_S)
    return await world.store.claim_commands(9)


async def numbers(world: World) -> list[tuple[str | None, int]]:
    page = await world.store.feed_after(0, session_id=None, limit=999)
    return [(event.session_id, event.number) for event in page.events]


async def assert_untouched(world: World, session: Session, *, commands: int) -> None:
    assert await world.store.load(session.id) == session
    assert await numbers(world) == [(session.id, 1)]
    world.clock.advance(100)
    assert len(await world.store.claim_commands(99)) == commands
    with pytest.raises(RoomNameTakenError):
        await world.store.commit(first_change(session.room_name, session_id="stranger"))
