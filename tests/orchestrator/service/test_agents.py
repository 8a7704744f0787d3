"""Dispatches of agents over a LiveKit that fails, forgets, and says late who came by which."""

from __future__ import annotations

import json

import pytest

from orchestrator.core.commands import DispatchAgent
from orchestrator.core.jobs import Job, JobState
from orchestrator.core.session import Session
from orchestrator.core.states import RoomStatus
from orchestrator.service.new_session import NewSession
from tests.fakes.assembly import Assembly, assembly

ECHO = NewSession(user_identity="anna", required_services=("agent:echo",), metadata={"case": "7"})


async def created(running: Assembly) -> Session:
    """Create a session that wants the agent, and let what follows come to rest."""
    return await running.now((await running.sessions.create(ECHO)).session.id)


async def looked(running: Assembly, session: Session) -> Session:
    """Have LiveKit's list looked at."""
    await running.reconciler.look(session.id)
    return await running.now(session.id)


def attempts(running: Assembly, session: Session) -> list[int]:
    """Give the attempts whose dispatches are in the room."""
    return [dispatch.attempt for dispatch in running.fake_rooms.dispatched(session.room_name)]


def job(session: Session) -> Job:
    return session.jobs[0]


async def test_a_session_gets_its_agent() -> None:
    async with assembly() as running:
        running.fake_rooms.agents.add("echo")
        session = await created(running)
        assert job(session).state is JobState.ACCEPTED
        session = await looked(running, session)
        assert session.room_status is RoomStatus.READY
        assert attempts(running, session) == [1]


async def test_an_agent_that_comes_late_gets_the_dispatch_that_is_made_again() -> None:
    async with assembly() as running:
        session = await created(running)
        waiting = running.dispatch.why_waiting(session, job(session))
        assert waiting is not None
        assert "none has joined" in waiting.message
        running.fake_rooms.agents.add("echo")
        assert (await looked(running, session)).missing_services == ("agent:echo",)  # LiveKit repeats nothing
        session = await running.after(31, session.id)
        assert attempts(running, session) == [2]  # the old one was deleted
        session = await looked(running, session)
        assert session.missing_services == ()
        assert running.dispatch.why_waiting(session, job(session)) is None


async def test_what_the_agent_is_told() -> None:
    async with assembly() as running:
        session = await created(running)
        told = [json.loads(metadata) for metadata in running.fake_rooms.told]
    expected = {"session_id": session.id, "job_id": job(session).job_id, "attempt": 1}
    assert told == [{**expected, "metadata": {"case": "7"}}]


async def test_a_dispatch_whose_answer_was_lost_is_not_made_twice() -> None:
    async with assembly() as running:
        running.fake_rooms.agents.add("echo")
        running.fake_rooms.lose_next = "create_dispatch"
        session = await created(running)
        assert job(session).state is JobState.OFFERED
        session = await running.after(1.0, session.id)
        assert job(session).state is JobState.ACCEPTED
        assert attempts(running, session) == [1]


@pytest.mark.parametrize("call", ["list_dispatches", "create_dispatch"])
async def test_a_crash_before_or_after_the_dispatch_leaves_the_rest_to_the_next_start(call: str) -> None:
    async with assembly() as running:
        running.fake_rooms.agents.add("echo")
        running.fake_rooms.lose_next = call
        session = await created(running)
        assert job(session).state is JobState.OFFERED
        again = await running.restarted()
        again.commands.submit(tuple(await again.store.claim_commands(100, all_orphaned=True)))
        session = await looked(again, await again.now(session.id))
        assert session.missing_services == ()
        assert attempts(again, session) == [1]


async def test_a_dispatch_of_an_attempt_that_is_over_is_not_made() -> None:
    async with assembly() as running:
        session = await created(running)
        running.fake_rooms.down = True
        session = await running.after(31, session.id)  # attempt 2 is asked for, LiveKit is down
        session = await running.after(31, session.id)
        assert job(session).attempt == 3
        running.fake_rooms.down = False
        running.fake_rooms.agents.add("echo")
        session = await running.after(8, session.id)
        assert attempts(running, session) == [3]
        rows = await running.store.claim_commands(100, all_orphaned=True)
        assert [row.command for row in rows if isinstance(row.command, DispatchAgent)] == []


async def test_an_agent_of_an_old_dispatch_is_found_out_by_livekits_list() -> None:
    async with assembly() as running:
        running.fake_rooms.agents.add("echo")
        session = await created(running)
        room = session.room_name
        session = await looked(running, session)
        (known,) = session.participants.values()
        assert known.is_assumed
        running.fake_rooms.says_who_came = True
        session = await looked(running, session)
        (known,) = session.participants.values()
        assert (known.is_assumed, known.attempt) == (False, 1)
        running.fake_rooms.calls.clear()
        await looked(running, session)
        assert "list_dispatches" not in running.fake_rooms.calls  # known once, not asked again
        stray = running.fake_rooms.add_agent(room, "echo")
        session = await looked(running, session)
        assert stray.sid not in session.participants
        listed = [p.identity for p in await running.fake_rooms.list_participants(room)]
        assert listed == [known.identity]


async def test_a_lost_room_gets_a_new_dispatch_with_the_new_room() -> None:
    async with assembly() as running:
        running.fake_rooms.agents.add("echo")
        session = await looked(running, await created(running))
        running.fake_rooms.lose_room(session.room_name)
        await running.reconciler.compare_rooms()
        session = await looked(running, await running.now(session.id))
        assert session.missing_services == ()
        assert attempts(running, session) == [2]


async def test_the_end_deletes_the_dispatch_and_then_the_room() -> None:
    async with assembly() as running:
        running.fake_rooms.agents.add("echo")
        session = await looked(running, await created(running))
        running.fake_rooms.calls.clear()
        await running.sessions.terminate(session.id)
        session = await running.now(session.id)
        assert session.room_status is RoomStatus.TERMINATED
        assert job(session).state is JobState.DONE
        calls = running.fake_rooms.calls
        assert calls.index("delete_dispatch") < calls.index("delete_room")
        assert await running.store.claim_commands(100, all_orphaned=True) == []


async def test_a_livekit_that_is_down_holds_no_ending_up() -> None:
    async with assembly() as running:
        running.fake_rooms.agents.add("echo")
        session = await looked(running, await created(running))
        running.fake_rooms.down = True
        await running.sessions.terminate(session.id)
        session = await running.after(31, session.id)
        assert session.room_status is RoomStatus.TERMINATED
        running.fake_rooms.down = False
        await running.after(10, session.id)
        await running.after(10, session.id)
        assert await running.fake_rooms.list_rooms() == []
        assert await running.store.claim_commands(100, all_orphaned=True) == []


async def test_a_pull_worker_that_is_unknown_after_a_start_has_nothing_to_do_with_agents() -> None:
    async with assembly() as running:
        running.fake_rooms.agents.add("echo")
        session = await looked(running, await created(running))
        again = await running.restarted()
        await again.pull._take_back()
        session = await again.now(session.id)
        assert (job(session).state, job(session).attempt) == (JobState.JOINED, 1)
