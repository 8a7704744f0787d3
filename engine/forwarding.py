"""RTP from a publisher to its subscribers, never decoded: rewritten headers, repaired losses, reports.

Sequence numbers keep their distance and timestamps are untouched, so sender reports stay true.

Source: RFC 3550 section 6.4 (reports), RFC 4585 section 6 (NACK, PLI), RFC 5104 section 4.3.1 (FIR), RFC 6464
(audio level), draft-alvestrand-rmcat-remb-03.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from engine.header_extensions import UNHEARD, extensions, only, rename
from engine.sdp import Codec

if TYPE_CHECKING:
    from engine.transport import Peer

HISTORY: Final = 1024  # packets of a track that can be sent again
KEYFRAME_EVERY_S: Final = 0.3  # requests to one publisher
AGAIN_EVERY_S: Final = 0.05  # the same packet is asked of its publisher
BANDWIDTH: Final = 50_000_000  # bits/s, what every publisher is told it may use
REPORT_EVERY_S: Final = 1.0
EARLY_REPORTS: Final = 3  # ticks: the first may come before the subscriber knows the stream
LOUD: Final = 35  # -dBov; louder than this is speech, as for LiveKit
_SPEAKING_SHARE: Final = 0.4  # of the packets between two ticks
_HALF: Final = 1 << 15
_OWN_SSRC: Final = 1
_SR, _RR, _FEEDBACK_RTP, _FEEDBACK_PAYLOAD = 200, 201, 205, 206


class Outgoing:
    """A track on its way to one subscriber.

    Args:
        forwarder: of the track.
        peer: the subscriber's connection.
        ssrc: of the stream, ours to choose.
        payload_type: what the subscriber calls the codec.
        descriptor_id: what it calls the header extension that is passed on.
    """

    def __init__(
        self,
        forwarder: Forwarder,
        peer: Peer,
        *,
        ssrc: int,
        payload_type: int,
        descriptor_id: int = UNHEARD,
    ) -> None:
        self.forwarder = forwarder
        self._peer = peer
        self.ssrc = ssrc.to_bytes(4, "big")
        self.payload_type = payload_type
        self._descriptor_id = descriptor_id
        self.is_paused = False
        self._early = EARLY_REPORTS
        self._shift = -1  # what sequence numbers are lowered by; -1 before the first packet
        self._last = 0
        self._fresh = 0  # numbers up to the last that have this shift: only they can be asked for again

    def send(self, packet: bytes, number: int) -> None:
        """Send a packet without header extensions but the one; ``number`` is its sequence number."""
        if self.is_paused:
            if self._shift >= 0:  # no gap: nobody asks for what it was not to have
                self._shift, self._fresh = self._shift + 1 & 0xFFFF, 0
            return
        if (
            self._shift < 0
        ):  # RFC 3711 section 3.3.1: what wraps before the first packet arrives never decrypts
            self._shift = number & _HALF
        ahead = (number - self._last) & 0xFFFF
        if self._fresh == 0:
            self._last, self._fresh = number, 1
        elif ahead < _HALF:
            self._last, self._fresh = number, min(HISTORY, self._fresh + ahead)
        self._write(packet, number)

    def send_again(self, lost: int) -> None:
        """Send what the subscriber misses; ``lost`` is the number that it knows."""
        number = lost + self._shift & 0xFFFF
        if self._shift < 0 or (self._last - number) & 0xFFFF >= self._fresh:
            return
        packet = self.forwarder.history[number % HISTORY]
        if packet is not None and packet[2] << 8 | packet[3] == number:
            self._write(packet, number)
        else:
            self.forwarder.ask_again(number)

    def tick(self) -> None:
        """Tell a new subscriber how sound and picture belong together before the next report comes."""
        if self._early and self._shift >= 0 and self.forwarder.last_report:
            self._early -= 1
            self.report(self.forwarder.last_report)

    def report(self, sent: bytes) -> None:
        """Pass on a sender report, without what it says of others' streams."""
        if not self.is_paused and self._shift >= 0:
            self._peer.send_rtcp(b"\x80\xc8\x00\x06" + self.ssrc + sent[8:28])

    def _write(self, packet: bytes, number: int) -> None:
        size, out = len(packet), self._peer.outbox
        out[:size] = packet
        out[1] = packet[1] & 0x80 | self.payload_type
        number = number - self._shift & 0xFFFF
        out[2], out[3] = number >> 8, number & 0xFF
        out[8:12] = self.ssrc
        if packet[0] & 16:
            rename(out, self._descriptor_id)
        self._peer.send_rtp(size)


class Forwarder:
    """A track as it comes from its publisher.

    Args:
        peer: the publisher's connection.
        codec: the one that was agreed on.
        level_id: number of the header extension that holds the audio level, 0 for none.
        descriptor_id: of the one that is passed on, 0 for none.

    Attributes:
        outs: the subscribers.
        ssrc: of its packets, b"" before the first; ``received``: how many came with it.
        history: the last packets, by sequence number modulo HISTORY.
        last_report: of its sender, b"" before the first.
    """

    def __init__(self, peer: Peer, codec: Codec, *, level_id: int, descriptor_id: int = 0) -> None:
        self._peer = peer
        self.codec = codec
        self._level_id, self._descriptor_id = level_id, descriptor_id
        self.outs: list[Outgoing] = []
        self.history: list[bytes | None] = [None] * HISTORY
        self.ssrc = b""
        self._asked: dict[int, float] = {}
        self._keyframe_at = 0.0
        self._wants_keyframe = False
        self._levels: list[int] = []
        self.received = 0
        self._first = self._highest = 0  # extended sequence numbers
        self._reported = (0, 0)  # expected and received at the last report
        self._transit, self._jitter = 0.0, 0.0
        self.last_report = b""
        self._reported_at = 0.0

    def take(self, packet: bytes) -> None:
        """Forward a packet of the track."""
        end = 12 + 4 * (packet[0] & 15)
        if packet[0] & 16:
            start = end + 4 + 4 * int.from_bytes(packet[end + 2 : end + 4], "big")
            if self._level_id:
                self._hear(packet, end, start)
            kept = only(packet, end, start, self._descriptor_id) if self._descriptor_id else b""
            flags = packet[0] if kept else packet[0] & 0xEF
            packet = bytes((flags,)) + packet[1:end] + kept + packet[start:]
        if len(packet) < end:
            return
        number = packet[2] << 8 | packet[3]
        self._count(packet, number)
        self.history[number % HISTORY] = packet
        for out in self.outs:
            out.send(packet, number)

    def attach(self, out: Outgoing) -> None:
        """Forward to one more subscriber."""
        self.outs.append(out)
        self.want_keyframe()

    def want_keyframe(self) -> None:
        """Have the publisher send a keyframe, now or when it may be asked again."""
        if self.codec.mime.startswith("video/"):
            self._wants_keyframe = True
            self.tick(time.monotonic())

    def ask_again(self, number: int) -> None:
        """Ask the publisher for a packet that never came."""
        now = time.monotonic()
        if now - self._asked.get(number, 0.0) > AGAIN_EVERY_S and self.ssrc:
            if len(self._asked) >= HISTORY:
                self._asked.clear()
            self._asked[number] = now
            self._peer.send_rtcp(
                struct.pack(">BBHI4sHH", 0x81, _FEEDBACK_RTP, 3, _OWN_SSRC, self.ssrc, number, 0)
            )

    def reported(self, report: bytes) -> None:
        """Take a sender report, and pass it on."""
        self.last_report, self._reported_at = report, time.monotonic()
        for out in self.outs:
            out.report(report)

    def tick(self, now: float) -> None:
        """Ask for the keyframe that had to wait."""
        if self._wants_keyframe and self.ssrc and now - self._keyframe_at >= KEYFRAME_EVERY_S:
            self._wants_keyframe, self._keyframe_at = False, now
            self._peer.send_rtcp(struct.pack(">BBHI4s", 0x81, _FEEDBACK_PAYLOAD, 2, _OWN_SSRC, self.ssrc))

    def loudness(self) -> float:
        """Give how loud its speaker is since the last call: 0, or 1/8 to 1."""
        levels, self._levels = self._levels, []
        loud = [level for level in levels if level <= LOUD]
        if len(loud) <= _SPEAKING_SHARE * len(levels):
            return 0.0
        linear = 10 ** (-sum(loud) / len(loud) / 20)
        return float(min(8, max(1, round(linear * 2.5 * 8)))) / 8  # LiveKit boosts and rounds likewise

    def report_block(self, now: float) -> bytes:
        """Write what the publisher is told of its stream; nothing before it sends."""
        if not self.received:
            return b""
        expected = self._highest - self._first + 1
        interval, came = expected - self._reported[0], self.received - self._reported[1]
        self._reported = (expected, self.received)
        fraction = min(255, 256 * max(0, interval - came) // interval) if interval > 0 else 0
        delay = int((now - self._reported_at) * 65_536) if self.last_report else 0
        return struct.pack(
            ">4sI II4sI",
            self.ssrc,
            fraction << 24 | max(0, expected - self.received) & 0xFFFFFF,
            self._highest & 0xFFFFFFFF,
            int(self._jitter) & 0xFFFFFFFF,
            self.last_report[10:14] or bytes(4),
            delay & 0xFFFFFFFF,
        )

    def _count(self, packet: bytes, number: int) -> None:
        if not self.received:
            self._first = self._highest = number
            self._reported = (0, 0)
        ahead = (number - self._highest) & 0xFFFF
        self.received += 1
        if ahead < _HALF:
            self._highest += ahead
            ticks = int.from_bytes(packet[4:8], "big")
            transit = time.monotonic() * self.codec.rate - ticks
            change = abs(transit - self._transit)
            if change < self.codec.rate:  # not at the start, nor where timestamps wrap or jump
                self._jitter += (change - self._jitter) / 16
            self._transit = transit

    def _hear(self, packet: bytes, end: int, start: int) -> None:
        for number, value in extensions(packet, end, start):
            if number == self._level_id and value and len(self._levels) < HISTORY:
                self._levels.append(value[0] & 0x7F)


class Media:
    """All RTP of one peer connection: the tracks that come over it, and those that go.

    Args:
        peer: the connection.
        on_tick: called about every 0.4 s.

    Attributes:
        outs: what is sent, by SSRC.
    """

    def __init__(self, peer: Peer, *, on_tick: Callable[[], None] = lambda: None) -> None:
        self._peer = peer
        self._on_tick = on_tick
        self._by_ssrc: dict[bytes, Forwarder] = {}
        self._by_mid: dict[str, tuple[Forwarder, int, int, str]] = {}
        self.outs: dict[bytes, Outgoing] = {}
        self._report_at = 0.0

    @property
    def forwarders(self) -> list[Forwarder]:
        """The tracks that come."""
        return [forwarder for forwarder, *_ in self._by_mid.values()]

    def expect(
        self, forwarder: Forwarder, *, mid: str, mid_id: int, rid_id: int, rid: str, ssrcs: list[int]
    ) -> None:
        """Take what comes in a media section as a track's: by its SSRC, else by what packets say.

        Args:
            forwarder: of the track.
            mid: the section's name.
            mid_id: number of the header extension that holds the mid, 0 for none; ``rid_id`` likewise.
            rid: the layer that is taken, or nothing.
            ssrcs: the last of them is taken.
        """
        self._by_mid[mid] = (forwarder, mid_id, rid_id, rid)
        if ssrcs and not rid:
            self._by_mid[mid] = (forwarder, 0, 0, "")
            self._adopt(forwarder, ssrcs[-1].to_bytes(4, "big"))

    def forget(self, forwarder: Forwarder) -> None:
        """Take no more packets of a track."""
        self._by_mid = {mid: one for mid, one in self._by_mid.items() if one[0] is not forwarder}
        self._by_ssrc = {ssrc: one for ssrc, one in self._by_ssrc.items() if one is not forwarder}

    def rtp(self, packet: bytes) -> None:
        """Forward a packet."""
        forwarder = self._by_ssrc.get(packet[8:12]) or self._find(packet)
        if forwarder is not None:
            forwarder.take(packet)

    def rtcp(self, compound: bytes) -> None:
        """Act on what the other side reports and asks for."""
        for kind, count, packet in _split(compound):
            if kind == _SR and len(packet) >= 28:
                forwarder = self._by_ssrc.get(packet[4:8])
                if forwarder is not None:
                    forwarder.reported(packet)
            elif kind == _FEEDBACK_RTP and count == 1 and packet[8:12] in self.outs:
                for number in _lost_numbers(packet[12:]):
                    self.outs[packet[8:12]].send_again(number)
            elif kind == _FEEDBACK_PAYLOAD and count in (1, 4):
                out = self.outs.get(packet[8:12] if count == 1 else packet[12:16])
                if out is not None:
                    out.forwarder.want_keyframe()

    def tick(self, now: float) -> None:
        """Report to the publisher about once a second."""
        if self._by_mid:
            self._on_tick()
        for forwarder in self.forwarders:
            forwarder.tick(now)
        for out in self.outs.values():
            out.tick()
        if now >= self._report_at and (blocks := [one.report_block(now) for one in self.forwarders]):
            self._report_at = now + REPORT_EVERY_S
            ssrcs = [one.ssrc for one in self.forwarders if one.ssrc]
            self._peer.send_rtcp(
                receiver_report([block for block in blocks if block]) + bandwidth(ssrcs[:64])
            )

    def _find(self, packet: bytes) -> Forwarder | None:
        """Give the track of a stream that is not known yet, by what its packets say."""
        if len(packet) < 16 or not packet[0] & 16:
            return None
        end = 12 + 4 * (packet[0] & 15)
        start = end + 4 + 4 * int.from_bytes(packet[end + 2 : end + 4], "big")
        said = dict(extensions(packet, end, start))
        for mid, (forwarder, mid_id, rid_id, rid) in self._by_mid.items():
            if said.get(mid_id) == mid.encode() and (not rid or said.get(rid_id) == rid.encode()):
                self._adopt(forwarder, packet[8:12])
                return forwarder
        return None

    def _adopt(self, forwarder: Forwarder, ssrc: bytes) -> None:
        if self._by_ssrc.get(ssrc) is not forwarder:
            self._by_ssrc = {one: owner for one, owner in self._by_ssrc.items() if owner is not forwarder}
            self._by_ssrc[ssrc] = forwarder
            forwarder.ssrc, forwarder.received = ssrc, 0
            if forwarder.outs:
                forwarder.want_keyframe()


def receiver_report(blocks: list[bytes]) -> bytes:
    """Write a receiver report; 31 blocks at most."""
    blocks = blocks[:31]
    return struct.pack(">BBHI", 0x80 | len(blocks), _RR, 1 + 6 * len(blocks), _OWN_SSRC) + b"".join(blocks)


def bandwidth(ssrcs: list[bytes]) -> bytes:
    """Write how much a publisher may send (REMB), the same for ever: nothing here measures the way."""
    exponent = max(0, BANDWIDTH.bit_length() - 18)
    mantissa = BANDWIDTH >> exponent
    head = struct.pack(">BBHI", 0x8F, _FEEDBACK_PAYLOAD, 4 + len(ssrcs), _OWN_SSRC)
    rate = (len(ssrcs) << 24 | exponent << 18 | mantissa).to_bytes(4, "big")
    return head + bytes(4) + b"REMB" + rate + b"".join(ssrcs)


def _split(compound: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Give kind, count and bytes of each RTCP packet; ends at the first that cannot be read."""
    at = 0
    while at + 8 <= len(compound) and compound[at] >> 6 == 2:
        size = 4 + 4 * int.from_bytes(compound[at + 2 : at + 4], "big")
        yield compound[at + 1], compound[at] & 31, compound[at : at + size]
        at += size


def _lost_numbers(items: bytes) -> Iterator[int]:
    for at in range(0, len(items) - 3, 4):
        first, following = struct.unpack_from(">HH", items, at)
        yield first
        yield from (first + bit + 1 & 0xFFFF for bit in range(16) if following >> bit & 1)
