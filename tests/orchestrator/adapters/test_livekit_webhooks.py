"""Webhooks: only what our key signed, exactly this body, and a notice with what matters of it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import Callable
from uuid import uuid4

import jwt
import pytest
from google.protobuf.json_format import MessageToJson
from livekit.protocol import models
from livekit.protocol.webhook import WebhookEvent

from orchestrator.adapters.livekit_rooms import room_metadata
from orchestrator.adapters.livekit_tokens import LivekitTokens
from orchestrator.adapters.livekit_webhooks import LivekitWebhookVerifier
from orchestrator.core.errors import WebhookRefusedError
from orchestrator.core.grants import client_grant
from orchestrator.core.ids import Identity, RoomName, SessionId
from tests.contracts.test_room_server import make_livekit_rooms
from tests.integration.servers import SharedLiveKit

KEY, SECRET = "key", "s" * 40
VERIFIER = LivekitWebhookVerifier(KEY, SECRET)
EVENT = WebhookEvent(
    event="participant_joined",
    id="EV_1",
    created_at=1_790_000_000,
    room=models.Room(name="r ü", sid="RM_1", metadata=room_metadata("d1", "s1")),
    participant=models.ParticipantInfo(
        identity="asr#2",
        sid="PA_1",
        attributes={"greenroom.role": "worker", "greenroom.service": "asr", "greenroom.attempt": "2"},
    ),
)
BODY = MessageToJson(EVENT).encode()


def sign(body: bytes, *, secret: str = SECRET, **claims: object) -> str:
    now = int(time.time())
    sha256 = base64.b64encode(hashlib.sha256(body).digest()).decode()
    full = {"iss": KEY, "nbf": now, "exp": now + 300, "sha256": sha256, **claims}
    return jwt.encode({k: v for k, v in full.items() if v is not None}, secret, algorithm="HS256")


def test_a_webhook_is_read() -> None:
    for authorization in (sign(BODY), f"Bearer {sign(BODY)}"):
        notice = VERIFIER.verify(BODY, authorization)
        assert (notice.event, notice.id) == ("participant_joined", "EV_1")
        assert (notice.room_name, notice.room_sid) == ("r ü", "RM_1")
        assert (notice.deployment_id, notice.session_id) == ("d1", "s1")
        assert notice.participant is not None
        assert (notice.participant.identity, notice.participant.sid) == ("asr#2", "PA_1")
        assert (notice.participant.role, notice.participant.attempt) == ("worker", 2)


def test_an_agents_webhook_is_no_clients() -> None:
    agent = models.ParticipantInfo(
        identity="agent-AJ_1",
        sid="PA_2",
        kind=models.ParticipantInfo.Kind.AGENT,
        attributes={"lk.agent_name": "echo"},
    )
    body = MessageToJson(WebhookEvent(event="participant_joined", participant=agent)).encode()
    found = VERIFIER.verify(body, sign(body)).participant
    assert found is not None
    assert (found.role, found.service_id, found.attempt) == ("worker", "agent:echo", 0)


@pytest.mark.parametrize(
    "body",
    [
        b'{"event":"room_finished","id":"EV_2"}',
        b'{"event":"egress_started","id":"EV_2","egressInfo":{"x":[{}]},"someNewField":3,"createdAt":"17"}',
    ],
)
def test_a_webhook_without_room_or_participant(body: bytes) -> None:
    notice = VERIFIER.verify(body, sign(body))
    assert (notice.room_name, notice.room_sid, notice.session_id, notice.participant) == ("", "", "", None)


def test_every_flipped_byte_of_the_body_is_noticed() -> None:
    authorization = sign(BODY)
    for place in range(len(BODY)):
        flipped = bytearray(BODY)
        flipped[place] ^= 1
        with pytest.raises(WebhookRefusedError):
            VERIFIER.verify(bytes(flipped), authorization)


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer ",
        "Basic YTpi",
        "\udcff\udcfe",
        "ü.ü.ü",
        "a.b.c",
        sign(BODY, secret="another" * 9),
        sign(BODY, iss="somebody"),
        sign(BODY, iss=None),
        sign(BODY, exp=None),
        sign(BODY, exp=int(time.time()) - 3600),
        sign(BODY, nbf=int(time.time()) + 3600),
        sign(BODY, sha256=None),
        sign(BODY, sha256=""),
        sign(BODY, sha256="ü"),
        sign(BODY, sha256=17),
        sign(BODY, sha256=hashlib.sha256(BODY).hexdigest()),
        sign(b"another body"),
        jwt.encode({"iss": KEY, "exp": 9e9, "sha256": ""}, "", algorithm="none"),
    ],
)
def test_who_did_not_sign_with_our_key_is_refused(authorization: str) -> None:
    with pytest.raises(WebhookRefusedError) as caught:
        VERIFIER.verify(BODY, authorization)
    assert "EV_1" not in str(caught.value)
    assert not authorization.strip() or authorization not in str(caught.value)


def test_a_guests_room_token_signs_no_webhook() -> None:
    """LiveKit's join tokens are signed with the same secret."""
    mint = LivekitTokens(api_key=KEY, api_secret=SECRET, ttl_s=300)
    token = mint.mint(client_grant(RoomName("r"), Identity("guest"), "")).jwt
    for body in (BODY, b""):
        with pytest.raises(WebhookRefusedError, match="not the one that was signed"):
            VERIFIER.verify(body, token)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b"{",
        b"\xff\xfe",
        b'{"event":7}',
        b'{"room":"x"}',
        b"[" * 100_000,
        b'{"event":"\xff"}',
        b'{"x":' * 100_000,
    ],
)
def test_a_signed_body_that_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(WebhookRefusedError, match="not a LiveKit event"):
        VERIFIER.verify(body, sign(body))


@pytest.mark.integration
async def test_the_real_servers_webhooks_are_accepted(real_livekit_server: SharedLiveKit) -> None:
    verifier = LivekitWebhookVerifier(real_livekit_server.api_key, real_livekit_server.api_secret)
    rooms = make_livekit_rooms(real_livekit_server)
    await rooms.open()
    name = RoomName(f"webhooks-{uuid4()}")
    try:
        made = await rooms.create_room(name, SessionId("s1"))
        await rooms.delete_room(name)
    finally:
        await rooms.close()
    wanted = {"room_finished"}
    async with asyncio.timeout(15):
        while True:
            ours = [
                webhook
                for webhook in list(real_livekit_server.webhooks.received)
                if json.loads(webhook.body).get("room", {}).get("name") == name
            ]
            if {json.loads(webhook.body)["event"] for webhook in ours} >= wanted:
                break
            await asyncio.sleep(0.05)
    for webhook in ours:
        notice = verifier.verify(webhook.body, webhook.authorization)
        assert (notice.room_name, notice.room_sid, notice.session_id) == (name, made.sid, "s1")


@pytest.mark.parametrize(
    ("created_at", "age_s"),
    [(lambda now: now - 40, 40), (lambda now: now + 100, 0), (lambda now: 0, 0)],
)
def test_a_webhook_says_how_old_it_is(created_at: Callable[[int], int], age_s: int) -> None:
    event = WebhookEvent(event="participant_joined", created_at=created_at(int(time.time())))
    body = MessageToJson(event).encode()
    assert age_s <= VERIFIER.verify(body, sign(body)).age_s < age_s + 3


@pytest.mark.parametrize("created_at", ["soon", "-5", "9" * 40, 12])
def test_an_age_that_makes_no_sense_is_none(created_at: object) -> None:
    body = json.dumps({"event": "participant_joined", "createdAt": created_at}).encode()
    age_s = VERIFIER.verify(body, sign(body)).age_s
    assert age_s == 0.0 if created_at != 12 else age_s > 1e9
