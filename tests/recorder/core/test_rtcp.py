"""RTCP as it is read and written, compared with aiortc's reading."""

from __future__ import annotations

import struct

from aiortc.rtp import RtcpPacket, RtcpPsfbPacket, RtcpRrPacket, RtcpRtpfbPacket
from hypothesis import given
from hypothesis import strategies as st

from recorder.core.rtcp import (
    ReportBlock,
    keyframe_request,
    nack,
    read_sender_reports,
    receiver_report,
)

# Sender report with one block, then source descriptions of two chunks, then another sender report.
REPORT = struct.pack(">BBHIIIIII", 0x80, 200, 6, 7, 3_913_056_000, 0x80000000, 90_000, 10, 1000)
DESCRIPTIONS = struct.pack(">BBH", 0x82, 202, 4) + bytes.fromhex("00000007 01016100 00000008 01016200")


def test_every_sender_report_of_a_compound_is_found() -> None:
    found = list(read_sender_reports(REPORT + DESCRIPTIONS + REPORT))
    assert [report.ssrc for report in found] == [7, 7]
    assert found[0].rtp_time == 90_000
    assert found[0].ntp_us == (3_913_056_000 - 2_208_988_800) * 1_000_000 + 500_000
    assert found[0].ntp_middle == (3_913_056_000 & 0xFFFF) << 16 | 0x8000


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reading(compound: bytes) -> None:
    for report in read_sender_reports(compound):
        assert 0 <= report.ssrc < 1 << 32


def test_a_receiver_report_is_read_by_others_as_it_was_meant() -> None:
    block = ReportBlock(
        ssrc=7, fraction_lost=64, lost=-3, highest=70_000, jitter=5, last_report=9, delay=65_536
    )
    (packet,) = RtcpPacket.parse(receiver_report(1, [block]))
    assert isinstance(packet, RtcpRrPacket)
    (read,) = packet.reports
    assert (read.ssrc, read.fraction_lost, read.packets_lost, read.highest_sequence) == (7, 64, -3, 70_000)
    assert (read.jitter, read.lsr, read.dlsr) == (5, 9, 65_536)


def test_more_than_31_streams_take_another_packet() -> None:
    blocks = [ReportBlock(number, 0, 0, 0, 0, 0, 0) for number in range(40)]
    packets = RtcpPacket.parse(receiver_report(1, blocks))
    assert [len(packet.reports) for packet in packets if isinstance(packet, RtcpRrPacket)] == [31, 9]


@given(st.sets(st.integers(0, 400), min_size=1, max_size=60))
def test_a_nack_names_exactly_what_is_missing(missing: set[int]) -> None:
    shifted = sorted(number + 65_400 for number in missing)  # over the wrap
    (packet,) = RtcpPacket.parse(nack(1, 7, shifted))
    assert isinstance(packet, RtcpRtpfbPacket)
    assert packet.media_ssrc == 7
    assert {number & 0xFFFF for number in packet.lost} == {number & 0xFFFF for number in shifted}


def test_a_keyframe_request_is_a_pli() -> None:
    (packet,) = RtcpPacket.parse(keyframe_request(1, 7))
    assert isinstance(packet, RtcpPsfbPacket)
    assert (packet.fmt, packet.ssrc, packet.media_ssrc) == (1, 1, 7)
