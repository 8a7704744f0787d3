"""LiveKit's webhooks: verified, persisted, then answered; a 4xx only for a bad signature."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import ClientSession

from orchestrator.core.errors import StoreError
from orchestrator.core.ids import Identity, ParticipantSid, RoomName, RoomSid, SessionId
from orchestrator.core.states import RoomStatus
from orchestrator.core.triggers import Participant
from orchestrator.ports import Notice
from tests.orchestrator.web.world import World, error_of

HOOK = "/api/v1/livekit/webhook"
SIGNED = {"Authorization": "signed", "Content-Type": "application/webhook+json"}


def joined(room_name: str, room_sid: str) -> Notice:
    return Notice(
        event="participant_joined",
        id="EV_1",
        room_name=RoomName(room_name),
        room_sid=RoomSid(room_sid),
        participant=Participant(identity=Identity("alice"), sid=ParticipantSid("PA_1")),
    )


async def test_an_accepted_webhook_is_committed_before_the_answer(
    world: World, client: ClientSession
) -> None:
    created = await world.create(client)
    session = await world.store.load(SessionId(created["session_id"]))
    world.verifier.notice = joined(created["room_name"], str(session.room_sid))
    assert (await client.post(HOOK, data=b"{}", headers=SIGNED)).status == 200
    assert (await world.store.load(session.id)).room_status is RoomStatus.ACTIVE
    assert b'greenroom_webhooks_total{outcome="accepted"} 1.0' in world.metrics.exposition()


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer forged"}])
async def test_a_bad_signature_is_a_401(world: World, client: ClientSession, headers: dict[str, str]) -> None:
    world.verifier.notice = joined("room", "RM_1")
    answer = await client.post(HOOK, data=b"{}", headers=headers)
    assert answer.status == 401
    assert (await error_of(answer))["error"] == "Unauthorized"
    assert b'greenroom_webhooks_total{outcome="refused"} 1.0' in world.metrics.exposition()


async def test_an_early_or_unknown_one_is_accepted(world: World, client: ClientSession) -> None:
    world.verifier.notice = joined("room-of-somebody-else", "RM_9")
    assert (await client.post(HOOK, data=b"{}", headers=SIGNED)).status == 200


async def test_one_that_is_not_persisted_is_a_5xx_so_that_it_comes_again(
    world: World, client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = await world.create(client)
    session = await world.store.load(SessionId(created["session_id"]))
    world.verifier.notice = joined(created["room_name"], str(session.room_sid))

    async def fail(change: object, **how: object) -> Any:
        raise StoreError("down")

    monkeypatch.setattr(world.store, "commit", fail)
    assert (await client.post(HOOK, data=b"{}", headers=SIGNED)).status == 503
    assert b'greenroom_webhooks_total{outcome="failed"} 1.0' in world.metrics.exposition()
