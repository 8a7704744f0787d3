"""Places in time: sound without holes or overlap, picture always later, both on one clock."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from recorder.core.timeline import AUDIO_RATE_HZ, MAX_SILENCE, AudioTimeline, SoundPlace, VideoTimeline

BLOCK = 480
BLOCK_US = 10_000


def run(arrivals_us: list[int]) -> list[SoundPlace]:
    timeline = AudioTimeline()
    return [timeline.place(arrival_us=at, samples=BLOCK) for at in arrivals_us]


def kept(place: SoundPlace) -> int:
    return BLOCK - place.drop


def test_picture_stands_where_the_receiver_shows_it() -> None:
    assert VideoTimeline().place(arrival_us=1_000_000, shown_us=1_010_000) == 90_900


def test_picture_stands_at_its_arrival_when_the_shown_time_is_of_another_clock() -> None:
    assert VideoTimeline().place(arrival_us=1_000_000, shown_us=77_000_000) == 90_000
    assert VideoTimeline().place(arrival_us=1_000_000, shown_us=None) == 90_000


@given(st.lists(st.tuples(st.integers(0, 10**9), st.none() | st.integers(0, 10**9)), max_size=40))
def test_picture_pts_always_rise(times: list[tuple[int, int | None]]) -> None:
    timeline = VideoTimeline()
    pts = [timeline.place(arrival_us=arrival, shown_us=shown) for arrival, shown in times]
    assert all(later > earlier for earlier, later in pairwise(pts))
    assert all(one >= 0 for one in pts)


def test_sound_that_comes_in_time_is_left_alone() -> None:
    places = run([1_000_000 + number * BLOCK_US for number in range(300)])
    assert places[0].pts == AUDIO_RATE_HZ - BLOCK
    assert [place.pts for place in places] == [places[0].pts + number * BLOCK for number in range(300)]
    assert not any(place.silence or place.drop or place.is_jump for place in places)


def test_a_late_burst_is_jitter_and_changes_nothing() -> None:
    times = [1_000_000 + number * BLOCK_US for number in range(300)]
    for number in range(100, 130):  # the loop stood still for 300 ms
        times[number] = times[129]
    assert not any(place.silence or place.drop for place in run(times))


def test_a_hole_is_filled_with_silence_of_its_length() -> None:
    times = [number * BLOCK_US for number in range(1, 100)]
    times += [at + 400_000 for at in (number * BLOCK_US for number in range(100, 300))]
    places = run(times)
    assert sum(place.silence for place in places) == 400 * 48
    assert sum(place.drop for place in places) == 0
    assert abs(places[-1].pts - (times[-1] - BLOCK_US) * 48 // 1000) <= 48


def test_a_hole_of_seconds_is_filled_at_once() -> None:
    places = run([10_000, 20_000, 2_030_000])
    assert places[2].silence == 2 * AUDIO_RATE_HZ
    assert places[2].pts == 960 + 2 * AUDIO_RATE_HZ


def test_a_longer_hole_is_left_as_a_hole() -> None:
    place = run([10_000, 20_000, 20_030_000])[2]
    assert place.is_jump
    assert place.silence == 0
    assert place.pts == 20 * AUDIO_RATE_HZ + 960


def test_a_first_block_that_came_late_is_corrected_by_leaving_samples_out() -> None:
    times = [max(1_080_000, 1_000_000 + number * BLOCK_US) for number in range(300)]
    places = run(times)
    assert sum(place.drop for place in places) == 80 * 48
    assert places[-1].pts + BLOCK == times[-1] * 48 // 1000


def test_a_publisher_with_a_fast_clock_stays_within_the_tolerance() -> None:
    times = [round(1_000_000 + number * BLOCK_US * 0.999) for number in range(6000)]  # 0.1 %
    places = run(times)
    error = (places[-1].pts + kept(places[-1])) / 48 - times[-1] / 1000
    assert abs(error) < 45
    assert sum(place.drop for place in places) > 0


@given(st.lists(st.integers(0, 3_000_000), max_size=120))
def test_blocks_never_overlap_and_holes_are_only_jumps(pauses_us: list[int]) -> None:
    at = 0
    times = []
    for pause in pauses_us:
        at += pause
        times.append(at)
    end = None
    for place in run(times):
        assert 0 <= place.drop <= BLOCK
        assert 0 <= place.silence <= MAX_SILENCE
        if end is not None and not place.is_jump:
            assert place.pts - place.silence == end
        end = place.pts + kept(place)
