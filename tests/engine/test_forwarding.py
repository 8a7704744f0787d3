"""Forwarding: rewritten headers, packets sent again, reports, keyframe requests, and who speaks."""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import Any

import pytest

from engine import forwarding
from engine.forwarding import (
    BANDWIDTH,
    EARLY_REPORTS,
    HISTORY,
    Forwarder,
    Media,
    Outgoing,
    bandwidth,
    receiver_report,
)
from engine.sdp import Codec
from recorder.core.rtcp import read_sender_reports

VP8 = Codec(mime="video/VP8", rate=90_000, encoding="VP8/90000")
OPUS = Codec(mime="audio/opus", rate=48_000, encoding="opus/48000/2")
OURS, THEIRS = 0x01020304, 0xAABBCCDD


class Peer:
    """A connection that keeps what is sent over it, in clear."""

    def __init__(self) -> None:
        self.outbox = bytearray(4096)
        self.rtp: list[bytes] = []
        self.rtcp: list[bytes] = []

    def send_rtp(self, size: int) -> None:
        self.rtp.append(bytes(self.outbox[:size]))

    def send_rtcp(self, compound: bytes) -> None:
        self.rtcp.append(compound)


class World:
    """A track with one subscriber."""

    def __init__(self, codec: Codec = VP8, *, descriptor_id: int = 0) -> None:
        self.publisher, self.subscriber = Peer(), Peer()
        self.incoming, self.outgoing = Media(as_peer(self.publisher)), Media(as_peer(self.subscriber))
        self.forwarder = Forwarder(as_peer(self.publisher), codec, level_id=1, descriptor_id=descriptor_id)
        self.incoming.expect(self.forwarder, mid="7", mid_id=4, rid_id=10, rid="", ssrcs=[OURS])
        self.out = Outgoing(
            self.forwarder, as_peer(self.subscriber), ssrc=THEIRS, payload_type=111, descriptor_id=9
        )
        self.outgoing.outs[self.out.ssrc] = self.out
        self.forwarder.attach(self.out)

    def take(self, *numbers: int, **said: Any) -> None:
        for number in numbers:
            self.incoming.rtp(packet(number, **said))

    @property
    def numbers(self) -> list[int]:
        return [int.from_bytes(one[2:4], "big") for one in self.subscriber.rtp]

    def nack(self, number: int, following: int = 0) -> None:
        ssrc = THEIRS.to_bytes(4, "big")
        self.outgoing.rtcp(struct.pack(">BBHI4sHH", 0x81, 205, 3, 9, ssrc, number & 0xFFFF, following))


def as_peer(peer: Peer) -> Any:
    return peer


def packet(
    number: int, *, time: int = 0, body: bytes = b"body", ssrc: int = OURS, said: bytes = b"", csrcs: int = 0
) -> bytes:
    """Write an RTP packet; ``said`` is its header extension, padded here."""
    said += bytes(-len(said) % 4)
    first = 0x80 | csrcs | (0x10 if said else 0)
    head = struct.pack(">BBHII", first, 0x80 | 96, number & 0xFFFF, time & 0xFFFFFFFF, ssrc) + bytes(
        4 * csrcs
    )
    return head + (b"\xbe\xde" + (len(said) // 4).to_bytes(2, "big") + said if said else b"") + body


def test_only_the_header_is_rewritten() -> None:
    world = World()
    world.take(5, time=77, said=b"\x10\x8a\x40x", csrcs=2)
    assert world.subscriber.rtp == [
        struct.pack(">BBHII", 0x82, 0x80 | 111, 5, 77, THEIRS) + bytes(8) + b"body"
    ]


def test_what_says_of_which_layer_a_packet_is_goes_with_it_under_its_receiver_s_number() -> None:
    world = World(descriptor_id=12)
    world.take(5, said=b"\x10\x8a\xc1xy", csrcs=2)
    world.take(6, said=b"\x10\x8a")
    head, other = (struct.pack(">BBHII", flags, 0x80 | 111, 5, 0, THEIRS) for flags in (0x92, 0x80))
    described = head + bytes(8) + b"\x10\x00\x00\x01\x09\x02xy" + b"body"
    assert world.subscriber.rtp == [described, other[:3] + b"\x06" + other[4:] + b"body"]
    world.nack(5)
    assert world.subscriber.rtp[-1] == described


def test_numbers_wrap_and_never_begin_near_a_wrap() -> None:
    world = World()
    world.take(65_534, 65_535, 65_536, 65_537)
    # What wraps before its first packet arrives could never be decrypted.
    assert world.numbers == [32_766, 32_767, 32_768, 32_769]
    world.nack(32_767)
    assert world.numbers[-1] == 32_767


def test_times_wrap_untouched_and_spoil_no_jitter() -> None:
    world = World()
    for number in range(20):
        world.take(number, time=2**32 - 10 * 3000 + number * 3000)
    times = [int.from_bytes(one[4:8], "big") for one in world.subscriber.rtp]
    assert [(later - one) % 2**32 for one, later in pairwise(times)] == [3000] * 19
    jitter = int.from_bytes(world.forwarder.report_block(1.0)[12:16], "big")
    assert jitter < 90_000


def test_what_was_lost_is_sent_again_and_only_that() -> None:
    world = World()
    world.take(*range(10, 30))
    before = len(world.numbers)
    world.nack(12, following=0b101)
    assert world.numbers[before:] == [12, 13, 15]
    assert world.subscriber.rtp[-1] == world.subscriber.rtp[5]
    assert world.publisher.rtcp[1:] == []  # its keyframe request apart, nothing was asked of the publisher


def test_what_never_came_is_asked_of_the_publisher_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.take(*range(10, 15), *range(16, 20))
    asked = len(world.publisher.rtcp)
    world.nack(15)
    world.nack(15)
    (request,) = world.publisher.rtcp[asked:]
    assert request == struct.pack(">BBHIIHH", 0x81, 205, 3, 1, OURS, 15, 0)
    world.take(15)
    assert world.numbers[-1] == 15
    monkeypatch.setattr(forwarding, "AGAIN_EVERY_S", -1.0)
    world.nack(9)  # before the first that was sent
    world.nack(15 - HISTORY)
    assert len(world.publisher.rtcp) == asked + 1


def test_a_pause_leaves_no_gap_and_nothing_of_it_can_be_had() -> None:
    world = World()
    world.take(1, 2)
    world.out.is_paused = True
    world.take(3, 4, 5)
    world.out.is_paused = False
    world.take(6, 7)
    assert world.numbers == [1, 2, 3, 4]
    world.nack(2)  # of before the pause
    assert world.numbers == [1, 2, 3, 4]
    world.nack(4)
    assert world.numbers[-1] == 4
    assert world.subscriber.rtp[-1] == world.subscriber.rtp[3]


def test_keyframes_are_asked_for_at_once_and_then_not_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("engine.forwarding.time.monotonic", lambda: clock[0])
    world = World()
    pli = struct.pack(">BBHII", 0x81, 206, 2, 1, OURS)
    assert world.publisher.rtcp == [pli]
    world.take(1)
    ssrc = THEIRS.to_bytes(4, "big")
    world.outgoing.rtcp(struct.pack(">BBHI4s", 0x81, 206, 2, 9, ssrc))
    fir = struct.pack(">BBHIIIBBH", 0x84, 206, 4, 9, 0, THEIRS, 1, 0, 0)
    world.outgoing.rtcp(struct.pack(">BBHI", 0x80, 201, 1, 9) + fir)
    assert world.publisher.rtcp == [pli]
    clock[0] += 0.31
    world.forwarder.tick(clock[0])  # the request that had to wait is not lost
    world.forwarder.tick(clock[0])
    assert world.publisher.rtcp == [pli, pli]


def test_no_keyframe_is_asked_of_a_microphone() -> None:
    world = World(OPUS)
    world.take(1)
    assert world.publisher.rtcp == []


def test_sender_reports_keep_their_times() -> None:
    world = World()
    world.take(1)
    blocks = bytes(24)
    report = struct.pack(">BBHIIIIII", 0x81, 200, 12, OURS, 3_900_000_000, 5, 1234, 1, 4) + blocks
    world.incoming.rtcp(report)
    (sent,) = world.subscriber.rtcp
    (read,) = read_sender_reports(sent)
    (original,) = read_sender_reports(report)
    assert (read.ssrc, read.ntp_us, read.rtp_time) == (THEIRS, original.ntp_us, 1234)


def test_a_new_subscriber_is_told_the_last_report_without_waiting_for_the_next() -> None:
    world = World()
    world.incoming.rtcp(struct.pack(">BBHIIIIII", 0x80, 200, 6, OURS, 3_900_000_000, 5, 1234, 1, 4))
    world.outgoing.tick(1.0)
    assert world.subscriber.rtcp == []  # of what is not sent yet nothing is said
    world.take(1)
    for now in range(10):
        world.outgoing.tick(float(now))
    assert [one[16:20] for one in world.subscriber.rtcp] == [(1234).to_bytes(4, "big")] * EARLY_REPORTS


def test_a_publisher_learns_what_was_lost_and_what_it_may_send() -> None:
    world = World()
    world.take(65_530, 65_531, 65_533, 65_535, 65_537)
    report = struct.pack(">BBHIIIIII", 0x80, 200, 6, OURS, 0x11112222, 0x33334444, 0, 5, 20)
    world.incoming.rtcp(report)
    world.incoming.tick(1e9)
    told = world.publisher.rtcp[-1]
    assert told[:8] == struct.pack(">BBHI", 0x81, 201, 7, 1)
    ssrc, loss, highest, _, last, _ = struct.unpack(">IIIIII", told[8:32])
    assert (ssrc, loss >> 24, loss & 0xFFFFFF, highest) == (OURS, 256 * 3 // 8, 3, 65_537)
    assert last == 0x22223333
    assert told[32:] == bandwidth([OURS.to_bytes(4, "big")])
    world.take(65_538)
    assert world.forwarder.report_block(1e9)[4] == 0  # the share is of since the last report


def test_the_bandwidth_is_readable() -> None:
    told = bandwidth([b"abcd", b"efgh"])
    rate = int.from_bytes(told[17:20], "big")
    assert (told[12:16], told[16], told[20:]) == (b"REMB", 2, b"abcdefgh")
    assert 0.99 * BANDWIDTH < (rate & 0x3FFFF) << (rate >> 18) <= BANDWIDTH
    assert int.from_bytes(told[2:4], "big") * 4 + 4 == len(told)


def test_a_stream_is_found_by_the_mid_in_its_packets_and_only_its_top_layer() -> None:
    world = World()
    world.incoming.expect(world.forwarder, mid="7", mid_id=4, rid_id=10, rid="f", ssrcs=[])
    for ssrc, rid in ((11, b"q"), (12, b"f")):
        world.take(1, ssrc=ssrc, said=b"\x407" + b"\xa0" + rid)
    world.take(2, ssrc=12)
    world.take(2, ssrc=11)
    world.take(3, ssrc=OURS)  # of before
    assert world.numbers == [1, 2]


def test_a_track_that_is_over_is_taken_no_more() -> None:
    world = World()
    world.incoming.forget(world.forwarder)
    world.take(1)
    world.take(2, said=b"\x407")
    assert world.subscriber.rtp == []


def test_who_is_loud_speaks() -> None:
    world = World(OPUS)
    for level in (10, 10, 90, 127):
        world.take(1, said=bytes([0x10, level | 0x80]))
    assert world.forwarder.loudness() == 0.75
    assert world.forwarder.loudness() == 0.0  # nothing was said since
    for level in (10, 90, 90, 90):
        world.take(1, said=bytes([0x10, level]))
    assert world.forwarder.loudness() == 0.0


@pytest.mark.parametrize("size", range(0, 40, 3))
def test_broken_packets_harm_nobody(size: int) -> None:
    world = World()
    whole = packet(1, said=b"\x10\x8a\x407", csrcs=3)
    world.incoming.rtp(whole[:size])
    world.incoming.rtp(bytes([0x9F]) + whole[1:size])
    for kind in (200, 201, 205, 206):
        for count in (0x81, 0x84, 0x9F):
            broken = bytes([count, kind, 0, 200]) + THEIRS.to_bytes(4, "big") * 4
            world.outgoing.rtcp(broken[: size + 2])
            world.incoming.rtcp(broken[: size + 2])
    world.take(9)
    assert world.numbers[-1] == 9


def test_reports_have_31_blocks_at_most() -> None:
    report = receiver_report([bytes(24)] * 40)
    assert (report[0] & 31, len(report)) == (31, 8 + 31 * 24)
