"""Placing RTP times: by arrival, then by sender reports, with late packets, a wrong wall clock and drift."""

from __future__ import annotations

import random

from recorder.core.rtp_clock import ParticipantClock, RtpClock

AUDIO, VIDEO = 48_000, 90_000
WALL_US = 1_790_000_000_000_000  # the participant's; wrong by years is no matter


def feed(
    clock: RtpClock, rate: int, *, delay_us: int, jitter_us: int, seconds: int, begin: int, seed: int
) -> None:
    """Let units arrive, 50 a second; RTP time ``begin`` was sampled at attempt time 0."""
    source = random.Random(seed)
    for number in range(seconds * 50):
        at_us = number * 20_000
        clock.arrived(begin + at_us * rate // 1_000_000, at_us + delay_us + source.randint(0, jitter_us))


def test_before_a_report_a_track_stands_where_its_earliest_packet_came() -> None:
    clock = ParticipantClock().track(AUDIO)
    feed(clock, AUDIO, delay_us=5_000, jitter_us=60_000, seconds=3, begin=777, seed=1)
    assert abs(clock.place_us(777) - 5_000) < 2_000
    assert not clock.is_reported


def test_reports_put_sound_and_picture_in_sync_though_pictures_come_late() -> None:
    participant = ParticipantClock()
    sound, picture = participant.track(AUDIO), participant.track(VIDEO)
    feed(sound, AUDIO, delay_us=10_000, jitter_us=5_000, seconds=3, begin=1_000, seed=1)
    feed(picture, VIDEO, delay_us=90_000, jitter_us=30_000, seconds=3, begin=5_000_000, seed=2)
    assert picture.place_us(5_000_000) - sound.place_us(1_000) > 70_000  # by arrival alone
    sound.report(1_000 + 2 * AUDIO, WALL_US + 2_000_000)
    picture.report(5_000_000 + 2 * VIDEO, WALL_US + 2_000_000)
    assert abs(picture.place_us(5_000_000) - sound.place_us(1_000)) < 100
    assert abs(sound.place_us(1_000) - 10_000) < 2_000


def test_one_report_alone_moves_nothing() -> None:
    participant = ParticipantClock()
    sound = participant.track(AUDIO)
    feed(sound, AUDIO, delay_us=10_000, jitter_us=0, seconds=1, begin=0, seed=1)
    before = sound.place_us(0)
    sound.report(AUDIO, WALL_US)
    assert abs(sound.place_us(0) - before) < 100


def test_reports_of_a_busy_sender_do_not_move_its_sound() -> None:
    """Seen of a starved publisher: one report in five seconds, its sound handed over up to 135 ms late."""
    lateness_us = (0, 60_000, 135_000, 5_000, 90_000, 2_000, 40_000, 110_000, 0)
    participant = ParticipantClock()
    sound, picture = participant.track(AUDIO), participant.track(VIDEO)
    apart, naive = [], []
    for number, late_us in enumerate(lateness_us):
        at_us = number * 5_000_000
        for track, rate in ((sound, AUDIO), (picture, VIDEO)):
            track.arrived(at_us * rate // 1_000_000, at_us + 3_000)
        sound.report(at_us * AUDIO // 1_000_000, WALL_US + at_us + late_us)
        picture.report(at_us * VIDEO // 1_000_000, WALL_US + at_us)
        apart.append(sound.place_us(0) - picture.place_us(0))
        naive.append(late_us)
    assert max(apart) <= 5_000
    assert max(naive) > 100_000


def test_a_time_that_stood_still_is_followed_with_the_next_report() -> None:
    sound = ParticipantClock().track(AUDIO)
    for second in (0, 5, 10):
        sound.arrived(second * AUDIO, second * 1_000_000)
        sound.report(second * AUDIO, WALL_US + second * 1_000_000)
    for second in (20, 26):  # for eight seconds of them it did not count
        sound.arrived((second - 8) * AUDIO, second * 1_000_000)
        sound.report((second - 8) * AUDIO, WALL_US + second * 1_000_000)
    assert abs(sound.place_us(18 * AUDIO) - 26_000_000) < 100


def test_a_clock_that_drifts_is_seen() -> None:
    participant = ParticipantClock()
    sound = participant.track(AUDIO)
    placed = []
    for second in range(0, 600, 5):  # 100 ppm fast: 60 ms in ten minutes
        for number in range(10):
            at_us = second * 1_000_000 + number * 20_000
            sound.arrived(round(at_us * 1.0001 * AUDIO / 1_000_000), at_us + 4_000)
        sound.report(round(second * 1.0001 * AUDIO), WALL_US + second * 1_000_000)
        placed.append(sound.place_us(0))
    assert -70_000 < placed[-1] - placed[0] < -50_000


def test_a_track_that_ended_holds_nobody_back() -> None:
    participant = ParticipantClock()
    old, new = participant.track(AUDIO), participant.track(VIDEO)
    feed(old, AUDIO, delay_us=1_000, jitter_us=0, seconds=1, begin=0, seed=1)
    feed(new, VIDEO, delay_us=50_000, jitter_us=0, seconds=1, begin=0, seed=1)
    old.report(AUDIO, WALL_US + 1_000_000)
    new.report(VIDEO, WALL_US + 1_000_000)
    assert abs(new.place_us(0) - 1_000) < 100
    participant.forget(old)
    assert abs(new.place_us(0) - 50_000) < 100
