"""One room: who is told what when people come, publish, change and go."""

from __future__ import annotations

from typing import Any

import pytest
from livekit.protocol import models, rtc

from engine.limits import JoinRefusedError, PublishRefusedError, TooLongError
from tests.engine.clients import World, claims_for, connect, published, seen


@pytest.fixture
def world() -> World:
    return World()


def test_others_see_a_participant_when_its_media_stands(world: World) -> None:
    room = world.room()
    ada = world.join(room, "ada")
    bob = room.join(claims_for("bob"), connect, client=models.ClientInfo())
    assert seen(ada).updates() == []
    assert [one.identity for one in room.others(bob)] == ["ada"]
    room.activate(bob)
    room.activate(bob)
    states = [(one.identity, one.state) for one in seen(ada).updates()]
    assert states == [("bob", models.ParticipantInfo.ACTIVE)]
    assert world.names() == ["room_started", "participant_joined", "participant_joined"]


def test_who_leaves_takes_its_tracks_along_once(world: World) -> None:
    room = world.room()
    ada, bob = world.join(room, "ada"), world.join(room, "bob")
    track = published(room, bob)
    room.leave(bob, models.CLIENT_INITIATED)
    room.leave(bob, models.SIGNAL_CLOSE)
    last = seen(ada).updates()[-1]
    assert (last.state, last.disconnect_reason) == (
        models.ParticipantInfo.DISCONNECTED,
        models.CLIENT_INITIATED,
    )
    assert seen(ada).ended == [track.sid]
    assert world.names()[-2:] == ["track_unpublished", "participant_left"]


def test_who_never_got_media_aborted_its_connection(world: World) -> None:
    room = world.room()
    ada = room.join(claims_for("ada"), connect, client=models.ClientInfo())
    room.leave(ada, models.SIGNAL_CLOSE)
    assert world.names() == ["room_started", "participant_connection_aborted"]


def test_the_same_identity_puts_the_older_one_out(world: World) -> None:
    room = world.room(max_participants=1)
    first = world.join(room, "ada")
    second = world.join(room, "ada")
    assert seen(first).closed == models.DUPLICATE_IDENTITY
    assert room.participants == {"ada": second}
    assert first.has_left
    assert seen(second).closed is None


def test_a_full_room_takes_nobody_more(world: World) -> None:
    room = world.room(max_participants=1)
    world.join(room, "ada")
    with pytest.raises(JoinRefusedError, match="1 of 1"):
        world.join(room, "bob")


def test_nobody_is_told_of_the_hidden_one(world: World) -> None:
    room = world.room()
    ada = world.join(room, "ada")
    spy = world.join(room, "spy", hidden=True)
    room.update(spy, name="Spy")
    room.leave(spy, models.CLIENT_INITIATED)
    assert seen(ada).updates() == []
    assert [one.name for one in seen(spy).updates()] == ["Spy"]
    assert list(room.others(ada)) == []
    assert room.info().num_participants == 1


def test_a_ready_track_goes_to_all_who_may_have_it(world: World) -> None:
    room = world.room()
    ada, bob = world.join(room, "ada"), world.join(room, "bob")
    deaf = world.join(room, "deaf", can_subscribe=False)
    track = published(room, ada, name="voice", stereo=True)
    assert seen(bob).subscribed == {track.sid}
    assert seen(deaf).subscribed == seen(ada).subscribed == set()
    assert (track.info.name, track.info.stereo, track.info.source) == ("voice", True, models.MICROPHONE)
    assert seen(bob).updates()[-1].tracks[0].sid == track.sid
    late = world.join(room, "late")
    room.subscribe_all(late)
    assert seen(late).subscribed == {track.sid}
    room.unpublish(track)
    room.unpublish(track)
    assert seen(bob).subscribed == set()
    assert list(seen(bob).updates()[-1].tracks) == []
    assert world.names().count("track_unpublished") == 1


def test_who_wants_no_tracks_gets_none(world: World) -> None:
    room = world.room()
    bob = room.join(claims_for("bob"), connect, client=models.ClientInfo(), auto_subscribe=False)
    track = published(room, world.join(room, "ada"))
    room.subscribe_all(bob)
    assert seen(bob).subscribed == set()
    assert room.may_subscribe(bob, track)


def test_a_forbidden_source_is_refused(world: World) -> None:
    room = world.room()
    ada = world.join(room, "ada", can_publish_sources=["camera"])
    with pytest.raises(PublishRefusedError, match="ada may not publish MICROPHONE") as refused:
        published(room, ada)
    assert refused.value.reason == rtc.RequestResponse.NOT_ALLOWED
    assert ada.tracks == {}


def test_the_same_track_announced_again_is_the_same(world: World) -> None:
    room = world.room()
    ada = world.join(room, "ada")
    assert published(room, ada) is published(room, ada)
    assert world.names().count("track_published") == 1


def test_a_mute_by_the_server_is_told_to_its_publisher(world: World) -> None:
    room = world.room()
    ada, bob = world.join(room, "ada"), world.join(room, "bob")
    track = published(room, ada)
    room.mute(track, True, by_server=True)
    asked = [one.mute for one in seen(ada).sent if one.HasField("mute")]
    assert [(one.sid, one.muted) for one in asked] == [(track.sid, True)]
    assert seen(ada).muted == [(track.sid, True)]
    assert seen(bob).updates()[-1].tracks[0].muted
    room.mute(track, False)
    assert seen(ada).muted == [(track.sid, True), (track.sid, False)]
    assert len([one for one in seen(ada).sent if one.HasField("mute")]) == 1


def test_what_a_new_permission_forbids_ends_at_once(world: World) -> None:
    room = world.room()
    ada, bob = world.join(room, "ada"), world.join(room, "bob")
    voice, ear = published(room, ada), published(room, bob)
    room.update(ada, permission=models.ParticipantPermission(can_publish_data=True))
    assert ada.tracks == {}
    assert [
        one.track_unpublished.track_sid for one in seen(ada).sent if one.HasField("track_unpublished")
    ] == [voice.sid]
    assert seen(ada).subscribed == seen(bob).subscribed == set()
    room.update(ada, permission=models.ParticipantPermission(can_subscribe=True))
    assert seen(ada).subscribed == {ear.sid}


def test_a_publisher_chooses_who_may_subscribe(world: World) -> None:
    room = world.room()
    ada, bob, eve = (world.join(room, name) for name in ("ada", "bob", "eve"))
    track = published(room, ada)
    only_bob = rtc.TrackPermission(participant_identity="bob", all_tracks=True)
    room.allow(ada, rtc.SubscriptionPermission(all_participants=False, track_permissions=[only_bob]))
    assert (seen(bob).subscribed, seen(eve).subscribed) == ({track.sid}, set())
    second = published(room, ada, cid="second")
    assert (seen(bob).subscribed, seen(eve).subscribed) == ({track.sid, second.sid}, set())
    assert not room.may_subscribe(eve, second)
    room.allow(ada, rtc.SubscriptionPermission(all_participants=True))
    assert seen(eve).subscribed == {track.sid, second.sid}
    told = [one.subscription_permission_update for one in seen(eve).sent]
    assert [one.allowed for one in told if one.track_sid == track.sid] == [False, True]


def test_too_much_metadata_changes_nothing(world: World) -> None:
    room = world.room(metadata="before")
    ada = world.join(room, "ada")
    with pytest.raises(TooLongError):
        room.update(ada, name="Ada", metadata="m" * 262_145)
    with pytest.raises(TooLongError):
        room.set_metadata("m" * 262_145)
    assert (ada.name, room.info().metadata, seen(ada).updates()) == ("", "before", [])
    room.set_metadata("after")
    assert seen(ada).sent[-1].room_update.room.metadata == "after"


def test_data_goes_to_those_it_names_or_to_all_others(world: World) -> None:
    room = world.room()
    ada, bob, eve = (world.join(room, name) for name in ("ada", "bob", "eve"))
    joining = room.join(claims_for("late"), connect, client=models.ClientInfo())
    room.relay(models.DataPacket(), models.DataPacket.RELIABLE, sender=ada)
    assert [len(seen(one).packets) for one in (ada, bob, eve, joining)] == [0, 1, 1, 0]
    room.relay(models.DataPacket(destination_identities=["eve"]), models.DataPacket.LOSSY, sender=ada)
    assert [len(seen(one).packets) for one in (ada, bob, eve)] == [0, 1, 2]
    by_sid = models.DataPacket(user=models.UserPacket(destination_sids=[bob.sid]))
    room.relay(by_sid, models.DataPacket.RELIABLE)
    assert [len(seen(one).packets) for one in (ada, bob, eve)] == [0, 2, 2]


def test_the_version_grows_with_every_change(world: World) -> None:
    room = world.room()
    ada, bob = world.join(room, "ada"), world.join(room, "bob")
    published(room, bob)
    room.update(bob, metadata="m")
    versions = [one.version for one in seen(ada).updates()]
    assert versions == sorted(set(versions))
    assert len(versions) == 3


def test_a_publisher_says_what_its_track_is_by_now(world: World) -> None:
    room = world.room()
    ada, bob = world.join(room, "ada"), world.join(room, "bob")
    sound = published(room, ada, audio_features=[models.TF_STEREO], stereo=True)
    room.describe(sound, rtc.UpdateLocalAudioTrack(features=[models.TF_NO_DTX, models.TF_NO_DTX]))
    (told,) = seen(bob).updates()[-1].tracks
    assert (told.stereo, told.disable_dtx, list(told.audio_features)) == (False, True, [models.TF_NO_DTX])
    room.describe(sound, rtc.UpdateLocalVideoTrack(width=9, height=9))  # it has no pictures
    assert (sound.info.width, seen(ada).updates()[-1].tracks[0].width) == (0, 0)
    pictures = room.publish(ada, rtc.AddTrackRequest(cid="cam", type=models.VIDEO, source=models.CAMERA))
    before = len(seen(bob).sent)
    room.describe(pictures, rtc.UpdateLocalVideoTrack(width=8, height=6))
    assert (pictures.info.width, pictures.info.height) == (8, 6)
    assert len(seen(bob).sent) == before, "nobody knows of it yet"


@pytest.mark.parametrize("said", [{"type": models.DATA}, {"type": models.VIDEO, "sid": "TR_x"}])
def test_data_and_a_second_codec_are_no_tracks_here(world: World, said: dict[str, Any]) -> None:
    room = world.room()
    with pytest.raises(PublishRefusedError) as refused:
        room.publish(world.join(room, "ada"), rtc.AddTrackRequest(cid="x", source=models.CAMERA, **said))
    assert refused.value.reason == rtc.RequestResponse.UNSUPPORTED_TYPE
