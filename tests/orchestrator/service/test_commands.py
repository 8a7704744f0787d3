"""Durable commands: carried out once their time has come, whatever fails or dies in between."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from orchestrator.core.commands import Command, CreateRoom, DeleteRoom, LeaveJob, RemoveParticipant
from orchestrator.core.errors import StoreError
from orchestrator.core.ids import InstanceId, JobId, SessionId, WorkerId
from orchestrator.core.jobs import JobState
from orchestrator.core.session import Session
from orchestrator.core.states import RoomStatus
from orchestrator.core.triggers import RoomLost
from orchestrator.ports import Change, CommandRow
from orchestrator.service.new_session import NewSession
from tests.fakes.assembly import Assembly, assembly

ALONE = NewSession(user_identity="anna", required_services=())
ASR = NewSession(user_identity="anna", required_services=("asr",))


async def ready(running: Assembly, request: NewSession = ALONE) -> Session:
    """Create a session and let its creation come to rest."""
    return await running.now((await running.sessions.create(request)).session.id)


async def left_rows(running: Assembly) -> list[Command]:
    """Give the commands that are still in the store, as another instance would find them."""
    running.store.taken_over_by(InstanceId("somebody"))
    return [row.command for row in await running.store.claim_commands(100, all_orphaned=True)]


async def recover(running: Assembly, session_id: str) -> Session:
    """Claim what an earlier instance left behind, as the first sweep after a start does."""
    running.commands.submit(tuple(await running.store.claim_commands(100, all_orphaned=True)))
    return await running.now(session_id)


async def with_command(running: Assembly, session: Session, command: Command) -> CommandRow:
    """Commit a command past the step function, as an older version's commit would have."""
    later = replace(session, version=session.version + 1)
    (row,) = await running.store.commit(Change(session=later, commands=(command,)))
    running.sessions.live.put(later)
    return row


# --- crashes ---


async def test_a_crash_between_intent_and_result_leaves_a_creation_that_the_next_start_finishes() -> None:
    async with assembly() as running:
        running.store.fail_commits = frozenset({2})  # the intent is committed, the result is not
        created = await running.sessions.create(ALONE)
        assert (await running.now(created.session.id)).room_status is RoomStatus.CREATING
        again = await running.restarted()
        assert (await again.now(created.session.id)).room_status is RoomStatus.CREATING
        session = await recover(again, created.session.id)
        assert session.room_status is RoomStatus.READY
        assert [room.sid for room in await again.fake_rooms.list_rooms()] == [session.room_sid]
        assert await left_rows(again) == []


async def test_a_crash_while_livekit_is_making_the_room_ends_with_one_room() -> None:
    async with assembly() as running:
        running.fake_rooms.slow = asyncio.Event()
        creating = asyncio.create_task(running.sessions.create(ALONE))
        while not running.sessions.live.all():
            await asyncio.sleep(0)
        (session,) = running.sessions.live.all()
        again = await running.restarted()
        with pytest.raises(asyncio.CancelledError):
            await creating
        again.fake_rooms.slow = None
        after = await recover(again, session.id)
        assert after.room_status is RoomStatus.READY
        assert [room.sid for room in await again.fake_rooms.list_rooms()] == [after.room_sid]


async def test_a_crash_during_an_ending_leaves_a_deletion_that_the_next_start_finishes() -> None:
    async with assembly() as running:
        session = await ready(running)
        running.fake_rooms.down = True
        await running.sessions.terminate(session.id)
        assert (await running.now(session.id)).room_status is RoomStatus.TERMINATING
        again = await running.restarted()
        again.fake_rooms.down = False
        ended = await recover(again, session.id)
        assert ended.room_status is RoomStatus.TERMINATED
        assert not ended.is_name_held
        assert await again.fake_rooms.list_rooms() == []


async def test_a_deletion_outlives_its_session_and_a_crash() -> None:
    async with assembly() as running:
        session = await ready(running, NewSession(user_identity="a", required_services=(), room_name="lobby"))
        running.fake_rooms.down = True
        await running.sessions.terminate(session.id)
        ended = await running.after(31.0, session.id)  # the hard limit: Terminated, the room still there
        assert ended.room_status is RoomStatus.TERMINATED
        assert ended.is_name_held
        again = await running.restarted()
        again.fake_rooms.down = False
        assert not (await recover(again, session.id)).is_name_held
        assert await again.fake_rooms.list_rooms() == []


async def test_the_runner_claims_orphans_at_once_and_lapsed_leases_later() -> None:
    async with assembly() as running:
        session = await ready(running)
        running.store.fail_commits = frozenset({running.store.commits + 2})
        await running.sessions.terminate(session.id)  # the deletion's result is not committed
        await running.settled()
        again = await running.restarted()
        sweeping = asyncio.create_task(again.commands.run())
        async with asyncio.timeout(2):
            while (await again.sessions.get(session.id)).room_status is not RoomStatus.TERMINATED:
                await asyncio.sleep(0.01)
        sweeping.cancel()


async def test_a_sweep_that_the_store_refuses_is_tried_again() -> None:
    async with assembly() as running:
        session = await ready(running)
        running.fake_rooms.down = True
        await running.sessions.terminate(session.id)
        await running.settled()
        again = await running.restarted()
        again.fake_rooms.down = False
        again.store.down = True
        with capture_logs() as logged:
            sweeping = asyncio.create_task(again.commands.run())
            await asyncio.sleep(0.05)
            again.store.down = False
            async with asyncio.timeout(2):
                while (await again.sessions.get(session.id)).room_status is not RoomStatus.TERMINATED:
                    await asyncio.sleep(0.01)
            sweeping.cancel()
        assert [line["event"] for line in logged if line["log_level"] == "warning"] == [
            "command_sweep_failed"
        ]


# --- fencing ---


async def test_what_another_instance_claimed_is_not_finished_by_the_first() -> None:
    async with assembly() as running:
        session = await ready(running)
        row = await with_command(running, session, DeleteRoom(room_name=session.room_name))
        running.clock.advance(11.0)  # the lease lapses while the first is slow
        (claimed,) = await running.store.claim_commands(10)
        assert claimed.fence == row.fence + 1
        version = (await running.sessions.get(session.id)).version
        running.commands.submit((row,))
        after = await running.now(session.id)
        assert after.version == version  # fenced: nothing was committed
        assert await left_rows(running) == [claimed.command]


async def test_a_fenced_creation_is_finished_by_the_one_that_claimed_it() -> None:
    async with assembly() as running:
        running.store.fail_commits = frozenset({2})
        created = await running.sessions.create(ALONE)
        await running.settled()
        running.clock.advance(11.0)
        first = tuple(await running.store.claim_commands(10))
        running.clock.advance(11.0)
        second = tuple(await running.store.claim_commands(10))
        running.commands.submit(first + second)
        session = await running.now(created.session.id)
        assert session.room_status is RoomStatus.READY
        assert len(await running.fake_rooms.list_rooms()) == 1


# --- the state is looked at again ---


@pytest.mark.parametrize("is_ending", [True, False])
async def test_a_creation_that_nobody_needs_any_more_is_dropped(is_ending: bool) -> None:
    async with assembly() as running:
        session = await ready(running)
        if is_ending:
            await running.sessions.terminate(session.id)
            session = await running.now(session.id)
        rooms = await running.fake_rooms.list_rooms()
        running.commands.submit(
            (await with_command(running, session, CreateRoom(room_name=session.room_name)),)
        )
        await running.settled()
        assert await running.fake_rooms.list_rooms() == rooms
        assert await left_rows(running) == []


async def test_a_strangers_room_under_our_name_ends_the_session_and_stays() -> None:
    async with assembly() as running:
        session = await ready(running)
        running.fake_rooms.lose_room(session.room_name)
        running.fake_rooms.add_foreign_room(session.room_name)
        await running.sessions.apply(session.id, RoomLost(sid=session.room_sid))
        after = await running.now(session.id)
        assert after.room_status is RoomStatus.TERMINATED
        assert [room.name for room in await running.fake_rooms.list_rooms()] == [session.room_name]


async def test_a_command_of_a_session_that_is_not_there_ends() -> None:
    async with assembly() as running:
        row = CommandRow(id=1, session_id=SessionId("nobody"), command=DeleteRoom(room_name="x"), fence=1)
        running.commands.submit((row,))
        await running.settled()
        assert running.fake_rooms.calls == []


# --- LiveKit fails ---


async def test_a_room_made_by_a_call_that_timed_out_is_found_by_the_next_try() -> None:
    async with assembly() as running:
        session = await ready(running)
        running.fake_rooms.lose_room(session.room_name)
        running.fake_rooms.done_but_timed_out = True
        await running.sessions.apply(session.id, RoomLost(sid=session.room_sid))
        assert (await running.now(session.id)).room_sid is None
        running.fake_rooms.done_but_timed_out = False
        after = await running.after(0.3, session.id)
        assert [room.sid for room in await running.fake_rooms.list_rooms()] == [after.room_sid]


async def test_a_failing_command_rests_longer_each_time_and_is_logged_seldom() -> None:
    async with assembly() as running:
        failures: list[str] = []
        running.commands.on_failure = failures.append
        session = await ready(running)
        running.fake_rooms.down = True
        with capture_logs() as logged:
            await running.sessions.terminate(session.id)
            await running.settled()
            for pause_s in (0.2, 0.5, 1.0, 2.0, 5.0, 5.0):
                tries = len(failures)
                await running.after(pause_s * 0.7, session.id)
                assert len(failures) == tries, "it rests"
                await running.after(pause_s * 0.35, session.id)
                assert len(failures) == tries + 1, "it is tried again"
        assert set(failures) == {"DeleteRoom"}
        postponed = [line["tries"] for line in logged if line["event"] == "command_postponed"]
        assert postponed == [1, 6]


async def test_nobody_is_put_out_of_a_room_that_is_over() -> None:
    async with assembly() as running:
        session = await ready(running)
        await running.sessions.terminate(session.id)
        session = await running.now(session.id)
        calls = list(running.fake_rooms.calls)
        command = RemoveParticipant(room_name=session.room_name, identity="x", reason="old attempt")
        running.commands.submit((await with_command(running, session, command),))
        await running.settled()
        assert running.fake_rooms.calls == calls
        assert await left_rows(running) == []


# --- the store fails ---


async def test_a_result_that_is_not_committed_is_tried_again() -> None:
    async with assembly() as running:
        session = await ready(running)
        running.store.fail_commits = frozenset({running.store.commits + 2})
        await running.sessions.terminate(session.id)
        assert (await running.now(session.id)).room_status is RoomStatus.TERMINATING
        after = await running.after(0.3, session.id)
        assert after.room_status is RoomStatus.TERMINATED


async def test_a_commit_whose_answer_was_lost_is_found_by_the_next() -> None:
    async with assembly() as running:
        session = await ready(running)
        running.store.done_but_failed = True
        with pytest.raises(StoreError):
            await running.sessions.terminate(session.id)
        after = await running.sessions.terminate(session.id)  # reloads, and finds it ending
        assert after.room_status is RoomStatus.TERMINATING
        # Its commands were never handed on: their lease lapses.
        ended = await running.after(11.0, session.id)
        assert ended.room_status is RoomStatus.TERMINATED


async def test_a_row_that_cannot_even_be_postponed_is_left_to_its_lease() -> None:
    async with assembly() as running:
        session = await ready(running)
        row = await with_command(running, session, CreateRoom(room_name=session.room_name))
        running.store.down = True
        with capture_logs() as logged:
            running.commands.submit((row,))
            await running.settled()
        assert "command_not_postponed" in [line["event"] for line in logged]
        running.store.down = False
        await running.after(5.0, session.id)
        assert running.commands.running == 0
        await running.after(6.0, session.id)  # the lease lapsed
        assert await left_rows(running) == []


# --- workers ---


async def with_accepted_job(running: Assembly) -> Session:
    """Have a session whose push worker took its job."""
    await running.add_push_worker("asr")
    session = await ready(running, ASR)
    assert session.jobs[0].state is JobState.ACCEPTED
    return session


async def test_an_answered_leave_is_the_end_of_the_job() -> None:
    async with assembly() as running:
        session = await with_accepted_job(running)
        await running.sessions.terminate(session.id)
        ended = await running.now(session.id)
        assert [(r.session_id, r.room_name) for _, r in running.caller.leaves] == [
            (session.id, session.room_name)
        ]
        assert ended.jobs[0].state is JobState.DONE
        assert ended.room_status is RoomStatus.TERMINATED


async def test_a_leave_of_an_attempt_that_is_over_ends_nothing_else() -> None:
    async with assembly() as running:
        session = await with_accepted_job(running)
        old = LeaveJob(
            job_id=JobId(session.jobs[0].job_id),
            attempt=0,
            worker_id=WorkerId("asr"),
            room_name=session.room_name,
            reason="late",
        )
        running.commands.submit((await with_command(running, session, old),))
        after = await running.now(session.id)
        assert after.jobs[0].state is JobState.ACCEPTED
        assert await left_rows(running) == []


async def test_a_leave_for_a_worker_that_is_gone_is_done() -> None:
    async with assembly() as running:
        session = await with_accepted_job(running)
        await running.registry.unregister(WorkerId("asr"))
        await running.sessions.terminate(session.id)
        assert (await running.now(session.id)).room_status is RoomStatus.TERMINATED
        assert running.caller.leaves == []


# --- the runner itself ---


async def test_only_so_many_run_side_by_side() -> None:
    async with assembly() as running:
        session = await ready(running)
        command = RemoveParticipant(room_name=session.room_name, identity="x", reason="old attempt")
        running.fake_rooms.add_participant(session.room_name, "x", session_id="another")
        row = await with_command(running, session, command)
        most = 0
        gate = asyncio.Event()

        async def slow(name: object, identity: object) -> None:
            nonlocal most
            most += 1
            await gate.wait()

        running.fake_rooms.remove_participant = slow  # type: ignore[method-assign]
        running.commands.submit((row,) * 100)
        for _ in range(10):
            await asyncio.sleep(0)
        assert (most, running.commands.running) == (64, 100)
        gate.set()
        await running.settled()
        assert most == 100


async def test_closing_waits_shortly_for_what_runs() -> None:
    async with assembly() as running:
        session = await ready(running)
        await running.sessions.terminate(session.id)
        assert running.commands.running == 1
        await running.commands.close()
        assert (await running.sessions.get(session.id)).room_status is RoomStatus.TERMINATED
