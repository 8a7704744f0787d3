"""After a commit that failed and was written all the same, the store counts, not what memory has."""

from __future__ import annotations

import pytest

from orchestrator.core.errors import StoreError
from orchestrator.core.session import Session
from orchestrator.core.states import RoomStatus
from orchestrator.core.step import step
from orchestrator.core.triggers import JobLost, TerminateAsked
from orchestrator.ports import Change
from orchestrator.service.new_session import NewSession
from tests.fakes.assembly import Assembly, assembly
from tests.fakes.pull_worker import hello

ALONE = NewSession(user_identity="anna", required_services=())


async def ready(running: Assembly, request: NewSession = ALONE) -> Session:
    return await running.now((await running.sessions.create(request)).session.id)


async def ended_unseen(running: Assembly) -> Session:
    """End a session by a commit whose answer is lost."""
    session = await ready(running)
    running.store.done_but_failed = True
    with pytest.raises(StoreError):
        await running.sessions.apply(session.id, TerminateAsked())
    return session


async def test_what_was_written_unseen_is_what_callers_see_next() -> None:
    async with assembly() as running:
        session = await ended_unseen(running)
        assert (await running.sessions.get(session.id)).room_status is RoomStatus.TERMINATING


async def test_a_deadline_that_was_armed_unseen_fires() -> None:
    async with assembly() as running:
        session = await ended_unseen(running)
        assert (await running.after(31.0, session.id)).is_over


async def test_the_sweep_loads_it_though_nobody_asks_for_it() -> None:
    async with assembly() as running:
        session = await ended_unseen(running)
        await running.deadlines.sweep()
        found = running.sessions.live.get(session.id)
        assert found is not None
        assert found.room_status is RoomStatus.TERMINATING


async def test_a_record_that_was_behind_is_brought_up_to_date_and_not_forgotten() -> None:
    async with assembly() as running:
        session = await ready(running)
        theirs = step(session, TerminateAsked(), running.sessions.now())
        await running.store.commit(
            Change(session=theirs.session, events=theirs.events, commands=theirs.commands)
        )
        await running.sessions.apply(session.id, TerminateAsked())  # which is done already
        assert running.sessions.live.get(session.id) == theirs.session


async def test_a_worker_has_its_place_back_when_its_job_was_lost_unseen() -> None:
    async with assembly() as running:
        pulled = await hello(running, capacity=1)
        session = await ready(running, NewSession(user_identity="anna", required_services=("asr",)))
        job = session.jobs[0]
        assert job.job_id in pulled.worker.jobs
        running.store.done_but_failed = True
        with pytest.raises(StoreError):
            await running.sessions.apply(
                session.id, JobLost(job_id=job.job_id, attempt=job.attempt, detail="the worker is gone")
            )
        assert (await running.sessions.get(session.id)).jobs[0].worker_id is None
        assert job.job_id not in pulled.worker.jobs


async def test_a_session_that_was_created_unseen_is_known() -> None:
    async with assembly() as running:
        running.store.done_but_failed = True
        with pytest.raises(StoreError):
            await running.sessions.create(ALONE)
        await running.sessions.doubts.settle()
        assert [s.user_identity for s in running.sessions.live.all()] == ["anna"]


async def test_a_session_that_was_not_created_is_no_longer_looked_for() -> None:
    async with assembly() as running:
        running.store.fail_commits = frozenset({running.store.commits + 1})
        with pytest.raises(StoreError):
            await running.sessions.create(ALONE)
        await running.sessions.doubts.settle()
        running.store.down = True
        await running.sessions.doubts.settle()  # nothing is left to be asked
        assert running.sessions.live.all() == []
