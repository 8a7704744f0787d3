"""The RTP streams of one media connection: from packets to units, and what their senders are told."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Final

from recorder.core.h264_units import H264Units
from recorder.core.opus_units import OpusUnits
from recorder.core.receiving import StreamReceiver
from recorder.core.rtcp import keyframe_request, nack, read_sender_reports, receiver_report
from recorder.core.units import AccessUnit, Depacketizer
from recorder.core.vp8_units import Vp8Units
from recorder.ports import Clock, FrameSink, SourceTrackId

_REPORT_EVERY_US: Final = 1_000_000
_DEPACKETIZERS: Final[dict[str, Callable[[], Depacketizer]]] = {
    "h264": H264Units,
    "vp8": Vp8Units,
    "opus": OpusUnits,
}


class ReceivedStreams:
    """What comes over one media connection, each stream handed to its track.

    Args:
        sink: gets units, sender reports and losses.
        clock: for arrival times.
        keyframe_us: how often a keyframe is asked for where none comes by itself.
        send: sends an RTCP compound.

    Attributes:
        codecs: by payload type.
        had_media: whether a packet of one of the tracks came.
    """

    def __init__(
        self, sink: FrameSink, clock: Clock, *, keyframe_us: int, send: Callable[[bytes], None]
    ) -> None:
        self._sink = sink
        self._clock = clock
        self._keyframe_us = keyframe_us
        self._send = send
        self._own_ssrc = random.getrandbits(32)
        self._tracks: dict[bytes, SourceTrackId] = {}  # ssrc as it stands in packets -> track
        self._streams: dict[bytes, StreamReceiver] = {}
        self._report_at_us = 0
        self.codecs: dict[int, str] = {}
        self.had_media = False

    def add(self, track_id: SourceTrackId, ssrcs: Iterable[int]) -> None:
        """Take what comes with these SSRCs as the track's."""
        for ssrc in ssrcs:
            self._tracks[ssrc.to_bytes(4, "big")] = track_id

    def remove(self, track_id: SourceTrackId) -> None:
        """Take no more of a track; what waits behind a hole is handed over."""
        for ssrc in [ssrc for ssrc, owner in self._tracks.items() if owner == track_id]:
            stream = self._streams.pop(ssrc, None)
            if stream is not None:
                self._give_up(track_id, stream, at_once=True)
            del self._tracks[ssrc]

    def want_keyframes(self) -> None:
        """Ask for a keyframe of each video track at once."""
        for stream in self._streams.values():
            stream.want_keyframe()
            self._ask(stream, self._clock.monotonic_us())

    def rtp(self, packet: bytes) -> None:
        """Take a decrypted RTP packet."""
        ssrc = packet[8:12]
        stream = self._streams.get(ssrc)
        now_us = self._clock.monotonic_us()
        if stream is None:
            stream = self._begin(ssrc, packet[1] & 0x7F)
            if stream is None:
                return
        units = stream.take(packet, now_us)
        if units:
            self._hand_over(self._tracks[ssrc], units)

    def rtcp(self, compound: bytes) -> None:
        """Take a decrypted RTCP compound."""
        for report in read_sender_reports(compound):
            ssrc = report.ssrc.to_bytes(4, "big")
            stream = self._streams.get(ssrc)
            if stream is not None:
                stream.reported(report, self._clock.monotonic_us())
                self._sink.sender_reported(
                    self._tracks[ssrc], stream.follow_time(report.rtp_time), report.ntp_us
                )

    def after_batch(self) -> None:
        """Ask for what is missing, report once a second; without a timer, because wake-ups are what costs."""
        now_us = self._clock.monotonic_us()
        for ssrc, stream in list(self._streams.items()):
            self._give_up(self._tracks[ssrc], stream)
            self._ask(stream, now_us)
        if now_us >= self._report_at_us and self._streams:
            self._report_at_us = now_us + _REPORT_EVERY_US
            blocks = [stream.report_block(now_us) for stream in self._streams.values()]
            self._send(receiver_report(self._own_ssrc, blocks))

    def _begin(self, ssrc: bytes, payload_type: int) -> StreamReceiver | None:
        codec = self.codecs.get(payload_type)
        if codec is None or ssrc not in self._tracks:
            return None
        self.had_media = True
        stream = StreamReceiver(
            int.from_bytes(ssrc, "big"), _DEPACKETIZERS[codec](), is_video=codec != "opus"
        )
        self._streams[ssrc] = stream
        self._ask(stream, self._clock.monotonic_us())
        return stream

    def _give_up(self, track_id: SourceTrackId, stream: StreamReceiver, *, at_once: bool = False) -> None:
        units, lost = stream.give_up(self._clock.monotonic_us(), at_once=at_once)
        if lost:
            self._sink.lost(track_id, lost)
        self._hand_over(track_id, units)

    def _ask(self, stream: StreamReceiver, now_us: int) -> None:
        missing = stream.order.to_ask_for(now_us)
        if missing:
            self._send(self._compound(nack(self._own_ssrc, stream.ssrc, missing)))
        if stream.wants_keyframe(now_us, self._keyframe_us):
            self._send(self._compound(keyframe_request(self._own_ssrc, stream.ssrc)))

    def _compound(self, feedback: bytes) -> bytes:
        return receiver_report(self._own_ssrc, ()) + feedback  # RFC 4585 section 3.1

    def _hand_over(self, track_id: SourceTrackId, units: tuple[AccessUnit, ...]) -> None:
        for unit in units:
            self._sink.unit(track_id, unit)
