"""The streams of a connection, packet by packet: what is handed over, asked for, given up and reported."""

from __future__ import annotations

import struct

import pytest

from recorder.adapters.passthrough.streams import ReceivedStreams
from recorder.core.units import AccessUnit
from recorder.ports import Picture, Sound, SourceTrack, SourceTrackId
from tests.fakes.media_clock import FakeMediaClock
from tests.fakes.rtp_media import TICKS, packets, pictures, rtp_packet

CAMERA, MICROPHONE = SourceTrackId("TR_camera"), SourceTrackId("TR_microphone")
SENT = pictures(40, keyframes=frozenset({30}))
STREAM = packets(SENT)  # both counters wrap within it
NACK, PLI = (205, 1), (206, 1)


class Stage:
    """The streams of one camera (SSRC 7, H.264 as 96) and one microphone (SSRC 8, Opus as 111)."""

    def __init__(self) -> None:
        self.clock = FakeMediaClock()
        self.units: list[tuple[SourceTrackId, AccessUnit]] = []
        self.reports: list[tuple[int, int]] = []
        self.lost_packets = 0
        self.sent: list[bytes] = []
        self.streams = ReceivedStreams(self, self.clock, keyframe_us=4_000_000, send=self.sent.append)
        self.streams.codecs = {96: "h264", 111: "opus"}
        self.streams.add(CAMERA, [7])
        self.streams.add(MICROPHONE, [8])

    # --- a FrameSink ---

    def track_started(self, track: SourceTrack) -> None:
        raise AssertionError("tracks are begun elsewhere")

    def picture(self, track_id: SourceTrackId, picture: Picture) -> None:
        raise AssertionError("nothing is decoded")

    def sound(self, track_id: SourceTrackId, sound: Sound) -> None:
        raise AssertionError("nothing is decoded")

    def opened(self, identity: str, *, is_opened: bool) -> None:
        raise AssertionError("nothing is encrypted")

    def track_ended(self, track_id: SourceTrackId) -> None:
        raise AssertionError("tracks are ended elsewhere")

    def unit(self, track_id: SourceTrackId, unit: AccessUnit) -> None:
        self.units.append((track_id, unit))

    def sender_reported(self, track_id: SourceTrackId, rtp_time: int, ntp_us: int) -> None:
        self.reports.append((rtp_time, ntp_us))

    def lost(self, track_id: SourceTrackId, packets: int) -> None:
        self.lost_packets += packets

    # --- driving and reading ---

    def receive(self, stream: list[bytes], *, every_s: float = 0.001) -> None:
        for number, packet in enumerate(stream):
            self.streams.rtp(packet)
            self.clock.advance(every_s)
            if number % 20 == 19:
                self.streams.after_batch()

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.1)):
            self.clock.advance(0.1)
            self.streams.after_batch()

    def asked(self, kind: tuple[int, int]) -> list[bytes]:
        """The feedback of a kind that was sent, behind its empty receiver report."""
        found = [compound[8:] for compound in self.sent if len(compound) > 8]
        return [one for one in found if (one[1], one[0] & 0x1F) == kind]

    @property
    def times(self) -> list[int]:
        return [unit.rtp_time for _, unit in self.units]


def numbers_of(nack: bytes) -> set[int]:
    """The sequence numbers that a NACK asks for."""
    asked = set()
    for first, mask in struct.iter_unpack(">HH", nack[12:]):
        asked |= {first} | {(first + 1 + bit) & 0xFFFF for bit in range(16) if mask >> bit & 1}
    return asked


def test_both_counters_wrap_and_every_picture_comes_out() -> None:
    stage = Stage()
    stage.receive(STREAM)
    first = stage.times[0]
    assert stage.times == [first + number * TICKS for number in range(40)]
    assert first < 1 << 32 <= stage.times[-1]
    assert stage.lost_packets == 0
    assert not stage.asked(NACK)


def test_a_report_after_the_wrap_lies_among_the_units() -> None:
    stage = Stage()
    stage.receive(STREAM)
    rtp_time = stage.times[-1] & 0xFFFFFFFF
    report = struct.pack(">BBHIIIIII", 0x80, 200, 6, 7, 2_208_988_805, 1 << 31, rtp_time, 0, 0)
    stage.streams.rtcp(report)
    assert stage.reports == [(stage.times[-1], 5_500_000)]


def test_streams_of_nobody_and_codecs_that_were_not_agreed_are_passed_over() -> None:
    stage = Stage()
    stage.receive([rtp_packet(b"\xf8x", number=1, rtp_time=0, is_last=False, ssrc=9, payload_type=111)])
    stage.receive([rtp_packet(b"\xf8x", number=1, rtp_time=0, is_last=False, ssrc=8, payload_type=77)])
    assert not stage.units
    assert not stage.streams.had_media
    assert not stage.sent


def test_missing_packets_are_asked_for_until_they_come_and_nothing_is_lost() -> None:
    stage = Stage()
    missing = set(range(30, 45)) | {90}
    stage.receive([packet for number, packet in enumerate(STREAM) if number not in missing])
    stage.wait(0.3)
    numbers = {struct.unpack_from(">H", STREAM[number], 2)[0] for number in missing}
    assert all(numbers_of(nack) <= numbers for nack in stage.asked(NACK))
    assert numbers_of(stage.asked(NACK)[-1]) == numbers
    assert len(stage.asked(NACK)) >= 2
    count = len(stage.units)
    for number in sorted(missing, reverse=True):
        stage.streams.rtp(STREAM[number])
    assert len(stage.units) == 40 > count
    assert stage.times == sorted(stage.times)
    assert stage.lost_packets == 0


def test_what_never_comes_is_given_up_and_pictures_go_on_with_the_keyframe_that_is_asked_for() -> None:
    stage = Stage()
    before = len(packets(SENT[:5]))
    until_key = len(packets(SENT[:30]))
    stage.receive(STREAM[:before] + STREAM[before + 3 : until_key])
    plis = len(stage.asked(PLI))
    stage.wait(1.2)
    assert stage.lost_packets == 3
    assert len(stage.units) == 5
    assert len(stage.asked(PLI)) > plis
    stage.receive(STREAM[until_key:])
    assert stage.units[5][1].is_keyframe
    assert len(stage.units) == 15


def test_keyframes_are_asked_for_at_once_and_then_not_more_often_than_twice_a_second() -> None:
    stage = Stage()
    stage.streams.rtp(rtp_packet(b"\x41x", number=1, rtp_time=0, is_last=True))
    assert len(stage.asked(PLI)) == 1
    stage.wait(5.0)
    assert 9 <= len(stage.asked(PLI)) <= 11


def test_sound_behind_a_hole_is_handed_over_when_its_track_ends() -> None:
    stage = Stage()
    for number in (1, 2, 4, 5):
        stage.streams.rtp(
            rtp_packet(
                b"\xf8x", number=number, rtp_time=number * 960, is_last=False, ssrc=8, payload_type=111
            )
        )
    assert stage.times == [960, 1920]
    stage.streams.remove(MICROPHONE)
    assert stage.times == [960, 1920, 3840, 4800]
    assert stage.lost_packets == 1
    stage.streams.rtp(rtp_packet(b"\xf8x", number=6, rtp_time=0, is_last=False, ssrc=8, payload_type=111))
    assert len(stage.units) == 4


@pytest.mark.parametrize("seconds", [1.0, 3.0])
def test_what_was_received_is_reported_once_a_second(seconds: float) -> None:
    stage = Stage()
    stage.receive(STREAM[:20])
    stage.sent.clear()
    stage.wait(seconds)
    reports = [one for one in stage.sent if one[1] == 201 and len(one) == 32]
    assert len(reports) == pytest.approx(seconds, abs=1)
    assert reports[0][8:12] == (7).to_bytes(4, "big")
