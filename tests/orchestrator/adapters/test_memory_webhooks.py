"""The webhook store of tests; what it promises is in tests/contracts/test_webhook_store.py."""

from __future__ import annotations

from orchestrator.adapters.memory_webhooks import MemoryWebhooks
from orchestrator.core.webhook_targets import Held, Progress, TargetId, WebhookTarget
from tests.fakes.clock import START
from tests.fakes.receivers import SECRET


async def test_what_is_kept_does_not_change_with_the_callers_copy() -> None:
    store = MemoryWebhooks()
    held = {"s1": Held(seq=1, due_at=START)}
    target = WebhookTarget(id=TargetId("wh_1"), url="https://x.example", secret=SECRET, created_at=START)
    await store.add_target(target, Progress(generation=1, cursor=1, held=held))
    held.clear()
    ((_, progress),) = await store.targets()
    assert list(progress.held) == ["s1"]
