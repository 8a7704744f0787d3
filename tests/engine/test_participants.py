"""What others are told of a participant, and what it may do."""

from __future__ import annotations

from livekit.protocol import models, rtc

from engine.participants import new_sid
from tests.engine.clients import World, published


def test_ids_look_like_livekits_and_do_not_repeat() -> None:
    made = {new_sid("PA_") for _ in range(1_000)}
    assert len(made) == 1_000
    assert all(sid.startswith("PA_") and len(sid) == 15 for sid in made)


def test_a_participant_is_told_with_its_announced_tracks_only() -> None:
    world = World()
    room = world.room()
    ada = world.join(room, "ada", kind="agent")
    room.publish(ada, rtc.AddTrackRequest(cid="later", type=models.VIDEO))
    assert (list(ada.info().tracks), ada.info().is_publisher) == ([], False)
    track = published(room, ada)
    info = ada.info()
    assert [one.sid for one in info.tracks] == [track.sid]
    assert (info.identity, info.kind, info.is_publisher) == ("ada", models.ParticipantInfo.AGENT, True)
    assert info.state == models.ParticipantInfo.ACTIVE


def test_sources_narrow_what_may_be_published() -> None:
    world = World()
    ada = world.join(world.room(), "ada", can_publish_sources=["microphone"])
    assert ada.may_publish(models.MICROPHONE)
    assert not ada.may_publish(models.CAMERA)
    mute = world.join(world.room(), "mute", can_publish=False)
    assert not mute.may_publish(models.MICROPHONE)


def test_an_attribute_set_to_nothing_goes_and_what_is_empty_stays() -> None:
    world = World()
    ada = world.join(world.room(), "ada")
    ada.change(name="Ada", metadata="m", attributes={"a": "1", "b": "2"})
    ada.change(attributes={"a": ""})
    assert (ada.name, ada.metadata, ada.attributes) == ("Ada", "m", {"b": "2"})
