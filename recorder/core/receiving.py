"""One received stream: its packets in order, put together to units, and what to tell its sender.

Source: RFC 3550 section 6.4.1 and appendix A.3 (loss), RFC 4585.
"""

from __future__ import annotations

from typing import Final

from recorder.core.reordering import PacketOrder
from recorder.core.rtcp import ReportBlock, SenderReport
from recorder.core.rtp import BEHIND_HEADER, HEADER_BYTES, Unwrapped, payload_of
from recorder.core.units import AccessUnit, Depacketizer

ASK_KEYFRAME_EVERY_US: Final = 500_000  # while nothing can be decoded


class StreamReceiver:
    """The packets of one SSRC, from decrypted bytes to units.

    Attributes:
        order: the packets' order and what is missing.
        is_video: keyframes are asked for.
    """

    def __init__(self, ssrc: int, depacketizer: Depacketizer, *, is_video: bool) -> None:
        self.ssrc = ssrc
        self.order = PacketOrder()
        self.is_video = is_video
        self._depacketizer = depacketizer
        self._times = Unwrapped(32)
        self._stamp = b""  # of the last packet, and what it stands for
        self._rtp_time = 0
        self._reported_at_us = 0
        self._last_report = 0
        self._expected_before = 0
        self._received_before = 0
        self._asked_at_us: int | None = None
        self._keyframe_at_us = 0
        self._is_keyframe_due = False

    def take(self, packet: bytes, now_us: int) -> tuple[AccessUnit, ...]:
        """Take a decrypted packet of this SSRC; give what became whole."""
        if len(packet) < HEADER_BYTES:
            return ()
        if self.order.take(packet, now_us):
            units = self._put_together(packet, now_us)
            if not self.order.is_holding:
                return units
            return units + self._ready(now_us)
        return self._ready(now_us)

    def give_up(self, now_us: int, *, at_once: bool = False) -> tuple[tuple[AccessUnit, ...], int]:
        """Go on behind holes that nobody filled; give the units, and how many packets were lost.

        Args:
            now_us: monotonic time.
            at_once: the stream has ended: nothing more will come.
        """
        before = self.order.lost
        units: tuple[AccessUnit, ...] = ()
        while self.order.give_up(now_us, at_once=at_once):
            self._depacketizer.lose()
            units += self._ready(now_us)
        return units, self.order.lost - before

    def want_keyframe(self) -> None:
        """Have a keyframe asked for at once, and until one comes."""
        self._is_keyframe_due = True
        self._asked_at_us = None

    def follow_time(self, rtp_time: int) -> int:
        """Count an RTP time of this stream on over wraps."""
        return self._times.follow(rtp_time)

    def wants_keyframe(self, now_us: int, interval_us: int) -> bool:
        """Tell whether a keyframe is to be asked for now.

        Args:
            now_us: monotonic time.
            interval_us: the time between keyframes that is wanted.
        """
        if not self.is_video:
            return False
        if self._asked_at_us is not None and now_us - self._asked_at_us < ASK_KEYFRAME_EVERY_US:
            return False
        is_old = now_us - self._keyframe_at_us >= interval_us
        must_come = self._is_keyframe_due or self._depacketizer.needs_keyframe
        if not (is_old or must_come):
            return False
        if not must_come:
            self._keyframe_at_us = now_us  # asked once; the next time an interval later
        self._asked_at_us = now_us
        return True

    def reported(self, report: SenderReport, now_us: int) -> None:
        """Take note of a sender report of this stream."""
        self._last_report, self._reported_at_us = report.ntp_middle, now_us

    def report_block(self, now_us: int) -> ReportBlock:
        """Say what was received since the last call."""
        expected, received = self.order.expected, self.order.received
        new, got = expected - self._expected_before, received - self._received_before
        self._expected_before, self._received_before = expected, received
        lost = max(0, new - got)
        delay = (now_us - self._reported_at_us) * 65_536 // 1_000_000 if self._last_report else 0
        return ReportBlock(
            ssrc=self.ssrc,
            fraction_lost=min(255, lost * 256 // new) if new > 0 else 0,
            lost=expected - received,
            highest=max(0, self.order.highest),
            jitter=0,
            last_report=self._last_report,
            delay=min(delay, 0xFFFFFFFF),
        )

    def _ready(self, now_us: int) -> tuple[AccessUnit, ...]:
        units: tuple[AccessUnit, ...] = ()
        for packet in self.order.ready():
            units += self._put_together(packet, now_us)
        return units

    def _put_together(self, packet: bytes, now_us: int) -> tuple[AccessUnit, ...]:
        payload = packet[HEADER_BYTES:] if not packet[0] & BEHIND_HEADER else payload_of(packet)
        if not payload:
            return ()  # padding: a probe of the network
        stamp = packet[4:8]
        if stamp != self._stamp:  # most packets are of the same picture as the one before
            self._stamp, self._rtp_time = stamp, self._times.follow(int.from_bytes(stamp, "big"))
        units = self._depacketizer.push(payload, self._rtp_time, is_last=packet[1] > 0x7F, arrival_us=now_us)
        if self.is_video:
            for unit in units:
                if unit.is_keyframe:
                    self._keyframe_at_us = now_us
                    self._is_keyframe_due = False
        return units
