"""The queue: the important first, then the old; and who cannot be served holds up nobody behind them."""

from __future__ import annotations

from orchestrator.core.ids import ServiceId
from orchestrator.core.jobs import JobState
from orchestrator.core.waiting import WaitReason
from orchestrator.core.workers import JOINING_LIMIT
from orchestrator.service.new_session import NewSession, ServiceOptions
from tests.fakes.assembly import Assembly, assembly
from tests.fakes.workers import NO

ASR = ServiceId("asr")


def asking(priority: int = 0, **capabilities: str) -> NewSession:
    options = ServiceOptions(priority=priority, capabilities=capabilities)
    return NewSession(user_identity="anna", required_services=(), services={"asr": options})


async def create(running: Assembly, request: NewSession) -> str:
    running.clock.advance(0.01)
    return (await running.now((await running.sessions.create(request)).session.id)).id


def called(running: Assembly) -> list[str]:
    return [request.session_id for _, request in running.caller.joins]


async def test_a_freed_place_goes_to_the_most_important_then_to_the_oldest() -> None:
    async with assembly() as running:
        first = await create(running, asking())
        second = await create(running, asking())
        third = await create(running, asking(priority=5))
        unimportant = await create(running, asking(priority=-1))
        await running.add_push_worker("asr", capacity=1)
        await running.settled()
        for done in (third, first, second):
            await running.sessions.terminate((await running.now(done)).id)
            await running.settled()
        assert called(running) == [third, first, second, unimportant]


async def test_jobs_that_nobody_matches_hold_up_nobody() -> None:
    async with assembly() as running:
        for _ in range(3):
            await create(running, asking(priority=9, lang="tlh"))
        plain = await create(running, asking())
        german = await create(running, asking(lang="de"))
        await running.add_push_worker("asr", capabilities={"lang": "de"})
        await running.settled()
        assert called(running) == [plain, german]
        assert running.dispatch.queued == 3


async def test_one_that_was_refused_lets_those_behind_it_pass() -> None:
    async with assembly() as running:
        running.caller.answers = [NO]
        refused = await create(running, asking(priority=9))
        await running.add_push_worker("asr", capacity=1)
        await running.settled()
        other = await create(running, asking())
        assert called(running) == [refused, other]
        assert (await running.now(refused)).jobs[0].state is JobState.PENDING


async def test_a_worker_joins_a_bounded_number_of_rooms_at_once_and_the_next_when_one_is_joined() -> None:
    async with assembly() as running:
        waiting = [await create(running, asking()) for _ in range(JOINING_LIMIT + 2)]
        await running.add_push_worker("asr", capacity=50)
        await running.settled()
        assert called(running) == waiting[:JOINING_LIMIT]
        late = await running.now(waiting[-1])
        reason = running.dispatch.why_waiting(late, late.jobs[0])
        assert reason is not None
        assert reason.reason is WaitReason.JOINING
        first = await running.now(waiting[0])
        running.fake_rooms.add_participant(first.room_name, "asr", service_id="asr", attempt=1)
        await running.reconciler.look(first.id)
        await running.settled()
        assert called(running) == waiting[: JOINING_LIMIT + 1]


async def test_waking_a_service_looks_at_nobody_else_and_stops_when_all_are_full() -> None:
    async with assembly() as running:
        for _ in range(50):
            await create(running, asking())
        await create(running, NewSession(user_identity="anna", required_services=("tts",)))
        looks = 0
        choose = running.dispatch._choose

        def counted(*arguments: object) -> object:
            nonlocal looks
            looks += 1
            return choose(*arguments)  # type: ignore[arg-type]

        await running.add_push_worker("asr", capacity=2)
        await running.settled()
        running.dispatch._choose = counted  # type: ignore[method-assign, assignment]
        running.dispatch.wake(ASR)
        assert looks == 1
