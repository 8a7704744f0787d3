"""Outgoing webhooks in the SQLite file: they survive, for the file's owner only, and are found by index."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import apsw

from orchestrator.adapters.sqlite_store import SqliteSessionStore
from orchestrator.core.ids import InstanceId
from orchestrator.core.webhook_targets import DeadLetter, Held, Progress, TargetId, WebhookTarget
from tests.fakes.clock import START, FakeClock
from tests.fakes.receivers import SECRET

TARGET = WebhookTarget(id=TargetId("wh_1"), url="https://x.example", secret=SECRET, created_at=START)
LETTER = DeadLetter(
    message_id="m", name="error", session_id=None, body=b"{}", tries=1, reason="no", given_up_at=START
)


def opened(path: Path) -> SqliteSessionStore:
    return SqliteSessionStore(path, clock=FakeClock(), instance_id=InstanceId("me"))


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    store = opened(tmp_path / "store.db")
    await store.open()
    await store.webhooks.add_target(TARGET, Progress(generation=1, cursor=1))
    progress = Progress(generation=1, cursor=9, held={"s1": Held(seq=4, due_at=START)})
    await store.webhooks.save_progress(TARGET.id, progress, [LETTER])
    await store.webhooks.queue_dead_letters(TARGET.id, None)
    await store.close()

    store = opened(tmp_path / "store.db")
    await store.open()
    assert await store.webhooks.targets() == [(TARGET, progress)]
    (kept,) = (await store.webhooks.dead_letters(TARGET.id, limit=9, queued_only=True)).letters
    assert replace(kept, id=0) == replace(LETTER, queued=True)
    await store.close()


async def test_dead_letters_of_a_target_are_found_by_an_index(tmp_path: Path) -> None:
    store = opened(tmp_path / "store.db")
    await store.open()
    await store.close()
    database = apsw.Connection(str(tmp_path / "store.db"))
    plan = database.execute(
        "EXPLAIN QUERY PLAN SELECT id FROM dead_letters WHERE target ="
        " (SELECT id FROM webhook_targets WHERE target_id = ?) AND is_queued >= ? AND id > ? ORDER BY id",
        ("wh_1", 0, 0),
    ).fetchall()
    database.close()
    words = " ".join(str(row[3]) for row in plan)
    assert "dead_letters_target" in words
    assert "TEMP B-TREE" not in words
