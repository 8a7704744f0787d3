"""Deliveries: in order per session, none lost, and whoever fails delays nobody else."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest

from orchestrator.adapters.memory_webhooks import MemoryWebhooks
from orchestrator.core.errors import StoreError
from orchestrator.core.webhook_targets import MAX_HELD, DeadLetter, Progress, SendOutcome, TargetId
from orchestrator.service.courier import PAGE, SENDING
from tests.fakes.receivers import OK, REFUSED, SILENT, Got
from tests.orchestrator.service.webhook_stage import Stage, quick
from tests.orchestrator.web.world import until


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    quick(monkeypatch)
    made = Stage()
    for name in ("a", "b", "c"):
        await made.open_session(name)
    yield made
    await made.stop()


async def test_what_was_chosen_arrives_in_order_and_once(stage: Stage) -> None:
    await stage.say("a", 3)
    await stage.start()
    await stage.say("b", 2)
    await stage.say_of_none("asr")
    await stage.say("a")
    await stage.until_got("a", 5)
    await until(lambda: len(stage.sender.got) == 7)
    assert (stage.got("a"), stage.got("b"), stage.got(None)) == ([2, 3, 4, 5], [2, 3], [0])
    assert {got.body["type"] for got in stage.sender.got} == {"client_joined", "microservice_registered"}
    assert len({got.message_id for got in stage.sender.got}) == 7
    assert stage.outcomes == {"delivered": 7}


async def test_a_session_that_fails_waits_in_order_and_nobody_else_does(stage: Stage) -> None:
    stage.sender.answer = lambda got: REFUSED if got.session_id == "a" else OK
    courier = await stage.start()
    await stage.say("a", 2)
    await stage.say("b", 2)
    await stage.until_got("b", 3)
    await stage.say("a")
    await stage.say("c")
    await stage.until_got("c", 2)
    assert [got.number for got in stage.sender.tries if got.session_id == "a"] == [2]
    assert courier.held == 1
    stage.sender.answer = lambda got: OK
    stage.clock.advance(4)
    await stage.until_got("a", 4)
    assert stage.got("a") == [2, 3, 4]
    await until(lambda: courier.held == 0)
    await stage.say("a")
    await stage.until_got("a", 5)


async def test_what_is_passed_over_while_a_session_catches_up_is_not_forgotten(stage: Stage) -> None:
    stage.sender.answer = lambda got: REFUSED if got.session_id == "a" else OK
    courier = await stage.start()
    await stage.say("a")
    await stage.until_failed("a")
    stage.sender.answer = lambda got: OK
    stage.sender.hanging = asyncio.Event()
    stage.clock.advance(5)
    await until(lambda: len(stage.sender.tries) == 2)  # all that was said when it read the feed is under way
    gate, stage.sender.hanging = stage.sender.hanging, None
    await stage.say("a", 2)
    await stage.say("b")
    await stage.until_got("b", 2)  # the feed's reader is beyond them
    gate.set()
    await stage.until_got("a", 4)
    assert stage.got("a") == [2, 3, 4]
    await until(lambda: courier.held == 0)


async def test_a_repeat_has_the_same_id(stage: Stage) -> None:
    stage.sender.answer = lambda got: SILENT if len(stage.sender.tries) < 3 else OK
    await stage.start()
    await stage.say("a")
    for tries in (1, 2):
        await stage.until_failed("a", tries)
        stage.clock.advance(600)
    await stage.until_got("a", 2)
    assert len({got.message_id for got in stage.sender.tries}) == 1
    assert stage.outcomes == {"failed": 2, "delivered": 1}


async def test_pauses_grow_with_the_tries(stage: Stage) -> None:
    stage.sender.answer = lambda got: REFUSED
    courier = await stage.start()
    await stage.say("a")
    for tries, pause_s in enumerate((3.75, 7.5, 15.0), start=1):
        await stage.until_failed("a", tries)
        held = courier.progress.held["a"]
        assert held.due_at - stage.clock.now() == timedelta(seconds=pause_s)
        stage.clock.advance(pause_s)


async def test_a_receiver_that_hangs_gets_no_more_than_its_slots(stage: Stage) -> None:
    names = [f"s{number}" for number in range(30)]
    for name in names:
        await stage.open_session(name)
    stage.sender.hanging = asyncio.Event()
    courier = await stage.start()
    for name in names * 5:
        await stage.say(name)
    await until(lambda: len(stage.sender.tries) == SENDING)
    await asyncio.sleep(0.05)
    assert len(stage.sender.tries) == SENDING
    assert len(courier._unsettled) <= PAGE
    stage.sender.hanging.set()
    for name in names:
        await stage.until_got(name, 6)
        assert stage.got(name) == [2, 3, 4, 5, 6]


async def test_a_session_that_is_slow_delays_nobody_else(stage: Stage) -> None:
    gate = asyncio.Event()

    def answer(got: Got) -> SendOutcome:
        if got.session_id == "a":
            stage.clock.advance(3)
            stage.sender.hanging = gate  # the next delivery, its second, hangs
        return OK

    stage.sender.answer = answer
    await stage.say("a", 3)
    courier = await stage.start()
    await until(lambda: len(stage.sender.tries) == 2)
    stage.sender.hanging = None
    await stage.say("b", 2)
    await stage.until_got("b", 3)
    assert (stage.got("a"), courier.held) == ([2], 1)
    gate.set()
    await stage.until_got("a", 4)
    assert stage.got("a") == [2, 3, 4]
    await until(lambda: courier.held == 0)


async def test_a_clock_that_was_set_back_holds_nobody_for_longer_than_an_hour(stage: Stage) -> None:
    stage.sender.answer = lambda got: REFUSED
    await stage.start()
    await stage.say("a")
    await stage.until_failed("a")
    await stage.stop()
    stage.clock.wall -= timedelta(days=30)
    stage.sender.answer = lambda got: OK
    courier = await stage.start()
    await asyncio.sleep(0.02)
    assert (stage.got("a"), courier.held) == ([], 1)
    stage.clock.advance(3601)
    await stage.until_got("a", 2)


async def test_when_too_many_sessions_fail_the_cursor_stops_and_all_goes_on_later(stage: Stage) -> None:
    names = [f"s{number}" for number in range(MAX_HELD + SENDING + 30)]
    for name in names:
        await stage.open_session(name)
        await stage.say(name, 2)
    stage.sender.answer = lambda got: REFUSED
    courier = await stage.start()
    await until(lambda: courier.held >= MAX_HELD)
    await asyncio.sleep(0.05)
    assert MAX_HELD <= courier.held < MAX_HELD + SENDING
    tried = {got.session_id for got in stage.sender.tries}
    assert len(tried) == courier.held
    head = (await stage.store.feed_after(0, session_id=None, limit=1)).head_seq
    assert courier.progress.cursor < head
    stage.sender.answer = lambda got: OK
    courier.retry_now()
    for name in names:
        await stage.until_got(name, 3)
        assert stage.got(name) == [2, 3]


async def test_a_day_of_failures_makes_dead_letters_and_the_session_goes_on(stage: Stage) -> None:
    stage.sender.answer = lambda got: REFUSED if got.session_id == "a" and got.number < 4 else OK
    courier = await stage.start()
    await stage.say("a", 4)
    await stage.until_failed("a")
    stage.clock.advance(86399)
    await stage.until_failed("a", 2)
    assert await stage.letters() == ()
    stage.clock.advance(601)
    await stage.until_got("a", 5)
    letters = await stage.letters()
    assert [letter.message_id for letter in letters] == [got.message_id for got in (
        stage.sender.tries[0], stage.sender.tries[3]
    )]  # fmt: skip
    assert [letter.tries for letter in letters] == [3, 1]
    assert {letter.reason for letter in letters} == {REFUSED.reason}
    assert b'"number":2' in letters[0].body
    assert stage.got("a") == [4, 5]
    await until(lambda: courier.held == 0)
    assert stage.outcomes["given_up"] == 2


class ForgetfulWebhooks(MemoryWebhooks):
    """Refuses the first dead letters."""

    refused = 0

    async def save_progress(
        self, target_id: TargetId, progress: Progress, given_up: Sequence[DeadLetter] = ()
    ) -> None:
        if given_up and not self.refused:
            self.refused += 1
            raise StoreError("the store is down")
        await super().save_progress(target_id, progress, given_up)


async def test_a_dead_letter_that_cannot_be_kept_is_not_given_up(stage: Stage) -> None:
    stage.webhooks = webhooks = ForgetfulWebhooks()
    stage.sender.answer = lambda got: REFUSED if got.number == 2 else OK
    courier = await stage.start()
    await stage.say("a", 2)
    await until(lambda: courier.held == 1)
    stage.clock.advance(90000)
    await until(lambda: webhooks.refused == 1)
    assert stage.got("a") == []
    stage.clock.advance(600)
    await stage.until_got("a", 3)
    assert len(await stage.letters()) == 1


async def test_a_receiver_with_too_much_to_do_is_left_alone_as_long_as_it_says(stage: Stage) -> None:
    busy = SendOutcome(status=429, reason="busy", retry_after_s=100)
    stage.sender.answer = lambda got: busy if len(stage.sender.tries) == 1 else OK
    courier = await stage.start()
    await stage.say("a")
    await until(lambda: courier.held == 1)
    await stage.say("b")
    stage.clock.advance(99)
    await asyncio.sleep(0.05)
    assert len(stage.sender.tries) == 1
    stage.clock.advance(2)
    await stage.until_got("b", 2)
    await stage.until_got("a", 2)


async def test_what_is_under_way_counts_as_not_delivered(stage: Stage) -> None:
    stage.sender.hanging = asyncio.Event()
    courier = await stage.start()
    await stage.say("a")  # seq 4, after three creations
    await stage.say("b")
    await until(lambda: len(stage.sender.tries) == 2)
    assert courier.progress.cursor == 3
    assert courier.first_missing == 4
    stage.sender.hanging.set()
    await until(lambda: courier.progress.cursor == 5)
    assert courier.first_missing == 6


async def test_a_shutdown_saves_and_the_next_start_repeats_nothing(stage: Stage) -> None:
    await stage.start()
    await stage.say("a", 3)
    await stage.until_got("a", 4)
    await stage.stop()
    await stage.say("a", 2)
    await stage.start()
    await stage.until_got("a", 6)
    assert stage.got("a") == [2, 3, 4, 5, 6]


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_fails_and_crashes_nothing_is_lost_and_order_holds(stage: Stage, seed: int) -> None:
    chance = random.Random(seed)
    names = [f"s{number}" for number in range(8)]
    for name in names:
        await stage.open_session(name)
    outcomes = [OK, OK, REFUSED, SILENT]

    def answer(got: Got) -> SendOutcome:
        return chance.choice(outcomes)

    stage.sender.answer = answer
    said = dict.fromkeys(names, 1)
    for _ in range(12):
        await stage.start()
        for _ in range(chance.randrange(25)):
            name = chance.choice(names)
            said[name] += 1
            await stage.say(name)
            if chance.random() < 0.3:
                await asyncio.sleep(0)
        for _ in range(chance.randrange(4)):
            stage.clock.advance(chance.choice([1, 5, 60]))
            await asyncio.sleep(0.01)
        await (stage.crash() if chance.random() < 0.8 else stage.stop())
    outcomes[:] = [OK]
    courier = await stage.start()
    courier.retry_now()
    for name in names:
        await until(lambda name=name: len(set(stage.got(name))) == said[name] - 1)  # type: ignore[misc]
        assert stage.first_got(name) == list(range(2, said[name] + 1))
    by_id = {(got.session_id, got.number): got.message_id for got in stage.sender.tries}
    assert {(got.session_id, got.number): got.message_id for got in reversed(stage.sender.tries)} == by_id
