"""What every webhook store promises: registrations, progress and dead letters, whole and bounded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.adapters.memory_webhooks import MemoryWebhooks
from orchestrator.adapters.sqlite_store import SqliteSessionStore
from orchestrator.core.ids import InstanceId, SessionId
from orchestrator.core.webhook_targets import (
    MAX_DEAD_LETTERS,
    DeadLetter,
    Held,
    Progress,
    TargetId,
    WebhookTarget,
)
from orchestrator.webhook_ports import WebhookStore
from tests.fakes.clock import START, FakeClock
from tests.fakes.receivers import SECRET

ONE = WebhookTarget(
    id=TargetId("wh_1"),
    url="https://one.example/ü",
    events=("client_left", "session_created"),
    secret=SECRET,
    created_at=START,
)
TWO = WebhookTarget(id=TargetId("wh_2"), url="https://two.example", secret=SECRET, created_at=START)
BEGIN = Progress(generation=7, cursor=3)
HELD = {"s1": Held(seq=2, tries=4, since=START, due_at=START), "": Held(seq=9, gap="6:1", due_at=START)}


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[WebhookStore]:
    if request.param == "memory":
        yield MemoryWebhooks()
        return
    sessions = SqliteSessionStore(tmp_path / "store.db", clock=FakeClock(), instance_id=InstanceId("me"))
    await sessions.open()
    yield sessions.webhooks
    await sessions.close()


def letter(name: str, session_id: str | None = "s1") -> DeadLetter:
    return DeadLetter(
        message_id=f"wh_1_7_{name}",
        name="error",
        session_id=None if session_id is None else SessionId(session_id),
        body=b'{"type":"error"}',
        tries=9,
        reason="no answer within 15 s",
        given_up_at=START,
    )


async def test_a_registration_is_kept_with_its_secret_and_progress(store: WebhookStore) -> None:
    await store.add_target(ONE, BEGIN)
    await store.add_target(TWO, replace(BEGIN, cursor=4))
    assert await store.targets() == [(ONE, BEGIN), (TWO, replace(BEGIN, cursor=4))]


async def test_registration_and_progress_are_replaced_each_for_itself(store: WebhookStore) -> None:
    await store.add_target(ONE, BEGIN)
    ahead = Progress(generation=7, cursor=12, held=HELD)
    await store.save_progress(ONE.id, ahead)
    paused = replace(ONE, status="paused", reason="paused by its owner")
    await store.save_target(paused)
    assert await store.targets() == [(paused, ahead)]
    await store.save_progress(ONE.id, replace(ahead, held={}))
    assert await store.targets() == [(paused, replace(ahead, held={}))]


async def test_adding_again_changes_nothing(store: WebhookStore) -> None:
    await store.add_target(ONE, BEGIN)
    await store.save_progress(ONE.id, replace(BEGIN, cursor=9))
    await store.add_target(ONE, BEGIN)
    assert await store.targets() == [(ONE, replace(BEGIN, cursor=9))]


async def test_what_was_deleted_stays_deleted(store: WebhookStore) -> None:
    await store.add_target(ONE, BEGIN)
    await store.save_progress(ONE.id, BEGIN, [letter("1")])
    await store.delete_target(ONE.id)
    await store.delete_target(ONE.id)
    await store.save_target(ONE)
    await store.save_progress(ONE.id, BEGIN, [letter("2")])
    assert await store.targets() == []
    await store.add_target(TWO, BEGIN)  # may take over the place of the row
    for target in (ONE, TWO):
        assert (await store.dead_letters(target.id, limit=9)).total == 0


async def test_dead_letters_come_with_the_progress_and_by_page(store: WebhookStore) -> None:
    for target in (ONE, TWO):
        await store.add_target(target, BEGIN)
    ahead = replace(BEGIN, cursor=5, held=HELD)
    await store.save_progress(ONE.id, ahead, [letter("1"), letter("2", None)])
    await store.save_progress(TWO.id, BEGIN, [letter("other")])
    await store.save_progress(ONE.id, ahead, [letter("3")])
    assert (await store.targets())[0] == (ONE, ahead)
    first = await store.dead_letters(ONE.id, limit=2)
    assert [replace(one, id=0) for one in first.letters] == [letter("1"), letter("2", None)]
    rest = await store.dead_letters(ONE.id, after=first.letters[-1].id, limit=2)
    assert [one.message_id for one in rest.letters] == ["wh_1_7_3"]
    assert (first.total, rest.total) == (3, 3)
    assert (await store.dead_letters(TargetId("wh_none"), limit=9)).total == 0


async def test_a_target_keeps_its_newest_dead_letters(store: WebhookStore) -> None:
    most = MAX_DEAD_LETTERS
    await store.add_target(ONE, BEGIN)
    await store.add_target(TWO, BEGIN)
    await store.save_progress(TWO.id, BEGIN, [letter("kept")])
    await store.save_progress(ONE.id, BEGIN, [letter(str(number)) for number in range(most - 1)])
    await store.save_progress(ONE.id, BEGIN, [letter("a"), letter("b"), letter("c")])
    page = await store.dead_letters(ONE.id, limit=most + 9)
    assert page.total == len(page.letters) == most
    assert page.letters[0].message_id == "wh_1_7_2"
    assert page.letters[-1].message_id == "wh_1_7_c"
    assert (await store.dead_letters(TWO.id, limit=9)).total == 1


async def test_dead_letters_are_queued_one_or_all_and_finished(store: WebhookStore) -> None:
    for target in (ONE, TWO):
        await store.add_target(target, BEGIN)
        await store.save_progress(target.id, BEGIN, [letter("1"), letter("2")])
    one, two = (await store.dead_letters(ONE.id, limit=9)).letters
    other = (await store.dead_letters(TWO.id, limit=9)).letters[0]
    assert await store.queue_dead_letters(ONE.id, other.id) == 0
    assert await store.queue_dead_letters(ONE.id, two.id) == 1
    (queued,) = (await store.dead_letters(ONE.id, limit=9, queued_only=True)).letters
    assert queued == replace(two, queued=True)
    assert await store.queue_dead_letters(ONE.id, None) == 2

    await store.finish_dead_letter(one, reason=None)
    await store.finish_dead_letter(one, reason=None)
    await store.finish_dead_letter(queued, reason="again not")
    await store.finish_dead_letter(one, reason="too late")
    assert (await store.dead_letters(ONE.id, limit=9)).letters == (
        replace(two, tries=10, reason="again not", queued=False),
    )
    assert (await store.dead_letters(ONE.id, limit=9, queued_only=True)).total == 0
    assert (await store.dead_letters(TWO.id, limit=9, queued_only=True)).total == 0
