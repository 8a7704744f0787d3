"""What a target is told of events that are gone: trimmed away, or never happened in a restored backup."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from orchestrator.adapters.memory_store import MemorySessionStore
from orchestrator.core.errors import StoreError
from orchestrator.core.ids import InstanceId, SessionId
from orchestrator.ports import FeedPage
from tests.fakes.receivers import OK, REFUSED
from tests.orchestrator.service.webhook_stage import Stage, quick
from tests.orchestrator.web.world import until


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    quick(monkeypatch)
    made = Stage()
    await made.open_session("a")
    await made.open_session("b")
    yield made
    await made.stop()


async def generation(stage: Stage) -> int:
    return (await stage.store.feed_after(0, session_id=None, limit=1)).generation


async def test_a_trimmed_feed_is_a_gap_before_what_follows(stage: Stage) -> None:
    await stage.say("a", 3)
    stage.clock.advance(10)
    await stage.say("a", 2)
    await stage.store.trim_feed(stage.clock.now())
    await stage.start()
    await stage.until_got("a", 6)
    gap, *rest = stage.sender.got
    number = await generation(stage)
    assert (gap.body["type"], gap.session_id) == ("gap", None)
    assert gap.body["data"] == {"from": f"{number}:0", "to": f"{number}:5", "snapshot": None}
    assert [got.number for got in rest] == [5, 6]
    assert gap.message_id == f"wh_1_gap_{number}_0"


async def test_a_gap_that_cannot_be_delivered_is_tried_again(stage: Stage) -> None:
    stage.clock.advance(10)
    await stage.say("a")
    await stage.store.trim_feed(stage.clock.now())
    stage.sender.answer = lambda got: REFUSED if got.body["type"] == "gap" else OK
    courier = await stage.start()
    await stage.until_got("a", 2)
    await until(lambda: courier.held == 1)
    await stage.say_of_none("asr")
    await stage.crash()
    stage.sender.answer = lambda got: OK
    courier = await stage.start()
    courier.retry_now()
    await until(lambda: len(stage.sender.got) >= 3)
    assert [got.body["type"] for got in stage.sender.got if got.session_id is None] == [
        "gap", "microservice_registered"
    ]  # fmt: skip


async def test_a_held_session_that_is_overtaken_by_the_trim_gets_its_own_gap(stage: Stage) -> None:
    stage.sender.answer = lambda got: REFUSED
    courier = await stage.start()
    await stage.say("a", 2)
    await until(lambda: courier.held == 1)
    stage.clock.advance(3600)
    await stage.say("a")
    await stage.store.trim_feed(stage.clock.now())
    stage.sender.answer = lambda got: OK
    await stage.until_got("a", 4)
    gap, event = (got for got in stage.sender.got if got.session_id == "a")
    number = await generation(stage)
    assert gap.body["data"] == {"from": f"{number}:2", "to": f"{number}:4", "snapshot": None}
    assert event.number == 4
    assert not [got for got in stage.sender.got if got.session_id is None]


@pytest.mark.parametrize("is_other_generation", [True, False])
async def test_a_restored_backup_is_a_gap_and_begins_at_its_head(
    stage: Stage, is_other_generation: bool
) -> None:
    await stage.say("a", 5)
    courier = await stage.start()
    await until(lambda: courier.progress.cursor == 7)
    await stage.stop()
    await stage.webhooks.save_progress(stage.target.id, replace(await stage.saved(), cursor=9))
    if is_other_generation:
        stage.clock.advance(60)
        stage.store = Stage().store
        stage.store._generation += 60
        await stage.open_session("a")
    before = len(stage.sender.got)
    number = await generation(stage)
    head = (await stage.store.feed_after(0, session_id=None, limit=1)).head_seq
    await stage.start()
    await until(lambda: len(stage.sender.got) > before)
    told = stage.sender.got[before].body
    old = number - 60 if is_other_generation else number
    assert told["data"] == {"from": f"{old}:9", "to": f"{number}:{head}", "snapshot": None}
    await stage.say("a")
    await until(lambda: len(stage.sender.got) == before + 2)


class BlindStore(MemorySessionStore):
    """Gives no events while ``is_down``."""

    is_down = False
    refused = 0

    async def feed_after(self, seq: int, *, session_id: SessionId | None, limit: int) -> FeedPage:
        if self.is_down:
            self.refused += 1
            raise StoreError("the store is down")
        return await super().feed_after(seq, session_id=session_id, limit=limit)


async def test_a_store_that_gives_no_events_for_a_while_loses_none(stage: Stage) -> None:
    store = BlindStore(clock=stage.clock, instance_id=InstanceId("i"), on_commit=lambda head: stage.wake())
    stage.store = store
    await stage.open_session("a")
    stage.sender.answer = lambda got: REFUSED if len(stage.sender.tries) == 1 else OK
    courier = await stage.start()
    await stage.say("a")
    await until(lambda: courier.held == 1)
    store.is_down = True
    await stage.say("a", 2)
    stage.clock.advance(10)
    await until(lambda: store.refused > 4)
    store.is_down = False
    stage.clock.advance(10)
    await stage.until_got("a", 4)
    assert stage.got("a") == [2, 3, 4]
