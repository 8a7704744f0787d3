"""Opus from RTP: each packet is a unit, and says itself how long it sounds.

Source: RFC 7587 section 4.2, RFC 6716 section 3.1.
"""

from __future__ import annotations

from typing import Final

from recorder.core.units import AccessUnit, CodecSetup

RATE_HZ: Final = 48_000
_SETUP: Final = CodecSetup(codec="opus", channels=2)  # stereo always: a decoder gives two channels of either
_FRAME_TICKS: Final = (480, 960, 1920, 2880) * 3 + (480, 960) * 2 + (120, 240, 480, 960) * 4


class OpusUnits:
    """The packets of one stream; a `Depacketizer`."""

    needs_keyframe = False

    def lose(self) -> None:
        """Go on: every packet can be decoded, and a hole is a hole."""

    def push(
        self, payload: bytes, rtp_time: int, *, is_last: bool, arrival_us: int
    ) -> tuple[AccessUnit, ...]:
        """Give the packet as a unit; none when it is no Opus."""
        duration = packet_ticks(payload)
        return (AccessUnit(rtp_time, arrival_us, payload, True, duration, _SETUP),) if duration else ()


def packet_ticks(packet: bytes) -> int:
    """Give how long an Opus packet sounds, in 1/48000 s; 0 when it is no Opus packet."""
    if not packet:
        return 0
    code = packet[0] & 0x03
    frames = 1 if code == 0 else 2
    if code == 3:
        if len(packet) < 2:
            return 0
        frames = packet[1] & 0x3F
    ticks = _FRAME_TICKS[packet[0] >> 3] * frames
    return ticks if ticks <= 5760 else 0  # 120 ms at most
