"""LiveKit's lists make our view right: lost rooms, ghosts, absences believed twice, nothing of others."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from orchestrator.core.commands import CreateRoom
from orchestrator.core.errors import RoomServerError
from orchestrator.core.ids import RoomName
from orchestrator.core.session import Session
from orchestrator.core.states import RoomStatus
from orchestrator.core.triggers import JobLost
from orchestrator.ports import Change, CommandRow
from orchestrator.service.new_session import NewSession
from tests.fakes.assembly import Assembly, assembly

ALONE = NewSession(user_identity="anna", required_services=())
ASR = NewSession(user_identity="anna", required_services=("asr",))


async def test_a_room_that_livekit_lost_is_made_again() -> None:
    async with assembly() as running:
        created = await running.sessions.create(ALONE)
        before = await running.now(created.session.id)
        running.fake_rooms.lose_room(before.room_name)
        await running.reconciler.compare_rooms()
        session = await running.now(before.id)
        assert session.room_status is RoomStatus.READY
        assert session.room_sid not in (None, before.room_sid)
        (room,) = await running.fake_rooms.list_rooms()
        assert (room.name, room.sid) == (before.room_name, session.room_sid)


async def two_lost(running: Assembly) -> list[Session]:
    """Have two sessions whose rooms LiveKit has just lost."""
    created = [await running.sessions.create(ALONE) for _ in range(2)]
    sessions = [await running.now(each.session.id) for each in created]
    for session in sessions:
        running.fake_rooms.lose_room(session.room_name)
    return sessions


async def test_rooms_lost_together_are_committed_side_by_side() -> None:
    """A restart of LiveKit loses all at one moment; in a row, each would wait for every fsync before it."""
    async with assembly() as running:
        sessions = await two_lost(running)
        both = asyncio.Barrier(len(sessions))
        commit = running.store.commit

        async def commit_with_the_other(change: Change, **how: Any) -> tuple[CommandRow, ...]:
            if change.session.room_sid is None:  # the loss itself
                await asyncio.wait_for(both.wait(), 2)
            return await commit(change, **how)

        running.store.commit = commit_with_the_other  # type: ignore[method-assign]
        await running.reconciler.compare_rooms()
        for session in sessions:
            assert (await running.now(session.id)).room_sid not in (None, session.room_sid)


async def test_a_loss_that_cannot_be_committed_holds_up_no_other() -> None:
    async with assembly() as running:
        first, second = await two_lost(running)
        running.store.fail_commits = frozenset({running.store.commits + 1})
        await running.reconciler.compare_rooms()
        assert (await running.now(second.id)).room_sid not in (None, second.room_sid)
        assert (await running.now(first.id)).room_sid == first.room_sid
        await running.reconciler.compare_rooms()
        assert (await running.now(first.id)).room_sid not in (None, first.room_sid)


async def test_a_room_made_again_by_a_call_whose_answer_was_lost_is_taken_over() -> None:
    async with assembly() as running:
        created = await running.sessions.create(ALONE)
        before = await running.now(created.session.id)
        running.fake_rooms.lose_room(before.room_name)
        room = await running.fake_rooms.create_room(before.room_name, before.id)
        await running.reconciler.compare_rooms()
        assert (await running.now(before.id)).room_sid == room.sid


async def test_a_ghost_is_deleted_after_two_passes_and_a_strangers_room_never() -> None:
    async with assembly() as running:
        running.fake_rooms.add_foreign_room("lobby")
        await running.fake_rooms.create_room(RoomName("ghost"), "nobody")  # type: ignore[arg-type]
        await running.reconciler.compare_rooms()
        assert {room.name for room in await running.fake_rooms.list_rooms()} == {"lobby", "ghost"}
        running.clock.advance(1.1)
        await running.reconciler.compare_rooms()
        assert {room.name for room in await running.fake_rooms.list_rooms()} == {"lobby"}


async def test_an_absence_seen_once_is_not_believed() -> None:
    async with assembly() as running:
        created = await running.sessions.create(ALONE)
        session = await running.now(created.session.id)
        running.fake_rooms.add_participant(session.room_name, "anna")
        await running.reconciler.look(session.id)
        assert (await running.now(session.id)).room_status is RoomStatus.ACTIVE
        running.fake_rooms.hide_participants_once = True  # the list lags
        await running.reconciler.look(session.id)
        assert (await running.now(session.id)).room_status is RoomStatus.ACTIVE
        running.fake_rooms.remove_participants(session.room_name)
        await running.reconciler.look(session.id)
        assert (await running.now(session.id)).room_status is RoomStatus.READY


async def test_a_create_found_in_an_ending_session_is_dropped() -> None:
    async with assembly() as running:
        created = await running.sessions.create(ALONE)
        session = await running.now(created.session.id)
        running.fake_rooms.lose_room(session.room_name)
        running.fake_rooms.down = True
        await running.sessions.terminate(session.id)
        await running.settled()
        running.fake_rooms.down = False
        session = await running.after(1.0, session.id)
        assert session.room_status is RoomStatus.TERMINATED
        assert await running.fake_rooms.list_rooms() == []
        rows = await running.parts.store.claim_commands(10, all_orphaned=True)
        assert not [row for row in rows if isinstance(row.command, CreateRoom)]


# --- who may not be there, without any webhook ---


async def test_a_token_of_an_earlier_session_of_the_name_is_put_out_by_the_next_look() -> None:
    async with assembly() as running:
        named = NewSession(user_identity="anna", room_name="lobby", required_services=())
        first = await running.now((await running.sessions.create(named)).session.id)
        await running.sessions.terminate(first.id)
        await running.settled()
        second = await running.now((await running.sessions.create(named)).session.id)
        running.fake_rooms.add_participant("lobby", "anna", session_id=first.id)
        await running.reconciler.look(second.id)
        assert (await running.now(second.id)).room_status is RoomStatus.READY
        assert await running.fake_rooms.list_participants(second.room_name) == []
        running.fake_rooms.add_participant("lobby", "anna", session_id=second.id)
        await running.reconciler.look(second.id)
        assert (await running.now(second.id)).room_status is RoomStatus.ACTIVE


async def test_a_zombie_of_an_old_attempt_is_put_out_by_the_next_look() -> None:
    async with assembly() as running:
        await running.add_push_worker("asr")
        session = await running.now((await running.sessions.create(ASR)).session.id)
        job = session.jobs[0]
        lost = JobLost(job_id=job.job_id, attempt=job.attempt, detail="frozen")
        await running.sessions.apply(session.id, lost)
        running.fake_rooms.add_participant(session.room_name, "asr", service_id="asr", attempt=1)
        await running.reconciler.look(session.id)
        await running.settled()
        assert await running.fake_rooms.list_participants(session.room_name) == []


async def test_one_who_comes_while_the_session_ends_is_put_out() -> None:
    async with assembly() as running:
        await running.add_push_worker("asr")
        session = await running.now((await running.sessions.create(ASR)).session.id)
        running.fake_rooms.add_participant(session.room_name, "asr", service_id="asr", attempt=1)
        await running.reconciler.look(session.id)
        running.caller.slow_leave = asyncio.Event()
        await running.sessions.terminate(session.id)
        running.fake_rooms.add_participant(session.room_name, "anna", session_id=session.id)
        await running.reconciler.look(session.id)
        for _ in range(20):
            await asyncio.sleep(0)
        there = await running.fake_rooms.list_participants(session.room_name)
        assert [participant.identity for participant in there] == ["asr"]
        running.caller.slow_leave.set()
        assert (await running.now(session.id)).room_status is RoomStatus.TERMINATED


async def test_a_strangers_room_under_our_name_is_neither_looked_into_nor_emptied() -> None:
    async with assembly() as running:
        named = NewSession(user_identity="anna", room_name="lobby", required_services=())
        session = await running.now((await running.sessions.create(named)).session.id)
        running.fake_rooms.lose_room("lobby")
        running.fake_rooms.add_foreign_room("lobby")
        running.fake_rooms.add_participant("lobby", "stranger")
        await running.reconciler.compare_rooms()
        after = await running.now(session.id)
        assert (after.room_status, after.end_reason) == (RoomStatus.TERMINATED, "create_failed")
        assert [room.name for room in await running.fake_rooms.list_rooms()] == ["lobby"]
        (stranger,) = await running.fake_rooms.list_participants(session.room_name)
        assert stranger.identity == "stranger"


async def test_a_room_of_another_sid_is_not_taken_for_ours_before_it_is_looked_into() -> None:
    async with assembly() as running:
        session = await running.now((await running.sessions.create(ALONE)).session.id)
        await running.reconciler.compare_rooms()
        running.fake_rooms.lose_room(session.room_name)
        running.fake_rooms.add_foreign_room(session.room_name)
        running.fake_rooms.add_participant(session.room_name, "stranger")
        comparing = asyncio.create_task(running.reconciler.compare_rooms())
        while running.fake_rooms.calls[-1] != "list_rooms":
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(RoomServerError, match="another life or owner"):
            await running.reconciler.look(session.id)
        assert (await running.sessions.get(session.id)).room_status is RoomStatus.READY
        await comparing


async def test_many_rooms_with_absences_are_looked_at_side_by_side() -> None:
    async with assembly() as running:
        ids = []
        for _ in range(40):
            session = await running.now((await running.sessions.create(ALONE)).session.id)
            running.fake_rooms.add_participant(session.room_name, "anna", session_id=session.id)
            await running.reconciler.look(session.id)
            running.fake_rooms.remove_participants(session.room_name)
            ids.append(session.id)
        started = time.monotonic()
        await asyncio.gather(*map(running.reconciler.look, ids))
        assert (
            time.monotonic() - started < 10
        )  # each waits 0.5 s for its second list, 20 s one after the other
        for session_id in ids:
            assert (await running.now(session_id)).room_status is RoomStatus.READY


async def test_a_server_that_is_away_is_asked_more_often() -> None:
    async with assembly(reconcile={"rooms_interval": 30}) as running:
        session = (await two_lost(running))[0]
        running.fake_rooms.down = True
        reconciling = asyncio.create_task(running.reconciler.run_rooms())
        async with asyncio.timeout(10):  # less than the interval
            while running.reconciler.is_reachable:
                await asyncio.sleep(0.01)
            running.fake_rooms.down = False
            while not running.reconciler.is_reachable:
                await asyncio.sleep(0.01)
        reconciling.cancel()
        assert (await running.now(session.id)).room_sid not in (None, session.room_sid)
