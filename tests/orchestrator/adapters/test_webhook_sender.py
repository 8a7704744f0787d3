"""Deliveries against a real server: signed as the specification says, bounded, and one POST each."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from orchestrator.adapters.webhook_sender import HttpWebhookSender, read_retry_after
from orchestrator.core.webhook_targets import (
    SendOutcome,
    TargetId,
    WebhookTarget,
    secret_problem,
)
from tests.fakes.clock import START
from tests.fakes.receivers import SECRET

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
BODY = '{"type":"error","data":{"message":"ü"}}'.encode()
NOW = datetime.now(UTC)  # the library compares with the machine's clock


@pytest.fixture
async def sender() -> AsyncIterator[HttpWebhookSender]:
    made = HttpWebhookSender(allow_private=True, timeout_s=0.3, now=lambda: NOW)
    await made.open()
    yield made
    await made.close()


@asynccontextmanager
async def receiver(answer: Answer) -> AsyncIterator[str]:
    """Serve one answer for every path; gives the URL."""
    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)  # type: ignore[arg-type]
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook?key=1"
    finally:
        await runner.cleanup()


async def sent(sender: HttpWebhookSender, url: str, secret: str = SECRET) -> SendOutcome:
    target = WebhookTarget(id=TargetId("wh_1"), url=url, secret=secret, created_at=START)
    return await sender.send(target, message_id="wh_1_7_12", body=BODY)


async def test_a_delivery_is_verified_by_the_specifications_own_library(sender: HttpWebhookSender) -> None:
    seen: list[tuple[str, dict[str, str], bytes]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.path_qs, dict(request.headers), await request.read()))
        return web.Response(status=204)

    async with receiver(answer) as url:
        assert await sent(sender, url) == SendOutcome(status=204)
    ((path, headers, body),) = seen
    assert path == "/hook?key=1"
    assert Webhook(SECRET).verify(body, headers) == json.loads(BODY)
    lowered = {key.lower(): value for key, value in headers.items()}
    assert lowered["webhook-id"] == "wh_1_7_12"
    assert lowered["webhook-timestamp"] == str(int(NOW.timestamp()))
    assert lowered["content-type"] == "application/json"
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body + b" ", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body, {**headers, "webhook-id": "wh_1_7_13"})
    assert SECRET not in str(headers)


def test_a_signature_is_the_one_of_the_specifications_vector() -> None:
    """Source: the vector in the specification's own test suites (standard-webhooks, python and rust)."""
    at = datetime.fromtimestamp(1614265330, UTC)
    sender = HttpWebhookSender(allow_private=True, timeout_s=1, now=lambda: at)
    headers = sender._headers(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_new_secret_is_new_and_fit() -> None:
    sender = HttpWebhookSender(allow_private=True, timeout_s=1, now=lambda: NOW)
    made = {sender.new_secret() for _ in range(20)}
    assert len(made) == 20
    assert [secret_problem(secret) for secret in made] == [None] * 20


@pytest.mark.parametrize("status", [400, 404, 410, 429, 500, 503])
async def test_an_error_status_is_told_with_its_retry_after(sender: HttpWebhookSender, status: int) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, text="words of the receiver", headers={"Retry-After": "7"})

    async with receiver(answer) as url:
        outcome = await sent(sender, url)
    assert (outcome.status, outcome.retry_after_s) == (status, 7)
    assert outcome.reason == f"the receiver answered with status {status}"


async def test_a_redirect_is_not_followed(sender: HttpWebhookSender) -> None:
    calls: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        calls.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async with receiver(answer) as url:
        outcome = await sent(sender, url)
    assert (outcome.status, outcome.is_delivered, calls) == (307, False, ["/hook"])
    assert "redirects are not followed" in outcome.reason


async def test_a_receiver_that_hangs_ends_at_the_deadline(sender: HttpWebhookSender) -> None:
    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    async with receiver(answer) as url:
        began = asyncio.get_running_loop().time()
        outcome = await sent(sender, url)
    assert asyncio.get_running_loop().time() - began < 2
    assert outcome == SendOutcome(status=None, reason="no answer within 0.3 s")


async def test_an_endless_answer_is_not_read(sender: HttpWebhookSender) -> None:
    written = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
                written += 65536
        except OSError:
            return response

    async with receiver(answer) as url:
        assert (await sent(sender, url)).is_delivered
        await asyncio.sleep(0.1)
    assert written < 20 * 2**20


async def test_a_connection_that_is_cut_or_refused_is_no_delivery(sender: HttpWebhookSender) -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with receiver(answer) as url:
        outcome = await sent(sender, url)
    assert (outcome.status, outcome.reason) == (None, "the connection broke before an answer came")
    outcome = await sent(sender, url)
    assert (outcome.status, outcome.reason) == (None, "no connection could be made to the address")


@pytest.mark.parametrize("url", ["http://", "http://[::1", "nothing", "http://127.0.0.1:99999/"])
async def test_an_address_that_is_none_is_no_delivery(sender: HttpWebhookSender, url: str) -> None:
    outcome = await sent(sender, url)
    assert outcome.status is None
    assert outcome.reason


async def test_a_private_address_is_not_called_whatever_name_leads_there() -> None:
    calls: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        calls.append(request.path)
        return web.Response()

    class ToLoopback(AbstractResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            return [
                ResolveResult(
                    hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0
                )
            ]

        async def close(self) -> None:
            pass

    sender = HttpWebhookSender(allow_private=False, timeout_s=2, now=lambda: NOW, resolver=ToLoopback())
    await sender.open()
    try:
        async with receiver(answer) as url:
            outcomes = [
                await sent(sender, url),
                await sent(sender, url.replace("127.0.0.1", "hooks.example.org")),
            ]
    finally:
        await sender.close()
    assert calls == []
    assert [outcome.status for outcome in outcomes] == [None, None]
    assert outcomes[0].reason == "the address may not be called; register another one"
    assert "not public" in outcomes[1].reason
    assert not [outcome for outcome in outcomes if "/hook" in outcome.reason]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("120", 120),
        ("9" * 40, 999999999),
        ("-1", None),
        ("soon", None),
        ("", None),
        ("Sat, 21 Nov 2026 12:01:00 GMT", 60),
        ("Sat, 21 Nov 2026 12:01:00 -0000", 60),
        ("Sat, 21 Nov 2020 12:01:00 GMT", 0),
        ("Sat, 99 Nov 2026 12:01:00 GMT", None),
        ("Sat, 21 Nov 2026 12:01:00 +99999999999999999", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert read_retry_after(value, START) == seconds
