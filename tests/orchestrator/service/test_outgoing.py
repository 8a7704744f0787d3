"""Registrations: limits, pauses, deletion while a delivery hangs, restarts, and one that hangs alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from orchestrator.core.errors import WebhookLimitError, WebhookNotFoundError
from orchestrator.core.webhook_targets import RetryPolicy
from orchestrator.service.outgoing import GONE as GONE_REASON
from orchestrator.service.outgoing import OutgoingWebhooks
from tests.fakes.receivers import GONE, OK, REFUSED, SECRET, FakeSender, Got
from tests.orchestrator.service.webhook_stage import Stage, quick
from tests.orchestrator.web.world import until

URL = "https://x.example"


class Hanging(FakeSender):
    """Hangs for the targets of ``stuck``."""

    def __init__(self) -> None:
        super().__init__()
        self.stuck: set[str] = set()
        self.cancelled: list[str] = []

    async def send(self, target: Any, **what: Any) -> Any:
        if target.id in self.stuck:
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.append(target.id)
        return await super().send(target, **what)


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    quick(monkeypatch)
    made = Stage()
    made.sender = Hanging()
    await made.open_session("a")
    return made


@asynccontextmanager
async def running(stage: Stage, max_targets: int = 20) -> AsyncIterator[OutgoingWebhooks]:
    made = OutgoingWebhooks(
        store=stage.store,
        webhooks=stage.webhooks,
        sender=stage.sender,
        clock=stage.clock,
        policy=RetryPolicy(),
        max_targets=max_targets,
    )
    stage.store._on_commit = made.notify
    await made.open()
    task = asyncio.ensure_future(made.run())
    await asyncio.sleep(0)
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=5)
        assert task.cancelled()


async def test_a_target_gets_what_comes_after_its_registration(stage: Stage) -> None:
    await stage.say("a")
    async with running(stage) as outgoing:
        target = await outgoing.register(URL, events=["client_joined", "client_joined"])
        assert (target.secret, target.events, target.status) == (SECRET, ("client_joined",), "active")
        assert target.id.startswith("wh_")
        await stage.say("a", 2)
        await stage.until_got("a", 4)
    assert stage.got("a") == [3, 4]


async def test_registrations_and_what_is_missing_survive_a_restart(stage: Stage) -> None:
    stage.sender.answer = lambda got: REFUSED
    async with running(stage) as outgoing:
        await outgoing.register(URL, secret="whsec_" + "b" * 32)
        await stage.say("a")
        await until(lambda: outgoing.all()[0].held_sessions == 1)
    await stage.say("a")
    stage.sender.answer = lambda got: OK
    async with running(stage) as outgoing:
        (view,) = outgoing.all()
        assert view.target.secret == "whsec_" + "b" * 32
        await outgoing.resume(view.target.id)
        await stage.until_got("a", 3)
    assert stage.got("a") == [2, 3]


async def test_there_are_as_many_as_the_limit_says(stage: Stage) -> None:
    async with running(stage, max_targets=2) as outgoing:
        made = await asyncio.gather(*(outgoing.register(URL) for _ in range(4)), return_exceptions=True)
        refused = [one for one in made if isinstance(one, WebhookLimitError)]
        assert len(refused) == 2
        assert "there are 2 webhooks" in str(refused[0])
        await outgoing.delete(outgoing.all()[0].target.id)
        await outgoing.register(URL)
        assert len(outgoing.all()) == 2


async def test_a_target_that_hangs_delays_no_other_and_can_be_deleted(stage: Stage) -> None:
    assert isinstance(stage.sender, Hanging)
    async with running(stage) as outgoing:
        stuck = await outgoing.register(URL)
        well = await outgoing.register(URL)
        stage.sender.stuck.add(stuck.id)
        await stage.say("a", 20)
        await stage.until_got("a", 21)
        assert {got.target_id for got in stage.sender.got} == {well.id}
        lag = {view.target.id: view.lag_events for view in outgoing.all()}
        assert lag == {stuck.id: 20, well.id: 0}
        await outgoing.delete(stuck.id)
        await until(lambda: stage.sender.cancelled == [stuck.id])  # type: ignore[attr-defined]
    assert [target.id for target, _ in await stage.webhooks.targets()] == [well.id]


async def test_a_pause_is_kept_over_a_restart(stage: Stage) -> None:
    async with running(stage) as outgoing:
        target = await outgoing.register(URL)
        assert (await outgoing.pause(target.id)).target.status == "paused"
        await stage.say("a")
    async with running(stage) as outgoing:
        await asyncio.sleep(0.05)
        assert stage.sender.tries == []
        assert outgoing.find(target.id).lag_events == 1
        assert (await outgoing.resume(target.id)).target.reason == ""
        await stage.until_got("a", 2)


async def test_410_disables_with_its_reason_until_it_is_resumed(stage: Stage) -> None:
    stage.sender.answer = lambda got: GONE
    async with running(stage) as outgoing:
        target = await outgoing.register(URL)
        await stage.say("a")
        await until(lambda: outgoing.find(target.id).target.status == "disabled")
        assert outgoing.find(target.id).target.reason == GONE_REASON
    stage.sender.answer = lambda got: OK
    async with running(stage) as outgoing:
        await stage.say("a")
        await asyncio.sleep(0.05)
        assert len(stage.sender.tries) == 1
        await outgoing.resume(target.id)
        await stage.until_got("a", 3)
    assert stage.got("a") == [2, 3]


async def test_dead_letters_are_sent_again_on_demand(stage: Stage) -> None:
    def answer(got: Got) -> Any:
        return REFUSED if got.number == 2 and stage.clock.seconds < 90001 else OK

    stage.sender.answer = answer
    async with running(stage) as outgoing:
        target = await outgoing.register(URL)
        await stage.say("a", 2)
        await until(lambda: outgoing.find(target.id).held_sessions == 1)
        stage.clock.advance(90000)
        await stage.until_got("a", 3)
        page = await outgoing.dead_letters(target.id, after=0, limit=9)
        assert page.total == 1
        stage.clock.advance(10)
        assert await outgoing.redeliver(target.id, page.letters[0].id) == 1
        await stage.until_got("a", 2)
        assert await outgoing.redeliver(target.id, None) == 0
        assert outgoing.outcomes == {"failed": 2, "delivered": 2, "given_up": 1}
        with pytest.raises(WebhookNotFoundError, match="no dead letter 99"):
            await outgoing.redeliver(target.id, 99)


async def test_what_is_not_there_is_not_found(stage: Stage) -> None:
    async with running(stage) as outgoing:
        for call in (outgoing.delete, outgoing.pause, outgoing.resume):
            with pytest.raises(WebhookNotFoundError, match="no webhook 'wh_none'"):
                await call("wh_none")
        with pytest.raises(WebhookNotFoundError):
            outgoing.find("")
        with pytest.raises(WebhookNotFoundError):
            await outgoing.dead_letters("wh_none", after=0, limit=1)
        with pytest.raises(WebhookNotFoundError):
            await outgoing.redeliver("wh_none", None)
