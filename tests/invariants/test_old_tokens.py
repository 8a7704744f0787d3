"""Shown by 7: tokens of removed participants, old roles, old attempts and ended sessions let nobody stay."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from pathlib import Path

import pytest
from livekit import api

from tests.acceptance.system import joined, system
from tests.integration.servers import LiveKitFactory
from tests.invariants.old_tokens import (
    KINDS,
    OldToken,
    TokenMaker,
    Tried,
    attempt,
    attempt_by_signalling,
    lag_meter,
    opened_world,
    remove,
)
from tests.invariants.real.livekit_eye import livekit_eye

pytestmark = [pytest.mark.acceptance, pytest.mark.integration, pytest.mark.xdist_group("timed")]

IS_FULL = os.environ.get("GREENROOM_FULL") == "1"
TOKENS = 500 if IS_FULL else 50
PER_ROOM = 10
SIDE_BY_SIDE = 4  # by SDK, on two cores; without media many
WITH_WEBHOOKS_S = 0.5
INTERVAL_S = 5.0


@pytest.mark.timeout(900 if IS_FULL else 150)
@pytest.mark.parametrize("with_webhooks", [True, False], ids=["webhooks", "no-webhooks"])
async def test_no_old_token_lets_anybody_stay_nor_brings_a_room_back(
    tmp_path: Path, fresh_livekit_server: LiveKitFactory, with_webhooks: bool
) -> None:
    settings = {"reconcile__participants_interval": str(INTERVAL_S)}
    bound_s = WITH_WEBHOOKS_S if with_webhooks else INTERVAL_S + 2.0
    async with (
        system(tmp_path, fresh_livekit_server, with_webhooks=with_webhooks, **settings) as running,
        opened_world(running) as world,
        contextlib.AsyncExitStack() as stack,
    ):
        maker = TokenMaker(running)
        rooms = [
            await running.create(user_identity=f"host-{n}", required_services=["asr"])
            for n in range(TOKENS // PER_ROOM)
        ]
        hosts = [await stack.enter_async_context(joined(room)) for room in rooms]
        old = [await maker.make(KINDS[n % len(KINDS)], n, rooms[n // PER_ROOM]) for n in range(TOKENS)]
        slots = asyncio.Semaphore(SIDE_BY_SIDE if with_webhooks else TOKENS)

        async def tried(token: OldToken) -> Tried:
            async with slots:
                if with_webhooks:
                    return await attempt(running.media, world, token)
                # Without webhooks the cheaper way will do: who only signals is listed as well.
                return await attempt_by_signalling(running.media.url, token)

        late: list[tuple[float, float, str]] = []  # how long, how late this process was, who

        async def judged(token: OldToken) -> Tried:
            started = time.monotonic()
            result = await tried(token)
            lag_s = lag.worst_since(started)
            if (result.stayed_s or 0.0) > bound_s + lag_s:
                late.append((result.stayed_s or 0.0, lag_s, token.identity))
            return result

        async with lag_meter() as lag:
            results = await asyncio.gather(*map(judged, old))

        stays = sorted((r.stayed_s, r.token.kind) for r in results if r.stayed_s is not None)
        p50, p99 = (stays[int(len(stays) * q)][0] for q in (0.5, 0.99))
        print(f"{TOKENS} tokens: p50 {p50:.3f} p99 {p99:.3f} most {stays[-1]} own lag {lag.worst_s:.3f} s")
        assert late == []
        # LiveKit refused the hopeless by itself, and let the others in, or this would show nothing.
        assert "ended" not in {kind for _, kind in stays}
        hopeful = {token.identity for token in old if not token.is_hopeless}

        async def are_refused() -> bool:
            return hopeful <= world.refused()

        await running.until(are_refused, within_s=2.0, what=f"all of {hopeful} to be refused")
        assert not world.identities("client_joined") & hopeful  # they never counted as clients

        # No room came back, nobody of them is there, and who belongs there still is.
        listed = await world.eye.rooms()
        assert listed is not None
        assert not [token.room_name for token in old if token.is_hopeless and token.room_name in listed]
        assert {room["room_name"] for room in rooms} <= set(listed)
        for number, room in enumerate(rooms):
            assert await world.eye.identities(room["room_name"]) == frozenset({f"host-{number}"})
        assert all(host.isconnected() for host in hosts)


async def test_who_was_removed_comes_back_with_a_new_token_and_stays(
    tmp_path: Path, fresh_livekit_server: LiveKitFactory
) -> None:
    async with system(tmp_path, fresh_livekit_server) as running, livekit_eye(running.media) as eye:
        created = await running.create(user_identity="anna")
        path = f"/api/v1/sessions/{created['session_id']}"
        async with joined(created) as first:
            await running.until_status(created["session_id"], "Active")
            await remove(running, created, "anna", bar=True)

            async def is_out() -> bool:
                return not first.isconnected()

            await running.until(is_out, within_s=2, what="anna to be out")
        await running.until_status(created["session_id"], "Ready")
        refused = await running.post(f"{path}/token", {"user_identity": "anna"}, expect=403)
        assert "was removed from this session and is kept out" in refused["message"]
        await remove(running, created, "anna", bar=False)
        again = await running.post(f"{path}/token", {"user_identity": "anna"})
        async with joined(again) as second:
            await running.until_status(created["session_id"], "Active")
            await asyncio.sleep(1.0)
            assert second.isconnected()
            assert await eye.identities(created["room_name"]) == frozenset({"anna"})
        names = [name for _, name in await running.events(created["session_id"])]
        assert names.count("participant_removed") == 2  # barred, and let ask again
        assert names.count("client_joined") == 2


async def test_who_gets_another_role_is_put_out_of_the_earlier_one_and_stays_in_the_new(
    tmp_path: Path, fresh_livekit_server: LiveKitFactory
) -> None:
    async with system(tmp_path, fresh_livekit_server) as running:
        created = await running.create(user_identity="anna")
        path = f"/api/v1/sessions/{created['session_id']}"
        async with joined(created) as first:
            await running.until_status(created["session_id"], "Active")
            operator = await running.post(f"{path}/token", {"user_identity": "anna", "role": "operator"})

            async def is_out() -> bool:
                return not first.isconnected()

            await running.until(is_out, within_s=2, what="the client to be out")
        await running.until_status(created["session_id"], "Ready")
        async with joined(operator) as second:
            await asyncio.sleep(1.0)
            assert second.isconnected()
            listed = (await running.get(f"{path}/participants"))["participants"]
            assert [(p["identity"], p["role"], p["admitted"]) for p in listed] == [("anna", "operator", True)]
            assert (await running.session(created["session_id"]))["room_status"] == "Ready"


async def test_control_livekits_own_removal_lets_the_same_token_in_again(
    tmp_path: Path, fresh_real_livekit_server: LiveKitFactory
) -> None:
    """What we do is needed: RemoveParticipant alone revokes nothing."""
    media = fresh_real_livekit_server()
    http = media.url.replace("ws://", "http://")
    async with api.LiveKitAPI(http, media.api_key, media.api_secret) as client, livekit_eye(media) as eye:
        await client.room.create_room(api.CreateRoomRequest(name="naive", empty_timeout=60))
        grants = api.VideoGrants(room_join=True, room="naive")
        token = api.AccessToken(media.api_key, media.api_secret).with_identity("anna").with_grants(grants)
        created = {"livekit_url": media.url, "access_token": token.to_jwt()}
        async with joined(created):
            who = api.RoomParticipantIdentity(room="naive", identity="anna")
            await client.room.remove_participant(who)
        async with joined(created) as again:
            await asyncio.sleep(WITH_WEBHOOKS_S + 1.0)
            assert again.isconnected()
            assert await eye.identities("naive") == frozenset({"anna"})
