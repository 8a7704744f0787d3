"""What a participant may do is what its token says, and what the room service says later."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from livekit import api, rtc

from tests.conformance.cameras import publish, publishing, viewing
from tests.conformance.stage import WITHIN_S, Stage, tell, until

pytestmark = pytest.mark.integration

CAMERA = rtc.TrackSource.SOURCE_CAMERA
MICROPHONE = rtc.TrackSource.SOURCE_MICROPHONE


async def is_published(room: rtc.Room, source: rtc.TrackSource.ValueType, *, within_s: float = 2.0) -> bool:
    """Try to publish; a server that refuses may also leave the SDK waiting."""
    if source == CAMERA:
        track: rtc.LocalTrack = rtc.LocalVideoTrack.create_video_track("camera", rtc.VideoSource(64, 48))
    else:
        track = rtc.LocalAudioTrack.create_audio_track("microphone", rtc.AudioSource(48_000, 1))
    try:
        async with asyncio.timeout(within_s):
            await publish(room, track, rtc.TrackPublishOptions(source=source))
    except (TimeoutError, rtc.participant.PublishTrackError):
        return False
    return True


async def test_who_may_not_publish_does_not(stage: Stage) -> None:
    alice = await stage.join("alice", can_publish=False)
    assert not await is_published(alice, MICROPHONE)
    assert not (await stage.participants())["alice"].tracks


async def test_only_the_sources_of_the_token_are_published(stage: Stage) -> None:
    alice = await stage.join("alice", can_publish_sources=["microphone"])
    assert await is_published(alice, MICROPHONE, within_s=WITHIN_S)
    assert not await is_published(alice, CAMERA)
    assert [track.source for track in (await stage.participants())["alice"].tracks] == [MICROPHONE]


async def test_who_may_not_send_data_is_not_heard(stage: Stage) -> None:
    got: list[bytes] = []
    bob = await stage.join("bob")
    bob.on("data_received", lambda packet: got.append(packet.data))
    silent, loud = await stage.join("silent", can_publish_data=False), await stage.join("loud")
    await stage.here("bob", "silent", "loud")
    try:
        async with asyncio.timeout(1):
            await silent.local_participant.publish_data(b"no", topic="t")
    except (TimeoutError, rtc.participant.PublishDataError):
        pass  # the SDK may refuse by itself
    await tell(loud, b"yes", lambda: got)
    await asyncio.sleep(0.3)
    assert set(got) == {b"yes"}


async def test_who_may_not_subscribe_is_sent_nothing(stage: Stage) -> None:
    seeing, blind = rtc.Room(), rtc.Room()
    async with viewing(seeing) as seen, viewing(blind) as unseen:
        await stage.join("seeing", into=seeing)
        await stage.join("blind", into=blind, can_subscribe=False)
        async with publishing(await stage.join("alice")) as alice:
            sid = (await alice.film()).sid
            await seen.sees(sid)
        assert (unseen.counters, unseen.sound) == ({}, {})


async def allow(stage: Stage, identity: str, **permission: Any) -> None:
    """Replace all of somebody's permissions."""
    given = api.ParticipantPermission(can_publish_data=True, **permission)
    await stage.rooms.update_participant(
        api.UpdateParticipantRequest(room=stage.name, identity=identity, permission=given)
    )


async def test_a_permission_to_publish_is_taken_back_and_given_again(stage: Stage) -> None:
    bob = rtc.Room()
    async with viewing(bob) as seen, publishing(await stage.join("alice")) as alice:
        await stage.join("bob", into=bob)
        sid = (await alice.film()).sid
        await seen.sees(sid)
        await allow(stage, "alice", can_subscribe=True)
        await until(lambda: sid in seen.unsubscribed)
        info = (await stage.participants())["alice"]
        assert not info.tracks
        assert not info.permission.can_publish
        assert not await is_published(alice.room, MICROPHONE)
        await allow(stage, "alice", can_subscribe=True, can_publish=True)
        assert await is_published(alice.room, MICROPHONE, within_s=WITHIN_S)


async def test_a_permission_to_subscribe_is_taken_back_and_given_again(stage: Stage) -> None:
    bob = rtc.Room()
    async with viewing(bob) as seen, publishing(await stage.join("alice")) as alice:
        await stage.join("bob", into=bob)
        sid = (await alice.film()).sid
        await seen.sees(sid)
        await allow(stage, "bob", can_publish=True)
        await asyncio.sleep(0.5)  # what was under way
        before = len(seen.read(sid))
        await asyncio.sleep(0.5)
        assert len(seen.read(sid)) == before
        await allow(stage, "bob", can_publish=True, can_subscribe=True)
        await seen.sees(sid)


async def test_who_publishes_says_who_may_subscribe(stage: Stage) -> None:
    bob, carol = rtc.Room(), rtc.Room()
    async with viewing(bob) as seen, viewing(carol) as unseen, publishing(await stage.join("alice")) as alice:
        await stage.join("bob", into=bob)
        await stage.join("carol", into=carol)
        allowed = rtc.ParticipantTrackPermission(participant_identity="bob", allow_all=True)
        alice.room.local_participant.set_track_subscription_permissions(
            allow_all_participants=False, participant_permissions=[allowed]
        )
        camera = await alice.film()
        await seen.sees(camera.sid, count=20)
        assert unseen.counters == {}
        alice.room.local_participant.set_track_subscription_permissions(allow_all_participants=True)
        await unseen.sees(camera.sid)
