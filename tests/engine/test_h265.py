"""H.265, which no client here encodes: x265's pictures go through sections and forwarding (RFC 7798)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import pytest
from av.video.frame import PictureType
from livekit.protocol import models, rtc

from engine.forwarding import Media
from engine.negotiation import Negotiation
from engine.sdp import MID, Description, Local
from greenroom.synthetic_picture import read_counter
from greenroom.synthetic_reading import luma_of
from tests.engine.clients import World, seen
from tests.engine.sessions import offer
from tests.fakes.counted_media import SIZE, draw

MTU = 300  # so small that a picture takes several packets
OURS = 0x01020304
FU = 49
PLI = 206


class Peer:
    """A connection that keeps what is sent over it, in clear."""

    def __init__(self) -> None:
        self.outbox = bytearray(4096)
        self.rtp: list[bytes] = []
        self.rtcp: list[bytes] = []
        self.media: Any = Media(self)  # type: ignore[arg-type]

    def local(self) -> Local:
        return Local(username="u", password="p", fingerprint="CC", host="127.0.0.1", port=7)

    def start(self, remote: Description) -> None:
        """Nothing is connected."""

    def send_rtp(self, size: int) -> None:
        self.rtp.append(bytes(self.outbox[:size]))

    def send_rtcp(self, compound: bytes) -> None:
        self.rtcp.append(compound)


class Client:
    """A participant with one connection; it calls H.265 by a number of its own."""

    def __init__(self, world: World, name: str, number: int) -> None:
        self.peer, self.number = Peer(), number
        self.me = world.join(world.rooms.get("tea") or world.room(), name)
        self.negotiation = Negotiation(self.me, lambda _: self.peer, is_single=True)  # type: ignore[arg-type,return-value]

    def offers(self, *lines: str, profile: int = 1) -> None:
        video = [
            f"m=video 9 UDP/TLS/RTP/SAVPF {self.number}",
            "a=mid:0",
            f"a=rtpmap:{self.number} H265/90000",
        ]
        form = f"a=fmtp:{self.number} level-id=93;profile-id={profile};tier-flag=0;tx-mode=SRST"
        self.negotiation.take_offer(offer([*video, form, f"a=extmap:4 {MID}", *lines]))


class Camera:
    """Encodes counted pictures, keyframes where they are asked for, and packs them."""

    def __init__(self) -> None:
        try:
            made = av.CodecContext.create("libx265", "w")
        except ValueError:
            pytest.skip("this machine cannot: its build of PyAV has no libx265")
        assert isinstance(made, av.VideoCodecContext)
        made.width, made.height, made.pix_fmt = *SIZE, "yuv420p"
        made.time_base, made.framerate = Fraction(1, 20), Fraction(20)
        parameters = (
            "keyint=-1:scenecut=0:repeat-headers=1:bframes=0:log-level=error:pools=none:frame-threads=1"
        )
        made.options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "forced-idr": "1",
            "x265-params": parameters,
        }
        self._encoder, self._count, self._packets = made, 0, 65_500  # numbers wrap underway

    def shoot(self, number: int, *, is_keyframe: bool) -> Iterator[bytes]:
        frame = av.VideoFrame.from_ndarray(draw(number), format="yuv420p")
        frame.pts, frame.pict_type = self._count, PictureType.I if is_keyframe else PictureType.NONE
        self._count += 1
        for packet in self._encoder.encode(frame):
            units = [unit for unit in bytes(packet).replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if unit]
            parts = [part for unit in units for part in pack(unit)]
            for index, part in enumerate(parts):
                marker = 0x80 if index == len(parts) - 1 else 0
                said = b"\xbe\xde\x00\x01\x40" + b"0\0\0"
                self._packets += 1
                head = (0x90, marker | 45, self._packets & 0xFFFF, self._count * 4500, OURS)
                yield struct.pack(">BBHII", *head) + said + part


def pack(unit: bytes) -> Iterator[bytes]:
    """RFC 7798 section 4.4: a NAL unit as it is, or in fragments."""
    if len(unit) <= MTU:
        yield unit
        return
    kind, body = unit[0] >> 1 & 63, unit[2:]
    for at in range(0, len(body), MTU):
        edge = (0x80 if at == 0 else 0) | (0x40 if at + MTU >= len(body) else 0)
        yield bytes((unit[0] & 0x81 | FU << 1, unit[1], edge | kind)) + body[at : at + MTU]


def decode(packets: list[bytes]) -> list[int | None]:
    """Read the counters of what a subscriber was sent."""
    codec = av.CodecContext.create("hevc", "r")
    assert isinstance(codec, av.VideoCodecContext)
    read: list[int | None] = []
    data = b""
    for packet in packets:
        body = packet[12:]
        if body[0] >> 1 & 63 != FU:
            data += b"\0\0\0\1" + body
        else:
            start = bytes((body[0] & 0x81 | (body[2] & 63) << 1, body[1])) if body[2] & 0x80 else b""
            data += (b"\0\0\0\1" + start if start else b"") + body[3:]
        if packet[1] & 0x80:
            read += [read_counter(luma_of(frame)) for frame in codec.decode(av.Packet(data))]
            data = b""
    return read + [read_counter(luma_of(frame)) for frame in codec.decode(None)]


def asked(peer: Peer) -> int:
    return sum(compound[1] == PLI and compound[0] & 31 == 1 for compound in peer.rtcp)


async def test_pictures_come_to_who_is_there_and_from_a_keyframe_on_to_who_comes_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [100.0]
    monkeypatch.setattr("engine.forwarding.time.monotonic", lambda: clock[0])
    world, camera = World(), Camera()
    ada, bob, eve = Client(world, "ada", 45), Client(world, "bob", 49), Client(world, "eve", 51)
    wish = rtc.SimulcastCodec(codec="h265")
    add = rtc.AddTrackRequest(cid="cam", type=models.VIDEO, simulcast_codecs=[wish])
    track = ada.me.room.publish(ada.me, add)
    ada.offers("a=sendonly", "a=msid:- cam")
    assert track.info.mime_type == "video/H265"
    for late, (client, first) in enumerate([(bob, 0), (eve, 10)]):
        before = asked(ada.peer)
        client.negotiation.subscribe(track)
        client.offers("a=recvonly")
        for number in range(first, first + 10):
            clock[0] += 0.5
            for packet in camera.shoot(number, is_keyframe=number == 0 or (late == 1 and number == 12)):
                ada.peer.media.rtp(packet)
            ada.peer.media.tick(clock[0])
        assert asked(ada.peer) > before, "a keyframe was asked for"
    assert {packet[1] & 0x7F for packet in bob.peer.rtp} == {49}
    assert {packet[1] & 0x7F for packet in eve.peer.rtp} == {51}
    assert len(bob.peer.rtp) > 60
    assert decode(bob.peer.rtp) == list(range(20))
    assert [number for number in decode(eve.peer.rtp) if number is not None] == list(range(12, 20))


async def test_who_decodes_another_profile_is_told() -> None:
    world = World()
    ada, bob = Client(world, "ada", 45), Client(world, "bob", 49)
    track = ada.me.room.publish(ada.me, rtc.AddTrackRequest(cid="cam", type=models.VIDEO))
    ada.offers("a=sendonly", "a=msid:- cam", profile=2)
    bob.negotiation.subscribe(track)
    bob.offers("a=recvonly")
    (error,) = (
        one.subscription_response for one in seen(bob.me).sent if one.HasField("subscription_response")
    )
    assert (error.track_sid, error.err) == (track.sid, models.SubscriptionError.SE_CODEC_UNSUPPORTED)
