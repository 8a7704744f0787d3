"""Media goes from who publishes to who subscribes: pictures are read and tones heard, in both signallings."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from livekit import api, rtc
from livekit.protocol import models

from tests.conformance.cameras import Codec, publications, publishing, viewing
from tests.conformance.differences import livekit_does
from tests.conformance.stage import Stage, until

pytestmark = pytest.mark.integration

ONE = rtc.RoomOptions(single_peer_connection=True)
TWO = rtc.RoomOptions(single_peer_connection=False)
ASK = rtc.RoomOptions(auto_subscribe=False)
KEY = b"a key of the room's own"


def encrypted(key: bytes) -> rtc.RoomOptions:
    return rtc.RoomOptions(
        encryption=rtc.E2EEOptions(key_provider_options=rtc.KeyProviderOptions(shared_key=key))
    )


@pytest.mark.parametrize("options", [ONE, TWO], ids=["one connection", "two connections"])
@pytest.mark.parametrize("codec", ["h264", "vp8"])
async def test_encoded_pictures_and_sound_arrive_as_they_were_sent(
    stage: Stage, codec: Codec, options: rtc.RoomOptions
) -> None:
    bob = rtc.Room()
    async with viewing(bob) as seen, publishing(await stage.join("alice", options=options)) as alice:
        camera, microphone = await alice.film(codec=codec, first=1_000), await alice.hum(hz=600)
        await stage.join("bob", into=bob, options=options)
        counters = await seen.sees(camera.sid, count=20)
        await seen.hears(microphone.sid, 600)
    assert all(later > earlier >= 1_000 for earlier, later in pairwise(counters))
    assert None not in seen.counters[camera.sid], "no picture is damaged"
    told_of = publications(bob, "alice")
    assert set(told_of) == {camera.sid, microphone.sid}
    told = told_of[camera.sid]
    assert (told.name, told.kind, told.source) == (
        "camera",
        rtc.TrackKind.KIND_VIDEO,
        rtc.TrackSource.SOURCE_CAMERA,
    )
    assert told.mime_type.lower() == f"video/{codec}"
    assert told_of[microphone.sid].source == rtc.TrackSource.SOURCE_MICROPHONE
    tracks = {info.sid: info for info in (await stage.participants())["alice"].tracks}
    assert tracks[camera.sid].mime_type.lower() == f"video/{codec}"
    assert (tracks[camera.sid].type, tracks[camera.sid].source) == (
        models.TrackType.VIDEO,
        models.TrackSource.CAMERA,
    )
    assert tracks[microphone.sid].type == models.TrackType.AUDIO


async def test_three_see_and_hear_each_other(stage: Stage) -> None:
    rooms = {identity: rtc.Room() for identity in ("alice", "bob", "carol")}
    hz = dict(zip(rooms, (400, 700, 1_100), strict=True))
    async with (
        viewing(rooms["alice"]) as a,
        viewing(rooms["bob"]) as b,
        viewing(rooms["carol"]) as c,
        publishing(rooms["alice"]) as pa,
        publishing(rooms["bob"]) as pb,
        publishing(rooms["carol"]) as pc,
    ):
        viewers, publishers = (
            dict(zip(rooms, (a, b, c), strict=True)),
            dict(zip(rooms, (pa, pb, pc), strict=True)),
        )
        sids: dict[str, tuple[str, str]] = {}
        for number, (identity, publisher) in enumerate(publishers.items()):
            await stage.join(identity, into=rooms[identity])
            camera = await publisher.film(first=10_000 * (number + 1))
            sids[identity] = (camera.sid, (await publisher.hum(hz=hz[identity])).sid)
        for identity, viewer in viewers.items():
            for number, other in enumerate(rooms):
                if other == identity:
                    continue
                counters = await viewer.sees(sids[other][0])
                assert {counter // 10_000 for counter in counters} == {number + 1}
                await viewer.hears(sids[other][1], hz[other])


async def test_who_joins_late_sees_and_hears_at_once(stage: Stage) -> None:
    """No keyframe comes by itself: the publisher is asked for one."""
    async with publishing(await stage.join("alice")) as alice:
        camera = await alice.film()
        await asyncio.sleep(1)
        bob = rtc.Room()
        async with viewing(bob) as seen:
            await stage.join("bob", into=bob)
            assert (await seen.sees(camera.sid))[0] >= 15


async def test_what_is_muted_is_told_and_what_is_unmuted_comes_again(stage: Stage) -> None:
    bob = rtc.Room()
    muted: list[tuple[str, bool]] = []
    bob.on("track_muted", lambda who, publication: muted.append((publication.sid, True)))
    bob.on("track_unmuted", lambda who, publication: muted.append((publication.sid, False)))
    async with viewing(bob) as seen, publishing(await stage.join("alice")) as alice:
        await stage.join("bob", into=bob)
        microphone = await alice.hum()
        await seen.hears(microphone.sid, 440)
        assert isinstance(microphone.track, rtc.LocalAudioTrack)
        microphone.track.mute()
        await until(lambda: muted == [(microphone.sid, True)], lambda: muted)
        assert bob.remote_participants["alice"].track_publications[microphone.sid].muted
        (info,) = (await stage.participants())["alice"].tracks
        assert info.muted
        microphone.track.unmute()
        await until(lambda: muted == [(microphone.sid, True), (microphone.sid, False)], lambda: muted)
        await seen.hears(microphone.sid, 440)


async def test_the_room_service_mutes_and_who_published_is_told(stage: Stage) -> None:
    alice_room, bob = rtc.Room(), rtc.Room()
    told: list[str] = []
    alice_room.on("track_muted", lambda who, publication: told.append(f"alice: {publication.sid}"))
    bob.on("track_muted", lambda who, publication: told.append(f"bob: {publication.sid}"))
    await stage.join("bob", into=bob)
    async with publishing(await stage.join("alice", into=alice_room)) as alice:
        sid = (await alice.hum()).sid
        await until(lambda: sid in publications(bob, "alice"))
        answer = await stage.rooms.mute_published_track(
            api.MuteRoomTrackRequest(room=stage.name, identity="alice", track_sid=sid, muted=True)
        )
        assert (answer.track.sid, answer.track.muted) == (sid, True)
        await until(lambda: set(told) == {f"alice: {sid}", f"bob: {sid}"}, lambda: told)


async def test_what_is_taken_back_is_gone_and_what_is_published_again_is_another_track(stage: Stage) -> None:
    bob = rtc.Room()
    gone: list[str] = []
    bob.on("track_unpublished", lambda publication, who: gone.append(publication.sid))
    async with viewing(bob) as seen, publishing(await stage.join("alice")) as alice:
        await stage.join("bob", into=bob)
        sids = []
        for first in (100, 50_000):
            camera = await alice.film(first=first)
            sids.append(camera.sid)
            counters = await seen.sees(camera.sid)
            assert all(first <= counter < first + 5_000 for counter in counters)
            await alice.stop()
            await alice.room.local_participant.unpublish_track(camera.sid)
            await until(lambda: gone == sids and seen.unsubscribed == sids, lambda: (gone, seen.unsubscribed))
            assert (await stage.participants())["alice"].tracks == []
    assert len(set(sids)) == 2


async def test_the_tracks_of_who_leaves_are_gone(stage: Stage) -> None:
    bob = rtc.Room()
    async with viewing(bob) as seen, publishing(await stage.join("alice")) as alice:
        await stage.join("bob", into=bob)
        camera, microphone = await alice.film(), await alice.hum()
        await seen.sees(camera.sid)
        await seen.hears(microphone.sid, 440)
        await alice.stop()
        await alice.room.disconnect()
        await until(lambda: set(seen.unsubscribed) == {camera.sid, microphone.sid})
    assert "alice" not in bob.remote_participants


async def test_who_asks_for_tracks_gets_those_and_gives_them_back(stage: Stage) -> None:
    bob = rtc.Room()
    async with viewing(bob) as seen, publishing(await stage.join("alice")) as alice:
        await stage.join("bob", into=bob, options=ASK)
        first, second = await alice.film(first=100), await alice.film(first=50_000)
        await until(lambda: set(publications(bob, "alice")) == {first.sid, second.sid})
        publications(bob, "alice")[second.sid].set_subscribed(True)
        assert min(await seen.sees(second.sid)) >= 50_000
        assert first.sid not in seen.counters
        publications(bob, "alice")[second.sid].set_subscribed(False)
        await until(lambda: second.sid in seen.unsubscribed)
        publications(bob, "alice")[first.sid].set_subscribed(True)
        assert max(await seen.sees(first.sid)) < 50_000
        publications(bob, "alice")[second.sid].set_subscribed(True)
        await seen.sees(second.sid)


async def test_the_room_service_subscribes_somebody_and_takes_it_back(stage: Stage) -> None:
    bob = rtc.Room()
    async with viewing(bob) as seen, publishing(await stage.join("alice")) as alice:
        await stage.join("bob", into=bob)
        sid = (await alice.film()).sid
        await seen.sees(sid)
        request = api.UpdateSubscriptionsRequest(
            room=stage.name, identity="bob", track_sids=[sid], subscribe=False
        )
        await stage.rooms.update_subscriptions(request)
        await asyncio.sleep(0.5)  # what was under way
        before = len(seen.read(sid))
        await asyncio.sleep(0.5)
        assert len(seen.read(sid)) == before
        request.subscribe = True
        await stage.rooms.update_subscriptions(request)
        await seen.sees(sid)


async def test_of_a_simulcast_the_top_layer_comes_unless_livekit_is_asked_for_less(stage: Stage) -> None:
    size = (960, 540)  # the layers of a smaller picture are all of its size
    bob = rtc.Room()
    async with viewing(bob) as seen, publishing(await stage.join("alice")) as alice:
        await stage.join("bob", into=bob)
        camera = await alice.draw(simulcast=True, size=size)
        await until(
            lambda: size in seen.sizes.get(camera.sid, []), lambda: set(seen.sizes.get(camera.sid, []))
        )
        counters = await seen.sees(camera.sid, count=10)
        assert seen.sizes[camera.sid][-1] == size
        publication = bob.remote_participants["alice"].track_publications[camera.sid]
        publication.set_video_quality(rtc.VideoQuality.VIDEO_QUALITY_LOW)
        if livekit_does(stage.engine, "lower layer"):
            await until(lambda: seen.sizes[camera.sid][-1] < size, lambda: set(seen.sizes[camera.sid]))
        else:
            await seen.sees(camera.sid, count=30)
            assert seen.sizes[camera.sid][-1] == size
    assert all(later > earlier for earlier, later in pairwise(counters))
    (track,) = (await stage.participants())["alice"].tracks
    assert track.simulcast
    assert (track.width, track.height) == size


async def test_what_is_encrypted_end_to_end_opens_with_its_key_alone(stage: Stage) -> None:
    bob, mallory = rtc.Room(), rtc.Room()
    async with (
        viewing(bob) as seen,
        viewing(mallory) as unseen,
        publishing(await stage.join("alice", options=encrypted(KEY))) as alice,
    ):
        await stage.join("bob", into=bob, options=encrypted(KEY))
        await stage.join("mallory", into=mallory, options=encrypted(b"another key"))
        camera, microphone = await alice.draw(), await alice.hum()
        await seen.sees(camera.sid, count=20)
        await seen.hears(microphone.sid, 440)
        assert unseen.read(camera.sid) == []
    infos = (await stage.participants())["alice"].tracks
    assert {info.encryption for info in infos} == {models.Encryption.GCM}
