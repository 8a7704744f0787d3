"""Jobs reach workers: pushed, pulled, refused, silent, dead, back; only the newest attempt counts."""

from __future__ import annotations

from orchestrator.core.ids import WorkerId
from orchestrator.core.jobs import JobState
from orchestrator.core.session import Session
from orchestrator.core.states import RoomStatus
from orchestrator.service.new_session import NewSession
from sdk.wire import Accept, Assign, HeldJob, Hello, Leave, Offer, Refuse, Report, Stale, Welcome
from tests.fakes.assembly import Assembly, assembly
from tests.fakes.workers import NO, UNKNOWN, FakeLine

ASR = NewSession(user_identity="anna", required_services=("asr",))


async def hello(running: Assembly, worker_id: str = "w1", **fields: object) -> FakeLine:
    """Connect a pull worker of `asr`."""
    line = FakeLine()
    frame = Hello(service_id="asr", worker_id=worker_id, **fields)  # type: ignore[arg-type]
    await running.pull.welcome(line, frame)
    await running.settled()
    return line


async def say(
    running: Assembly, line: FakeLine, frame: Accept | Refuse | Report, worker_id: str = "w1"
) -> None:
    """Have a worker send a frame."""
    await running.pull.frame(running.registry.get(WorkerId(worker_id)), line, frame)
    await running.settled()


async def in_the_room(running: Assembly, session: Session) -> Session:
    """LiveKit lists the worker of the session's current attempt."""
    (job,) = session.jobs
    running.fake_rooms.add_participant(
        session.room_name, job.identity, service_id=job.service_id, attempt=job.attempt
    )
    await running.reconciler.look(session.id)
    return await running.now(session.id)


async def test_a_push_worker_is_called_and_its_presence_makes_the_session_ready() -> None:
    async with assembly() as running:
        await running.add_push_worker("asr")
        created = await running.sessions.create(ASR)
        session = await running.now(created.session.id)
        (_, request) = running.caller.joins[0]
        assert request.service_identity == "asr"
        assert request.access_token
        assert session.jobs[0].state is JobState.ACCEPTED
        session = await in_the_room(running, session)
        assert session.room_status is RoomStatus.READY


async def test_a_worker_that_registers_later_gets_the_waiting_job() -> None:
    async with assembly() as running:
        created = await running.sessions.create(ASR)
        assert (await running.now(created.session.id)).jobs[0].state is JobState.PENDING
        await running.add_push_worker("asr")
        assert (await running.now(created.session.id)).jobs[0].state is JobState.ACCEPTED


async def test_a_worker_that_answers_500_twice_is_asked_again() -> None:
    async with assembly() as running:
        running.caller.answers = [NO, NO]
        await running.add_push_worker("asr")
        created = await running.sessions.create(ASR)
        await running.now(created.session.id)
        await running.after(0.6, created.session.id)
        session = await running.after(1.1, created.session.id)
        assert [request.attempt for _, request in running.caller.joins] == [1, 2, 3]
        assert session.jobs[0].state is JobState.ACCEPTED
        assert session.jobs[0].identity == "asr#3"


async def test_a_slow_push_worker_is_not_asked_twice_while_it_may_be_joining() -> None:
    async with assembly() as running:
        running.caller.answers = [UNKNOWN]
        await running.add_push_worker("asr")
        created = await running.sessions.create(ASR)
        await running.now(created.session.id)
        session = await running.after(20.0, created.session.id)
        assert len(running.caller.joins) == 1
        session = await in_the_room(running, session)
        assert session.jobs[0].state is JobState.JOINED
        await running.after(20.0, created.session.id)
        assert len(running.caller.joins) == 1


async def test_silence_until_the_retry_interval_is_a_new_attempt() -> None:
    async with assembly() as running:
        running.caller.answers = [UNKNOWN]
        await running.add_push_worker("asr")
        created = await running.sessions.create(ASR)
        await running.now(created.session.id)
        await running.after(31.0, created.session.id)
        session = await running.after(1.0, created.session.id)
        assert session.jobs[0].attempt == 2


async def test_a_refusal_goes_to_the_next_worker_at_once() -> None:
    async with assembly() as running:
        running.caller.answers = [NO]
        await running.add_push_worker("asr", "asr-1")
        await running.add_push_worker("asr", "asr-2")
        created = await running.sessions.create(ASR)
        session = await running.now(created.session.id)
        assert [request.attempt for _, request in running.caller.joins] == [1, 2]
        assert {endpoint for endpoint, _ in running.caller.joins} == {
            "http://127.0.0.1:9/asr-1",
            "http://127.0.0.1:9/asr-2",
        }
        assert session.jobs[0].state is JobState.ACCEPTED


async def test_the_least_loaded_worker_is_asked_and_capacity_is_kept() -> None:
    async with assembly() as running:
        await running.add_push_worker("asr", "asr-1", capacity=1)
        await running.add_push_worker("asr", "asr-2", capacity=1)
        sessions = [(await running.sessions.create(ASR)).session.id for _ in range(3)]
        states = [(await running.now(session_id)).jobs[0] for session_id in sessions]
        assert [job.state for job in states].count(JobState.ACCEPTED) == 2
        assert states[0].worker_id != states[1].worker_id
        assert states[2].state is JobState.PENDING
        await running.sessions.terminate(sessions[0])
        await running.settled()
        assert (await running.now(sessions[2])).jobs[0].state is JobState.ACCEPTED


async def test_a_pull_worker_takes_an_offer_and_is_assigned() -> None:
    async with assembly() as running:
        line = await hello(running)
        created = await running.sessions.create(ASR)
        await running.settled()
        offer = line.last(Offer)
        assert (offer.session_id, offer.attempt) == (created.session.id, 1)
        await say(running, line, Accept(job_id=offer.job_id, attempt=1))
        assign = line.last(Assign)
        assert assign.access_token
        assert assign.access_token not in repr(assign)
        session = await in_the_room(running, await running.now(created.session.id))
        assert session.room_status is RoomStatus.READY
        await running.sessions.terminate(session.id)
        await running.settled()
        assert line.last(Leave).job_id == offer.job_id
        await say(running, line, Report(job_id=offer.job_id, attempt=1, state="done"))
        assert (await running.now(session.id)).room_status is RoomStatus.TERMINATED


async def test_an_offer_that_nobody_answers_goes_to_another() -> None:
    async with assembly() as running:
        silent = await hello(running, "w1")
        created = await running.sessions.create(ASR)
        await running.settled()
        other = await hello(running, "w2")
        await running.after(5.1, created.session.id)
        assert silent.last(Stale).attempt == 1
        assert other.last(Offer).attempt == 2
        # The silent one wakes up: its word is refused.
        await say(running, silent, Accept(job_id=other.last(Offer).job_id, attempt=1))
        assert silent.count(Stale) == 2
        assert silent.count(Assign) == 0


async def test_manual_ready_waits_for_the_workers_word() -> None:
    async with assembly() as running:
        line = await hello(running)
        created = await running.sessions.create(ASR)
        await running.settled()
        offer = line.last(Offer)
        await say(running, line, Accept(job_id=offer.job_id, attempt=1, manual_ready=True))
        session = await in_the_room(running, await running.now(created.session.id))
        assert session.room_status is RoomStatus.WAITING
        await say(running, line, Report(job_id=offer.job_id, attempt=1, state="ready"))
        assert (await running.now(session.id)).room_status is RoomStatus.READY


async def test_a_worker_that_comes_back_keeps_its_job() -> None:
    async with assembly() as running:
        line = await hello(running)
        created = await running.sessions.create(ASR)
        await running.settled()
        offer = line.last(Offer)
        await say(running, line, Accept(job_id=offer.job_id, attempt=1))
        held = HeldJob(job_id=offer.job_id, attempt=1)
        gone = HeldJob(job_id=f"{created.session.id}-9", attempt=1)
        again = await hello(running, resuming=[held, gone])
        assert again.last(Welcome).resumed == [held]
        assert again.last(Stale).job_id == gone.job_id
        assert again.count(Assign) == 1  # it may have missed the first
        assert (await running.now(created.session.id)).jobs[0].attempt == 1


async def test_a_worker_that_comes_back_without_its_job_loses_it() -> None:
    async with assembly() as running:
        line = await hello(running)
        created = await running.sessions.create(ASR)
        await running.settled()
        await say(running, line, Accept(job_id=line.last(Offer).job_id, attempt=1))
        again = await hello(running)
        await running.after(0.6, created.session.id)
        assert again.last(Offer).attempt == 2


async def test_a_dead_push_worker_loses_its_jobs_to_another() -> None:
    async with assembly() as running:
        await running.add_push_worker("asr", "asr-1")
        created = await running.sessions.create(ASR)
        session = await in_the_room(running, await running.now(created.session.id))
        await running.add_push_worker("asr", "asr-2")
        running.caller.healthy = {"http://127.0.0.1:9/asr-2"}
        for _ in range(3):
            running.clock.advance(2.1)
            for worker in running.registry.all():
                await running.liveness.check(worker)
        session = await running.now(session.id)
        assert session.jobs[0].attempt == 2
        assert session.jobs[0].worker_id == "asr-2"
        assert session.degraded
        session = await in_the_room(running, session)
        assert not session.degraded
        # The old attempt is put out of the room now that its successor is there.
        assert [p.attempt for p in await running.fake_rooms.list_participants(session.room_name)] == [2]


async def test_an_old_attempt_that_comes_late_is_put_out() -> None:
    async with assembly() as running:
        running.caller.answers = [NO]
        await running.add_push_worker("asr", "asr-1")
        await running.add_push_worker("asr", "asr-2")
        created = await running.sessions.create(ASR)
        session = await running.now(created.session.id)
        running.fake_rooms.add_participant(session.room_name, "asr", service_id="asr", attempt=1)
        await running.reconciler.look(session.id)
        session = await running.now(session.id)
        assert session.jobs[0].state is JobState.ACCEPTED
        assert await running.fake_rooms.list_participants(session.room_name) == []
