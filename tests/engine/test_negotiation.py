"""Which track goes where: sections filled, freed and asked for, in both ways of signalling."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from livekit.protocol import models, rtc

from engine.forwarding import Forwarder, Media
from engine.negotiation import Negotiation
from engine.participants import Participant, Track
from engine.sdp import DESCRIPTOR, Codec, Description, Local, SdpError
from tests.engine.clients import World, seen
from tests.engine.sessions import offer, section

VP8 = Codec(mime="video/VP8", rate=90_000, encoding="VP8/90000")
OPUS = Codec(mime="audio/opus", rate=48_000, encoding="opus/48000/2")
AV1 = Codec(mime="video/AV1", rate=90_000, encoding="AV1/90000")


class Peer:
    """A connection that is never made."""

    media: Media

    def local(self) -> Local:
        return Local(username="u", password="p", fingerprint="CC", host="127.0.0.1", port=7)

    def start(self, remote: Description) -> None:
        """Nothing is connected."""

    def send_rtcp(self, compound: bytes) -> None:
        """Nothing is sent."""


def make_peer(is_primary: bool) -> Any:
    peer: Any = Peer()
    peer.media = Media(peer)
    return peer


class Client:
    """A participant with its negotiation, and what it was told."""

    def __init__(self, world: World, name: str, *, is_single: bool = True) -> None:
        room = world.rooms.get("tea") or world.room()
        self.me = world.join(room, name)
        self.negotiation = Negotiation(self.me, make_peer, is_single=is_single)

    def told(self, kind: str) -> list[Any]:
        return [getattr(one, kind) for one in seen(self.me).sent if one.WhichOneof("message") == kind]

    def answers(self, *sections: list[str]) -> Description:
        """Offer; give the answer."""
        self.negotiation.take_offer(offer(*sections))
        return Description(self.told("answer")[-1].sdp)


def track(owner: Participant, codec: Codec = VP8) -> Track:
    """Publish a track with its media."""
    made = owner.room.publish(owner, rtc.AddTrackRequest(cid=f"c{len(owner.tracks)}", source=models.CAMERA))
    made.media = Forwarder(make_peer(True), codec, level_id=0)
    owner.room.media_ready(made)
    return made


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def filled(answer: Description) -> dict[str, str]:
    """What each section that is sent holds."""
    return {one.mid: one.cid for one in answer.sections if one.sends and one.kind != "application"}


def recvonly(kind: str, mid: str) -> list[str]:
    return section(kind, mid, "a=recvonly")


async def test_a_track_that_was_announced_is_taken_with_one_codec() -> None:
    ada = Client(World(), "ada")
    announced = ada.me.room.publish(ada.me, rtc.AddTrackRequest(cid="cam", source=models.CAMERA))
    video = section("video", "7", "a=sendonly", "a=msid:- cam", "a=ssrc:5 cname:x")
    answer = ada.answers(section("application", "6"), video)
    assert list(answer.sections[1].codecs().values()) == [VP8]
    assert (answer.sections[1].receives, answer.sections[1].sends) == (True, False)
    assert (announced.info.mime_type, announced.info.mid, announced.is_ready) == ("video/VP8", "7", True)
    again = ada.answers(section("application", "6"), video)
    assert again.sections[1].receives
    assert len(ada.me.tracks) == 1


async def test_a_codec_that_the_client_chose_after_its_offer_is_taken_instead() -> None:
    """LiveKit's Rust SDK offers a new track now and then before it has set the codec that was asked for."""
    world = World()
    ada, bob = Client(world, "ada"), Client(world, "bob")
    announced = ada.me.room.publish(ada.me, rtc.AddTrackRequest(cid="cam", source=models.CAMERA))
    sent = ("a=sendonly", "a=msid:- cam", "a=ssrc:5 cname:x")
    ada.answers(section("video", "7", *sent))
    first = announced.media
    _, *lines = section("video", "7", *sent)
    answer = ada.answers(["m=video 9 UDP/TLS/RTP/SAVPF 103", *lines])
    assert [one.mime for one in answer.sections[0].codecs().values()] == ["video/H264"]
    assert (announced.info.mime_type, len(announced.info.codecs)) == ("video/H264", 1)
    assert announced.media is not first
    assert seen(bob.me).subscribed == {announced.sid}
    assert [one.tracks[0].mime_type for one in seen(bob.me).updates()[-2:]] == ["video/VP8", "video/H264"]
    assert list(ada.me.tracks) == [announced.sid]


@pytest.mark.parametrize(
    ("wish", "mime"),
    [("h264", "video/H264"), ("video/H264", "video/H264"), ("vp8", "video/VP8"), ("vp9", "video/VP8")],
)
async def test_a_track_is_taken_in_the_codec_that_its_publisher_wishes(wish: str, mime: str) -> None:
    ada = Client(World(), "ada")
    layers = [models.VideoLayer(quality=models.HIGH, width=640)]
    wishes = [rtc.SimulcastCodec(codec=wish, layers=layers), rtc.SimulcastCodec(codec="vp9")]
    add = rtc.AddTrackRequest(cid="cam", type=models.VIDEO, source=models.CAMERA, simulcast_codecs=wishes)
    announced = ada.me.room.publish(ada.me, add)
    answer = ada.answers(section("video", "7", "a=sendonly", "a=msid:- cam", "a=ssrc:5 cname:x"))
    assert [one.mime for one in answer.sections[0].codecs().values()] == [mime]
    (codec,) = announced.info.codecs
    assert (codec.mime_type, list(codec.layers)) == (mime, layers)


@pytest.mark.parametrize(
    ("mode", "taken", "is_simulcast"),
    [
        ("MODE_UNUSED", ["q", "h"], False),  # of VP9 they come in one stream, from which none can be left out
        ("ONE_SPATIAL_LAYER_PER_STREAM", ["h"], True),
    ],
)
async def test_of_layers_in_one_stream_all_are_taken_else_the_top_one(
    mode: str, taken: list[str], *, is_simulcast: bool
) -> None:
    ada = Client(World(), "ada")
    codec = rtc.SimulcastCodec(codec="vp9", video_layer_mode=mode)
    add = rtc.AddTrackRequest(cid="cam", type=models.VIDEO, simulcast_codecs=[codec])
    announced = ada.me.room.publish(ada.me, add)
    layers = ["a=rid:h send", "a=rid:q send", "a=simulcast:send h;q"]
    vp9 = ["m=video 9 UDP/TLS/RTP/SAVPF 98", "a=mid:7", "a=rtpmap:98 VP9/90000", "a=sendonly"]
    (answered,) = ada.answers([*vp9, "a=msid:- cam", *layers]).sections
    assert answered.value("simulcast") == f"recv {';'.join(taken)}"
    assert answered.values("rid") == [f"{name} recv" for name in taken]
    assert announced.info.simulcast == is_simulcast


@pytest.mark.parametrize(("codec", "is_said"), [("AV1", True), ("VP9", False)])
async def test_what_says_which_layer_a_packet_is_of_is_taken_and_passed_on_of_av1(
    codec: str, *, is_said: bool
) -> None:
    world = World()
    ada, bob = Client(world, "ada"), Client(world, "bob", is_single=False)
    video = ["m=video 9 UDP/TLS/RTP/SAVPF 45", "a=mid:7", f"a=rtpmap:45 {codec}/90000"]
    ada.me.room.publish(ada.me, rtc.AddTrackRequest(cid="cam", type=models.VIDEO))
    answer = ada.answers([*video, "a=sendonly", "a=msid:- cam", f"a=extmap:12 {DESCRIPTOR}"])
    assert answer.sections[0].extension(DESCRIPTOR) == (12 if is_said else 0)
    (announced,) = ada.me.tracks.values()
    bob.negotiation.subscribe(announced)
    await settle()
    offered = Description(bob.told("offer")[-1].sdp).sections[-1]
    assert bool(offered.extension(DESCRIPTOR)) == is_said


async def test_a_track_that_nobody_announced_is_not_taken() -> None:
    ada = Client(World(), "ada")
    answer = ada.answers(section("audio", "0", "a=sendonly", "a=msid:- secret"))
    assert (answer.sections[0].receives, answer.sections[0].sends) == (False, False)


@pytest.mark.parametrize(
    "ending", [["a=inactive"], ["a=recvonly"], None], ids=["inactive", "recvonly", "gone"]
)
async def test_a_track_that_is_sent_no_more_is_over(ending: list[str] | None) -> None:
    world = World()
    ada, bob = Client(world, "ada"), Client(world, "bob")
    ada.me.room.publish(ada.me, rtc.AddTrackRequest(cid="cam", source=models.CAMERA))
    data = section("application", "6")
    ada.answers(data, section("video", "7", "a=sendonly", "a=msid:- cam"))
    assert seen(bob.me).subscribed
    ada.answers(data, *([] if ending is None else [section("video", "7", "a=msid:- cam", *ending)]))
    assert ada.me.tracks == {}
    assert seen(bob.me).subscribed == set()


async def test_sections_are_filled_and_more_are_asked_for_by_kind() -> None:
    world = World()
    ada, bob = Client(world, "ada"), Client(world, "bob")
    tracks = [track(ada.me, codec) for codec in (VP8, OPUS, VP8)]
    sections = [recvonly("audio", "0"), recvonly("video", "1"), section("application", "2")]
    assert filled(bob.answers(*sections)) == {}
    for one in tracks:
        bob.negotiation.subscribe(one)
        bob.negotiation.subscribe(one)
    await settle()
    (need,) = bob.told("media_sections_requirement")
    assert (need.num_audios, need.num_videos) == (0, 1)  # for two videos there is one section
    sections.append(recvonly("video", "3"))
    answer = bob.answers(*sections)
    assert filled(answer) == {"1": tracks[0].sid, "0": tracks[1].sid, "3": tracks[2].sid}
    told = bob.told("answer")[-1].mid_to_track_id
    assert dict(told) == filled(answer)
    assert [one.track_sid for one in ada.told("track_subscribed")] == [
        answer.sections[index].cid for index in (0, 1, 3)
    ]
    assert len(bob.told("media_sections_requirement")) == 1


async def test_a_client_that_offers_no_sections_is_not_asked_for_ever() -> None:
    world = World()
    ada, bob = Client(world, "ada"), Client(world, "bob")
    bob.negotiation.subscribe(track(ada.me))
    await settle()
    for _ in range(5):
        bob.answers(section("application", "2"))
    assert len(bob.told("media_sections_requirement")) <= 2


async def test_the_next_track_comes_over_a_section_only_after_the_end_of_the_last() -> None:
    world = World()
    ada, bob = Client(world, "ada"), Client(world, "bob")
    one, other = track(ada.me), track(ada.me)
    bob.negotiation.subscribe(one)
    assert filled(bob.answers(recvonly("video", "0"))) == {"0": one.sid}
    bob.negotiation.unsubscribe(one)
    bob.negotiation.subscribe(other)
    assert filled(bob.answers(recvonly("video", "0"))) == {}
    assert filled(bob.answers(recvonly("video", "0"))) == {"0": other.sid}
    assert isinstance(one.media, Forwarder)
    assert one.media.outs == []


async def test_a_codec_that_the_client_cannot_decode_is_said() -> None:
    world = World()
    ada, bob = Client(world, "ada"), Client(world, "bob")
    one = track(ada.me, AV1)
    bob.negotiation.subscribe(one)
    assert filled(bob.answers(recvonly("video", "0"))) == {}
    (error,) = bob.told("subscription_response")
    assert (error.track_sid, error.err) == (one.sid, models.SubscriptionError.SE_CODEC_UNSUPPORTED)


def answer_of(sdp: str, *, takes: bool = True) -> str:
    """Answer an offer of ours as a client does."""
    lines = [line for line in sdp.split("\r\n") if not line.startswith(("a=ssrc", "a=msid"))]
    return "\r\n".join(lines).replace("a=sendonly", "a=recvonly" if takes else "a=inactive")


async def test_v0_offers_what_the_client_is_to_get_one_offer_at_a_time() -> None:
    world = World()
    ada, bob = Client(world, "ada"), Client(world, "bob", is_single=False)
    bob.negotiation.offer()
    one, other = track(ada.me), track(ada.me, OPUS)
    for made in (one, other):
        bob.negotiation.subscribe(made)
    await settle()
    (first,) = bob.told("offer")  # the rest waits for its answer
    assert [section.kind for section in Description(first.sdp).sections] == ["application"]
    bob.negotiation.take_answer(rtc.SessionDescription(sdp=answer_of(first.sdp), id=first.id))
    second = bob.told("offer")[1]
    assert filled(Description(second.sdp)) == {"1": one.sid, "2": other.sid}
    assert one.media.outs == []
    bob.negotiation.take_answer(rtc.SessionDescription(sdp=answer_of(second.sdp), id=first.id))
    assert one.media.outs == []  # an answer to the offer before says nothing
    bob.negotiation.take_answer(rtc.SessionDescription(sdp=answer_of(second.sdp), id=second.id))
    assert [len(made.media.outs) for made in (one, other)] == [1, 1]
    assert len(bob.told("offer")) == 2


async def test_v0_uses_a_section_again_and_hears_what_is_declined() -> None:
    world = World()
    ada, bob = Client(world, "ada"), Client(world, "bob", is_single=False)
    one, other, third = track(ada.me), track(ada.me), track(ada.me)

    async def negotiate(*, takes: bool = True) -> dict[str, str]:
        await settle()
        last = bob.told("offer")[-1]
        said = rtc.SessionDescription(sdp=answer_of(last.sdp, takes=takes), id=last.id)
        bob.negotiation.take_answer(said)
        return filled(Description(last.sdp))

    bob.negotiation.subscribe(one)
    assert await negotiate() == {"1": one.sid}
    bob.negotiation.unsubscribe(one)
    bob.negotiation.subscribe(other)
    assert await negotiate() == {"2": other.sid}
    bob.negotiation.subscribe(third)
    assert await negotiate(takes=False) == {"1": third.sid, "2": other.sid}
    assert [error.track_sid for error in bob.told("subscription_response")] == [third.sid]
    with pytest.raises(SdpError, match="no offer"):
        bob.negotiation.take_answer(rtc.SessionDescription(sdp="", id=3))


async def test_mute_and_pause_hold_a_track_back() -> None:
    world = World()
    ada, bob = Client(world, "ada"), Client(world, "bob")
    one = track(ada.me)
    bob.negotiation.subscribe(one)
    bob.answers(recvonly("video", "0"))
    (out,) = one.media.outs
    bob.negotiation.pause(one.sid, is_paused=True)
    assert out.is_paused
    one.info.muted = True
    bob.negotiation.pause(one.sid, is_paused=False)
    assert out.is_paused
    one.info.muted = False
    bob.negotiation.look_again(one.sid)
    assert not out.is_paused


async def test_nothing_is_left_of_who_stops() -> None:
    world = World()
    ada, bob = Client(world, "ada"), Client(world, "bob")
    one = track(ada.me)
    bob.negotiation.subscribe(one)
    bob.answers(recvonly("video", "0"))
    bob.negotiation.stop()
    bob.negotiation.subscribe(one)
    await settle()
    assert one.media.outs == []
    assert bob.told("media_sections_requirement") == []
