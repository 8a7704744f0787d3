"""The example receiver takes what Greenroom sends, once, and nobody else's."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from aiohttp import web

from examples.receive_events import receiver
from orchestrator.adapters.webhook_sender import HttpWebhookSender
from orchestrator.core.webhook_targets import TargetId, WebhookTarget
from tests.fakes.clock import START
from tests.fakes.receivers import SECRET

BODY = b'{"type":"session_ready","position":"7:12","session_id":"s1","number":3,"data":{}}'


async def test_it_prints_each_event_once_and_refuses_others(capsys: pytest.CaptureFixture[str]) -> None:
    runner = web.AppRunner(receiver(SECRET), access_log=None)
    await runner.setup()
    sender = HttpWebhookSender(allow_private=True, timeout_s=5, now=lambda: datetime.now(UTC))
    await sender.open()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        statuses = []
        for secret in (SECRET, SECRET, "whsec_" + "d" * 32):
            target = WebhookTarget(
                id=TargetId("wh_1"),
                url=f"http://127.0.0.1:{runner.addresses[0][1]}/hook",
                secret=secret,
                created_at=START,
            )
            statuses.append((await sender.send(target, message_id="wh_1_7_12", body=BODY)).status)
    finally:
        await sender.close()
        await runner.cleanup()
    assert statuses == [204, 204, 401]
    assert capsys.readouterr().out.splitlines() == ["7:12 session_ready s1"]
