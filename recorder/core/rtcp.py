"""RTCP: reads compound packets of the media server, writes receiver reports, NACKs and keyframe requests.

Compounds are walked here by their lengths alone, so that one part that is not understood hides no other.

Source: RFC 3550 section 6.4, RFC 4585 sections 6.2.1 and 6.3.1.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_SENDER_REPORT, _RECEIVER_REPORT, _RTPFB, _PSFB = 200, 201, 205, 206
_NACK, _PLI = 1, 1
_MAX_BLOCKS: Final = 31  # report blocks in one packet
_MAX_NACKED: Final = 64  # entries of 17 packets each in one packet
_NTP_UNIX_S: Final = 2_208_988_800  # from 1900 to 1970


@dataclass(frozen=True, slots=True)
class SenderReport:
    """Where a stream's RTP time lies on its sender's wall clock. ``ntp_us``: Unix time, microseconds."""

    ssrc: int
    ntp_us: int
    rtp_time: int
    ntp_middle: int  # the middle 32 bits, which a receiver report repeats


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """What a receiver says of one stream. ``delay``: since its last sender report, in 1/65536 s."""

    ssrc: int
    fraction_lost: int
    lost: int
    highest: int
    jitter: int
    last_report: int
    delay: int


def read_sender_reports(compound: bytes) -> Iterator[SenderReport]:
    """Find the sender reports in a compound; what is cut off or unknown is passed over."""
    position, size = 0, len(compound)
    while position + 8 <= size:
        kind = compound[position + 1]
        length = (compound[position + 2] << 8 | compound[position + 3]) * 4 + 4
        if kind == _SENDER_REPORT and length >= 28 and position + 28 <= size:
            ssrc, seconds, fraction, rtp_time = struct.unpack_from(">IIII", compound, position + 4)
            yield SenderReport(
                ssrc=ssrc,
                ntp_us=(seconds - _NTP_UNIX_S) * 1_000_000 + (fraction * 1_000_000 >> 32),
                rtp_time=rtp_time,
                ntp_middle=(seconds & 0xFFFF) << 16 | fraction >> 16,
            )
        position += length


def receiver_report(own_ssrc: int, blocks: Sequence[ReportBlock]) -> bytes:
    """Write receiver reports on up to any number of streams, 31 in each packet."""
    packets = []
    for first in range(0, max(len(blocks), 1), _MAX_BLOCKS):
        part = blocks[first : first + _MAX_BLOCKS]
        packets.append(_packet(_RECEIVER_REPORT, len(part), own_ssrc, b"".join(map(_block, part))))
    return b"".join(packets)


def nack(own_ssrc: int, ssrc: int, missing: Sequence[int]) -> bytes:
    """Ask for packets again.

    Args:
        own_ssrc: ours.
        ssrc: the stream's.
        missing: sequence numbers (their lowest 16 bits count), rising; what exceeds 64 entries is left out.
    """
    entries: list[tuple[int, int]] = []
    for number in missing:
        if entries and 0 < number - entries[-1][0] <= 16:
            entries[-1] = (entries[-1][0], entries[-1][1] | 1 << (number - entries[-1][0] - 1))
        else:
            entries.append((number, 0))
    content = b"".join(struct.pack(">HH", first & 0xFFFF, mask) for first, mask in entries[:_MAX_NACKED])
    return _packet(_RTPFB, _NACK, own_ssrc, struct.pack(">I", ssrc) + content)


def keyframe_request(own_ssrc: int, ssrc: int) -> bytes:
    """Ask for a picture from which decoding can begin (PLI)."""
    return _packet(_PSFB, _PLI, own_ssrc, struct.pack(">I", ssrc))


def _packet(kind: int, count: int, own_ssrc: int, content: bytes) -> bytes:
    return struct.pack(">BBHI", 0x80 | count, kind, 1 + len(content) // 4, own_ssrc) + content


def _block(block: ReportBlock) -> bytes:
    lost = max(-0x800000, min(block.lost, 0x7FFFFF)) & 0xFFFFFF
    return struct.pack(
        ">IIIIII",
        block.ssrc,
        block.fraction_lost << 24 | lost,
        block.highest & 0xFFFFFFFF,
        block.jitter,
        block.last_report,
        block.delay,
    )
