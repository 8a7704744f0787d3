"""A worker that fails again and again is left alone, asked once, and trusted again when it joins."""

from __future__ import annotations

from orchestrator.core.ids import WorkerId
from orchestrator.core.jobs import JobState
from orchestrator.core.session import Session
from orchestrator.core.waiting import WaitReason
from orchestrator.ports import CallOutcome
from orchestrator.service.new_session import NewSession
from orchestrator.service.registry import Worker
from sdk.wire import Accept, Offer, Refuse
from tests.fakes.assembly import Assembly, assembly
from tests.fakes.pull_worker import hello
from tests.fakes.workers import NO

ASR = NewSession(user_identity="anna", required_services=("asr",))


async def sessions(running: Assembly, count: int) -> list[Session]:
    made = [(await running.sessions.create(ASR)).session.id for _ in range(count)]
    return [await running.now(session_id) for session_id in made]


async def in_the_room(running: Assembly, session: Session) -> None:
    """LiveKit lists the worker of the session's current attempt."""
    (job,) = session.jobs
    running.fake_rooms.add_participant(
        session.room_name, job.identity, service_id=job.service_id, attempt=job.attempt
    )
    await running.reconciler.look(session.id)
    await running.settled()


def only_worker(running: Assembly) -> Worker:
    (worker,) = running.registry.all()
    return worker


async def opened(running: Assembly) -> list[Session]:
    """A push worker that said no three times: three sessions wait."""
    running.caller.answers = [NO] * 3
    await running.add_push_worker("asr")
    return await sessions(running, 3)


async def test_three_refusals_in_a_row_and_nobody_asks_it_any_more() -> None:
    async with assembly() as running:
        await opened(running)
        assert running.registry.breaker_state(only_worker(running)) == "open"
        (late,) = await sessions(running, 1)
        assert len(running.caller.joins) == 3
        waiting = running.dispatch.why_waiting(late, late.jobs[0])
        assert waiting is not None
        assert waiting.reason is WaitReason.RESTING


async def test_after_the_rest_one_is_asked_and_its_success_lets_all_through() -> None:
    async with assembly() as running:
        waiting = await opened(running)
        running.clock.advance(1.1)
        running.dispatch.wake(waiting[0].jobs[0].service_id)
        running.dispatch.wake(waiting[0].jobs[0].service_id)
        await running.deadlines.sweep()  # the pauses of these jobs are over too
        await running.settled()
        assert len(running.caller.joins) == 4, "one probe"
        asked = [s for s in [await running.now(s.id) for s in waiting] if s.jobs[0].worker_id]
        assert len(asked) == 1
        await in_the_room(running, asked[0])
        assert running.registry.breaker_state(only_worker(running)) == "closed"
        for session in waiting:
            assert (await running.now(session.id)).jobs[0].worker_id == "asr"


async def test_the_probe_that_fails_doubles_the_rest() -> None:
    async with assembly() as running:
        waiting = await opened(running)
        running.caller.answers = [NO]
        await running.after(1.1, waiting[0].id)
        worker = only_worker(running)
        assert running.registry.breaker_state(worker) == "open"
        assert worker.breaker.rests_s(running.clock.monotonic()) == 2.0
        assert len(running.caller.joins) == 4


async def test_a_probe_whose_session_ends_makes_way_for_another() -> None:
    async with assembly() as running:
        waiting = await opened(running)
        await running.after(1.1, waiting[0].id)
        (asked,) = [s for s in [await running.now(s.id) for s in waiting] if s.jobs[0].worker_id]
        await running.sessions.terminate(asked.id)
        await running.settled()
        assert len(running.caller.joins) == 5


async def test_retry_after_holds_for_every_job_of_the_worker() -> None:
    async with assembly() as running:
        busy = CallOutcome(answer="no", detail="503", retry_after_s=20.0)
        running.caller.answers = [busy]
        await running.add_push_worker("asr")
        first, second = await sessions(running, 2)
        assert len(running.caller.joins) == 1
        await running.after(19.0, first.id)
        assert len(running.caller.joins) == 1
        running.clock.advance(1.1)
        await running.deadlines.sweep()
        running.dispatch.wake(first.jobs[0].service_id)
        await running.settled()
        assert len(running.caller.joins) == 2
        assert second.jobs[0].state is JobState.PENDING


async def test_a_leave_that_fails_is_no_failure_of_the_worker() -> None:
    async with assembly() as running:
        await running.add_push_worker("asr")

        async def refuse(*_: object) -> CallOutcome:
            return NO

        running.caller.leave_room = refuse  # type: ignore[method-assign, assignment]
        for session in await sessions(running, 4):
            await in_the_room(running, session)
            await running.sessions.terminate(session.id)
            await running.settled()
        assert only_worker(running).breaker.failures == 0


async def test_silence_and_loss_before_joining_count_and_loss_after_it_does_not() -> None:
    async with assembly() as running:
        pulled = await hello(running, capacity=None)
        silent, taken, joined = await sessions(running, 3)
        for session in (taken, joined):
            await pulled.say(Accept(job_id=session.jobs[0].job_id, attempt=1))
        await in_the_room(running, await running.now(joined.id))
        await running.after(5.1, silent.id)
        assert pulled.worker.breaker.failures == 1
        await running.dispatch.lose_jobs(WorkerId("w1"), "gone")
        await running.settled()
        assert pulled.worker.breaker.failures == 2


async def test_who_registers_anew_is_tried_at_once_and_only_once() -> None:
    async with assembly() as running:
        pulled = await hello(running, capacity=None)
        waiting = await sessions(running, 3)
        for session in waiting:
            await pulled.say(Refuse(job_id=session.jobs[0].job_id, attempt=1, reason="not healthy"))
        assert running.registry.breaker_state(pulled.worker) == "open"
        running.clock.advance(0.6)
        await running.deadlines.sweep()
        again = await hello(running, capacity=None)
        assert again.line.count(Offer) == 1
