"""What every session store promises of sessions, names, deadlines and registrations."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from orchestrator.core.errors import (
    RoomNameTakenError,
    SessionNotFoundError,
    VersionConflictError,
)
from orchestrator.core.events import (
    MicroserviceRegistered,
    MicroserviceUnavailable,
)
from orchestrator.core.ids import RoomName, SessionId, WorkerId
from orchestrator.core.session import Deadline
from orchestrator.core.states import RoomStatus
from tests.contracts.session_changes import (
    World,
    assert_untouched,
    claim_later,
    first_change,
    leave_job,
    next_change,
    numbers,
    registration,
    saved,
)
from tests.fakes.clock import START


async def test_what_was_committed_is_loaded(world: World) -> None:
    change = first_change(services=("asr", "tts"))
    await world.store.commit(change)
    assert await world.store.load(change.session.id) == change.session


async def test_a_session_that_is_not_there(world: World) -> None:
    for session_id in ("s1", "", "\udcff", "ß", "x" * 10_000):
        with pytest.raises(SessionNotFoundError):
            await world.store.load(SessionId(session_id))


async def test_a_stored_session_does_not_change_with_the_callers_copy(world: World) -> None:
    change = first_change()
    await world.store.commit(change)
    change.session.metadata["purpose"] = "another"
    assert (await world.store.load(change.session.id)).metadata["purpose"] == "ぬ\x00"


@pytest.mark.parametrize("version", [1, 3, 0, -1])
async def test_a_version_conflict_writes_nothing(world: World, version: int) -> None:
    session = await saved(world.store)
    (row,) = await claim_later(world)
    wrong = next_change(session, "never", is_name_held=False)
    wrong = replace(wrong, session=replace(wrong.session, version=version), commands=(leave_job(),))
    with pytest.raises(VersionConflictError):
        await world.store.commit(replace(wrong, finished=(row,)))
    await assert_untouched(world, session, commands=1)


async def test_a_session_is_created_once(world: World) -> None:
    session = await saved(world.store)
    with pytest.raises(VersionConflictError):
        await world.store.commit(first_change("another room"))
    await assert_untouched(world, session, commands=1)


async def test_a_first_commit_must_be_version_one(world: World) -> None:
    change = first_change()
    with pytest.raises(VersionConflictError):
        await world.store.commit(replace(change, session=replace(change.session, version=2)))
    with pytest.raises(SessionNotFoundError):
        await world.store.load(change.session.id)


async def test_of_many_that_start_from_one_version_one_wins(world: World) -> None:
    session = await saved(world.store)
    outcomes = await asyncio.gather(
        *(world.store.commit(next_change(session, f"writer {n}")) for n in range(20)), return_exceptions=True
    )
    assert sum(outcome == () for outcome in outcomes) == 1
    assert sum(isinstance(outcome, VersionConflictError) for outcome in outcomes) == 19
    assert (await world.store.load(session.id)).version == 2
    assert len(await numbers(world)) == 2


async def test_what_cannot_be_encoded_spoils_no_other_commit(world: World) -> None:
    good, bad = first_change(), first_change("room-2", session_id="s2")
    bad = replace(bad, session=replace(bad.session, user_name="\ud800"))
    outcomes = await asyncio.gather(world.store.commit(bad), world.store.commit(good), return_exceptions=True)
    assert isinstance(outcomes[0], ValueError)
    assert await world.store.load(good.session.id) == good.session
    with pytest.raises(SessionNotFoundError):
        await world.store.load(bad.session.id)


async def test_a_refused_commit_spoils_no_other_of_its_group(world: World) -> None:
    changes = [first_change(f"room-{n}", session_id=f"s{n}") for n in range(10)]
    changes[3] = first_change("room-2", session_id="s3")  # name taken
    changes[7] = replace(changes[7], session=replace(changes[7].session, version=5))
    outcomes = await asyncio.gather(*map(world.store.commit, changes), return_exceptions=True)
    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Exception)] == [3, 7]
    assert [s.id for s in await world.store.open_sessions()] == [f"s{n}" for n in (0, 1, 2, 4, 5, 6, 8, 9)]
    assert len(await numbers(world)) == 8


async def test_open_sessions_are_given_oldest_first(world: World) -> None:
    sessions = [await saved(world.store, f"room-{n}", session_id=f"s{9 - n}") for n in range(4)]
    await world.store.commit(next_change(sessions[1], room_status=RoomStatus.TERMINATED))
    await world.store.commit(next_change(sessions[2], "an event"))
    assert [s.id for s in await world.store.open_sessions()] == ["s9", "s7", "s6"]


async def test_a_session_may_open_again(world: World) -> None:
    session = await saved(world.store)
    over = next_change(session, room_status=RoomStatus.TERMINATED, is_name_held=False)
    await world.store.commit(over)
    assert await world.store.open_sessions() == []
    again = next_change(over.session, room_status=RoomStatus.CREATING, is_name_held=True)
    await world.store.commit(again)
    assert await world.store.open_sessions() == [again.session]


# --- room names ---


async def test_a_held_room_name_is_refused_to_others(world: World) -> None:
    session = await saved(world.store)
    with pytest.raises(RoomNameTakenError):
        await world.store.commit(first_change("room-1", session_id="s2"))
    with pytest.raises(SessionNotFoundError):
        await world.store.load(SessionId("s2"))
    await assert_untouched(world, session, commands=1)


async def test_a_name_is_held_through_later_commits_and_free_after_its_release(world: World) -> None:
    session = await saved(world.store)
    later = next_change(session, "still mine")
    await world.store.commit(later)
    with pytest.raises(RoomNameTakenError):
        await world.store.commit(first_change("room-1", session_id="s2"))
    released = next_change(later.session, is_name_held=False)
    await world.store.commit(released)
    await world.store.commit(first_change("room-1", session_id="s2"))
    with pytest.raises(RoomNameTakenError):
        await world.store.commit(next_change(released.session, is_name_held=True))
    await world.store.commit(next_change(released.session, is_name_held=True, room_name=RoomName("room-9")))


async def test_two_that_take_a_name_at_once(world: World) -> None:
    changes = [first_change("the room", session_id=f"s{n}") for n in range(8)]
    outcomes = await asyncio.gather(*map(world.store.commit, changes), return_exceptions=True)
    assert sum(isinstance(outcome, RoomNameTakenError) for outcome in outcomes) == 7


async def test_names_differ_by_every_character(world: World) -> None:
    for n, name in enumerate(("Room", "room", "room ", "röom", "ro\u0308om")):
        await saved(world.store, name, session_id=f"s{n}")
    assert len(await world.store.open_sessions()) == 5


# --- deadlines ---


async def test_due_sessions_are_given_earliest_first(world: World) -> None:
    for n, seconds in enumerate((30, 10, 20, 40)):
        change = first_change(f"room-{n}", session_id=f"s{n}")
        due = {"x": Deadline(arming=1, due=START + timedelta(seconds=seconds))}
        await world.store.commit(replace(change, session=replace(change.session, deadlines=due)))
    assert await world.store.due_sessions(9) == []
    world.clock.advance(30)
    assert await world.store.due_sessions(9) == ["s1", "s2", "s0"]
    assert await world.store.due_sessions(2) == ["s1", "s2"]


async def test_a_deadline_is_due_at_its_microsecond(world: World) -> None:
    change = first_change()
    due = {"x": Deadline(arming=1, due=START + timedelta(microseconds=1_000_001))}
    await world.store.commit(replace(change, session=replace(change.session, deadlines=due)))
    world.clock.advance(1.0)
    assert await world.store.due_sessions(9) == []
    world.clock.advance(0.000001)
    assert await world.store.due_sessions(9) == ["s1"]


async def test_a_session_without_deadlines_is_never_due(world: World) -> None:
    session = await saved(world.store)
    world.clock.advance(1e6)
    assert await world.store.due_sessions(9) == ["s1"]
    await world.store.commit(next_change(session, deadlines={}))
    assert await world.store.due_sessions(9) == []


# --- registrations ---


async def test_registrations_are_kept_replaced_and_forgotten(world: World) -> None:
    asr, tts = registration("asr"), registration("tts", capacity=3, endpoint="http://127.0.0.1:9/x")
    await world.store.save_worker(asr)
    await world.store.save_worker(tts)
    assert await world.store.workers() == [asr, tts]
    asr = replace(asr, seen_at=START + timedelta(seconds=3), capabilities={"language": "sv"})
    await world.store.save_worker(asr)
    assert await world.store.workers() == [asr, tts]
    await world.store.delete_worker(asr.worker_id)
    await world.store.delete_worker(asr.worker_id)
    assert await world.store.workers() == [tts]
    assert (await world.store.feed_after(0, session_id=None, limit=9)).head_seq == 0


async def test_registry_events_belong_to_no_session(world: World) -> None:
    registered = MicroserviceRegistered(service_id="asr", worker_id="asr/1")
    gone = MicroserviceUnavailable(service_id="asr", worker_id="asr/1", reason="silent")
    await world.store.save_worker(registration("asr"), (registered,))
    await world.store.delete_worker(WorkerId("asr"), (gone,))
    page = await world.store.feed_after(0, session_id=None, limit=9)
    assert [(e.name, e.session_id, e.number) for e in page.events] == [
        ("microservice_registered", None, 0),
        ("microservice_unavailable", None, 0),
    ]


async def test_the_deployment_has_an_id(world: World) -> None:
    deployment_id = await world.store.deployment_id()
    assert UUID(deployment_id).version == 4
    assert await world.store.deployment_id() == deployment_id


async def test_time_is_the_clocks(world: World) -> None:
    world.clock.advance(7)
    assert world.store.now() == START + timedelta(seconds=7)
