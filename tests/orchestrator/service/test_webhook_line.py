"""The line to a target: paused, disabled by 410, and dead letters that are sent once more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from orchestrator.core.ids import SessionId
from orchestrator.core.webhook_targets import DeadLetter
from tests.fakes.clock import START
from tests.fakes.receivers import GONE, OK, REFUSED
from tests.orchestrator.service.webhook_stage import TARGET, Stage, quick
from tests.orchestrator.web.world import until


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    quick(monkeypatch)
    made = Stage()
    await made.open_session("a")
    yield made
    await made.stop()


def letter(number: int) -> DeadLetter:
    return DeadLetter(
        message_id=f"wh_1_7_{number}",
        name="client_joined",
        session_id=SessionId("a"),
        body=b'{"type":"client_joined","session_id":"a","number":%d}' % number,
        tries=9,
        reason="no answer within 15 s",
        given_up_at=START,
    )


async def test_a_paused_target_gets_nothing_and_then_everything(stage: Stage) -> None:
    courier = await stage.start()
    courier.line.apply(replace(TARGET, status="paused"))
    await stage.say("a", 3)
    await asyncio.sleep(0.05)
    assert stage.sender.tries == []
    courier.line.apply(TARGET)
    await stage.until_got("a", 4)
    assert stage.got("a") == [2, 3, 4]


async def test_410_is_the_last_call_and_is_told_once(stage: Stage) -> None:
    stage.sender.answer = lambda got: GONE
    courier = await stage.start()
    await stage.say("a", 3)
    await stage.say_of_none("asr")
    await until(lambda: stage.disabled == 1)
    tries = len(stage.sender.tries)
    await stage.say("a")
    stage.clock.advance(1000)
    await asyncio.sleep(0.05)
    assert (len(stage.sender.tries), stage.disabled) == (tries, 1)
    stage.sender.answer = lambda got: OK
    courier.line.apply(TARGET)
    courier.retry_now()
    await stage.until_got("a", 5)
    assert stage.got("a") == [2, 3, 4, 5]


async def test_queued_dead_letters_are_sent_once_more_as_they_were(stage: Stage) -> None:
    stage.sender.answer = lambda got: REFUSED if got.number == 2 else OK
    courier = await stage.start()
    await stage.webhooks.save_progress(TARGET.id, courier.progress, [letter(n) for n in (1, 2, 3, 4, 5, 6)])
    await asyncio.sleep(0.05)
    assert stage.sender.tries == []
    await stage.webhooks.queue_dead_letters(TARGET.id, None)
    courier.line.redeliver()
    await stage.until_got("a", 6)
    await until(lambda: len(stage.sender.tries) == 6)
    assert [got.message_id for got in stage.sender.got] == [f"wh_1_7_{n}" for n in (1, 3, 4, 5, 6)]
    assert [(one.message_id, one.tries, one.reason, one.queued) for one in await stage.letters()] == [
        ("wh_1_7_2", 10, REFUSED.reason, False)
    ]


async def test_letters_that_were_queued_before_a_crash_are_sent_after_it(stage: Stage) -> None:
    stage.sender.hanging = asyncio.Event()
    courier = await stage.start()
    await stage.webhooks.save_progress(TARGET.id, courier.progress, [letter(1)])
    await stage.webhooks.queue_dead_letters(TARGET.id, None)
    courier.line.redeliver()
    await until(lambda: len(stage.sender.tries) == 1)
    await stage.crash()
    stage.sender.hanging = None
    await stage.start()
    await stage.until_got("a", 1)
    await asyncio.sleep(0.01)
    assert await stage.letters() == ()
