"""One received stream: keyframe requests and what its reports say."""

from __future__ import annotations

from recorder.core.h264_units import H264Units
from recorder.core.opus_units import OpusUnits
from recorder.core.receiving import StreamReceiver
from recorder.core.rtcp import SenderReport
from tests.fakes.rtp_media import packets, pictures, rtp_packet

H264 = pictures(3)


def test_keyframes_are_asked_for_at_the_interval_and_at_once_after_a_loss() -> None:
    receiver = StreamReceiver(7, H264Units(), is_video=True)
    assert receiver.wants_keyframe(0, 4_000_000)
    assert not receiver.wants_keyframe(100_000, 4_000_000)
    assert receiver.wants_keyframe(600_000, 4_000_000)
    for packet in packets(H264[:3]):
        receiver.take(packet, 700_000)
    assert not receiver.wants_keyframe(4_600_000, 4_000_000)
    assert receiver.wants_keyframe(4_700_000, 4_000_000)
    assert not receiver.wants_keyframe(6_000_000, 4_000_000)  # the publisher may take its time


def test_a_keyframe_that_is_wanted_is_asked_for_at_once_and_until_it_comes() -> None:
    receiver = StreamReceiver(7, H264Units(), is_video=True)
    sent = pictures(6, keyframes=frozenset({3}))
    stream, before = packets(sent), len(packets(sent[:3]))
    for packet in stream[:before]:
        receiver.take(packet, 0)
    assert not receiver.wants_keyframe(100_000, 4_000_000)
    receiver.want_keyframe()
    assert receiver.wants_keyframe(100_000, 4_000_000)
    assert not receiver.wants_keyframe(200_000, 4_000_000)
    assert receiver.wants_keyframe(600_000, 4_000_000)
    for packet in stream[before:]:
        receiver.take(packet, 700_000)
    assert not receiver.wants_keyframe(1_200_000, 4_000_000)


def test_sound_needs_no_keyframes() -> None:
    assert not StreamReceiver(7, OpusUnits(), is_video=False).wants_keyframe(10_000_000, 1)


def test_a_report_says_what_was_lost_since_the_last_one() -> None:
    receiver = StreamReceiver(7, OpusUnits(), is_video=False)
    for number in (1, 2, 3, 5, 6, 8):
        receiver.take(rtp_packet(b"\xf8x", number=number, rtp_time=number * 960, is_last=False), 0)
    block = receiver.report_block(0)
    assert (block.ssrc, block.lost, block.fraction_lost, block.highest) == (7, 2, 64, 8)
    assert (block.last_report, block.delay) == (0, 0)
    receiver.take(rtp_packet(b"\xf8x", number=4, rtp_time=0, is_last=False), 0)
    assert receiver.report_block(0).lost == 1


def test_a_report_answers_the_last_sender_report() -> None:
    receiver = StreamReceiver(7, OpusUnits(), is_video=False)
    receiver.reported(SenderReport(7, 0, 0, ntp_middle=0xABCD), 1_000_000)
    block = receiver.report_block(1_500_000)
    assert (block.last_report, block.delay) == (0xABCD, 32_768)


def test_padding_counts_as_received_and_is_no_unit() -> None:
    receiver = StreamReceiver(7, H264Units(), is_video=True)
    stream = packets(H264)
    padding = bytes((0xA0, 96)) + stream[-1][2:4] + stream[-1][4:12] + bytes(3) + b"\x04"
    units = [unit for packet in [*stream[:-1], padding] for unit in receiver.take(packet, 0)]
    assert len(units) == 2
    assert receiver.order.lost == 0


def test_what_is_too_short_for_a_packet_is_passed_over() -> None:
    assert StreamReceiver(7, H264Units(), is_video=True).take(b"\x80\x60", 0) == ()
