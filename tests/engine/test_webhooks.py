"""Webhooks arrive signed and in order, are tried again, and wait for nobody else's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import jwt
import pytest
from aiohttp import web
from livekit import api
from livekit.protocol.models import ParticipantInfo, Room
from livekit.protocol.webhook import WebhookEvent

from engine import webhooks
from engine.webhooks import MOST_WAITING, Webhooks
from tests.engine.clients import KEY

AT_ONCE = (0.0, 0.0, 0.0)


@dataclass
class Receiver:
    """Answers with the statuses it was given, then 200; hangs for rooms named so."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    hanging: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self, request: web.Request) -> web.Response:
        body = await request.text()
        self.bodies.append(body)
        self.tokens.append(request.headers["Authorization"])
        self.types.append(request.headers["Content-Type"])
        if '"hang"' in body:
            await self.hanging.wait()
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)

    async def until(self, count: int) -> None:
        """Wait until so many calls came."""
        async with asyncio.timeout(30):
            while len(self.bodies) < count:
                await asyncio.sleep(0.005)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    app = web.Application()
    app.router.add_post("/hook", made.receive)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield made
    made.hanging.set()
    await runner.cleanup()


def event(name: str = "participant_joined", *, room: str = "tea", number: int = 1) -> WebhookEvent:
    return WebhookEvent(
        event=name,
        id=f"EV_{number}",
        created_at=int(time.time()),
        room=Room(sid="RM_1", name=room),
        participant=ParticipantInfo(sid="PA_1", identity="ada", name="Ädä"),
    )


async def test_livekits_own_receiver_takes_them(receiver: Receiver) -> None:
    async with Webhooks(KEY, [receiver.url]) as hooks:
        hooks.report(event())
        await receiver.until(1)
    verifier = api.TokenVerifier(KEY.api_key, KEY.api_secret)
    said = api.WebhookReceiver(verifier).receive(receiver.bodies[0], receiver.tokens[0])
    assert (said.event, said.room.sid, said.participant.name) == ("participant_joined", "RM_1", "Ädä")
    assert receiver.types == ["application/webhook+json"]
    assert '"createdAt"' in receiver.bodies[0]
    with pytest.raises(Exception, match="hash mismatch"):
        api.WebhookReceiver(verifier).receive(receiver.bodies[0] + " ", receiver.tokens[0])
    with pytest.raises(jwt.InvalidSignatureError):
        api.TokenVerifier(KEY.api_key, "another secret of more than 32 characters").verify(receiver.tokens[0])


async def test_failures_are_tried_again_with_the_same_token_and_refusals_are_not(receiver: Receiver) -> None:
    receiver.statuses = [500, 429, 200, 404, 302]
    async with Webhooks(KEY, [receiver.url], pauses_s=AT_ONCE) as hooks:
        for number in (1, 2, 3, 4):
            hooks.report(event(number=number))
        await receiver.until(6)
        await asyncio.sleep(0.05)
    ids = [next(n for n in "1234" if f'"EV_{n}"' in body) for body in receiver.bodies]
    assert ids == ["1", "1", "1", "2", "3", "4"]
    assert len(set(receiver.tokens[:3])) == 1


async def test_what_never_succeeds_is_given_up_and_the_next_comes(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.statuses = [500, 503, 500]
    async with Webhooks(KEY, [receiver.url], pauses_s=AT_ONCE) as hooks:
        hooks.report(event(number=1))
        hooks.report(event("room_finished", number=2))
        await receiver.until(4)
    assert "room_finished" in receiver.bodies[3]
    assert "participant_joined given up after 3 attempts" in caplog.text
    assert receiver.tokens[0] not in caplog.text


async def test_a_receiver_that_hangs_for_one_room_delays_no_other(receiver: Receiver) -> None:
    async with Webhooks(KEY, [receiver.url]) as hooks:
        hooks.report(event(room="hang", number=1))
        hooks.report(event(room="hang", number=2))
        await receiver.until(1)
        hooks.report(event(room="tea", number=3))
        await receiver.until(2)
        assert '"EV_3"' in receiver.bodies[1]
        receiver.hanging.set()
        await receiver.until(3)
    assert '"EV_2"' in receiver.bodies[2]


async def test_a_queue_has_an_end_and_says_so(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    async with Webhooks(KEY, [receiver.url]) as hooks:
        for number in range(MOST_WAITING + 5):
            hooks.report(event(room="hang", number=number))
        await receiver.until(1)
        assert caplog.text.count("dropped") == 5
        receiver.hanging.set()
        await receiver.until(MOST_WAITING)
        await asyncio.sleep(0.05)
    assert len(receiver.bodies) == MOST_WAITING


async def test_what_waited_too_long_is_dropped(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Webhooks(KEY, [receiver.url]) as hooks:
        hooks.report(event(room="hang", number=1))
        hooks.report(event(room="hang", number=2))
        await receiver.until(1)
        monkeypatch.setattr(webhooks, "OLDEST_S", -1.0)
        receiver.hanging.set()
        await asyncio.sleep(0.1)
    assert len(receiver.bodies) == 1


async def test_only_the_chosen_events_are_sent_and_to_every_receiver(receiver: Receiver) -> None:
    urls = [receiver.url, receiver.url + "?second"]
    async with Webhooks(KEY, urls, events=["room_finished"]) as hooks:
        hooks.report(event("track_published"))
        hooks.report(event("room_finished"))
        await receiver.until(2)
        await asyncio.sleep(0.02)
    assert len(receiver.bodies) == 2
    assert all("room_finished" in body for body in receiver.bodies)


async def test_the_end_waits_for_no_receiver(receiver: Receiver) -> None:
    began = time.monotonic()
    async with Webhooks(KEY, [receiver.url]) as hooks:
        hooks.report(event(room="hang"))
        await receiver.until(1)
    assert time.monotonic() - began < 5  # it would be given up after 10 s
