"""The mix is the sum of its voices, each in its place; it never clips, and nobody is waited for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from recorder.core.mixing import CEILING, HELD_SAMPLES, STEP_SAMPLES, Limiter, Mixer, Samples, VoiceId
from recorder.core.timeline import AUDIO_RATE_HZ

ALICE, BOB = VoiceId("alice"), VoiceId("bob")
BLOCK = AUDIO_RATE_HZ // 100


def tone(hz: float, level: float, start: int, count: int = BLOCK) -> bytes:
    wave = level * np.sin(2 * np.pi * hz / AUDIO_RATE_HZ * np.arange(start, start + count))
    return np.repeat(np.rint(wave).astype(np.int16), 2).tobytes()


def strength(samples: npt.NDArray[np.int16], hz: float) -> float:
    """Amplitude of a tone in the left channel."""
    left = samples[:, 0].astype(np.float64)
    wave = np.exp(-2j * np.pi * hz / AUDIO_RATE_HZ * np.arange(len(left)))
    return float(2 * np.abs((left * wave).mean()))


def play(mixer: Mixer, voices: dict[VoiceId, tuple[float, float]], *, blocks: int, first: int = 0) -> None:
    for number in range(first, first + blocks):
        for voice, (hz, level) in voices.items():
            arrival_us = (number + 1) * 10_000
            mixer.add(voice, tone(hz, level, number * BLOCK), arrival_us=arrival_us)


def test_both_tones_are_in_the_mix_with_their_strength_and_nothing_else() -> None:
    mixer = Mixer()
    play(mixer, {ALICE: (440, 6_000), BOB: (1_000, 3_000)}, blocks=100)
    mixed = mixer.take(200)
    assert strength(mixed, 440) == pytest.approx(6_000, rel=0.01)
    assert strength(mixed, 1_000) == pytest.approx(3_000, rel=0.01)
    assert strength(mixed, 700) < 10
    assert (mixed[:, 0] == mixed[:, 1]).all()


def test_what_is_too_loud_together_is_turned_down_and_stays_a_tone() -> None:
    mixer = Mixer()
    play(mixer, {ALICE: (400, 30_000), BOB: (400, 30_000)}, blocks=100)
    mixed = mixer.take(200)
    assert np.abs(mixed).max() <= CEILING
    settled = mixed[AUDIO_RATE_HZ // 10 :]
    assert strength(settled, 400) == pytest.approx(CEILING, rel=0.02)
    assert strength(settled, 1_200) < CEILING / 100  # clipping would put the third harmonic there
    clipped = np.clip(
        2 * np.frombuffer(tone(400, 30_000, 0, AUDIO_RATE_HZ), dtype=np.int16), -CEILING, CEILING
    )
    assert strength(clipped.reshape(-1, 2), 1_200) > CEILING / 100


def test_the_gain_comes_back_slowly_without_a_step() -> None:
    limiter = Limiter()
    loud = np.full((10 * STEP_SAMPLES, 2), 60_000, dtype=np.int32)
    quiet = np.full((101 * STEP_SAMPLES, 2), 10_000, dtype=np.int32)
    first = limiter.limit(np.concatenate([loud, quiet[:STEP_SAMPLES]]))
    assert (first <= CEILING).all()
    assert first[-1, 0] == pytest.approx(CEILING, abs=1)
    after = limiter.limit(quiet)[:, 0].astype(np.int32)
    assert after[0] == pytest.approx(10_000 * CEILING / 60_000, rel=0.02)
    assert after[-1] == 10_000
    assert (np.diff(after) >= 0).all()
    assert np.diff(after).max() <= 3


def test_it_is_turned_down_before_the_loud_part_comes() -> None:
    ahead = np.zeros((4 * STEP_SAMPLES, 2), dtype=np.int32)
    ahead[:] = 20_000
    ahead[2 * STEP_SAMPLES :] = 40_000
    limited = Limiter().limit(ahead)
    assert np.abs(limited).max() <= CEILING
    assert limited[2 * STEP_SAMPLES - 1, 0] < 20_000  # the step before is turned down already


def test_a_voice_that_begins_later_stands_in_its_place() -> None:
    mixer = Mixer()
    play(mixer, {ALICE: (440, 5_000)}, blocks=100)
    play(mixer, {BOB: (1_000, 5_000)}, blocks=50, first=50)
    mixed = mixer.take(200)
    half = AUDIO_RATE_HZ // 2
    assert strength(mixed[:half], 1_000) < 20
    assert strength(mixed[half:], 1_000) == pytest.approx(5_000, rel=0.01)


def test_a_hole_is_silence_and_what_comes_after_it_is_not_early() -> None:
    mixer = Mixer()
    play(mixer, {ALICE: (440, 5_000)}, blocks=20)
    play(mixer, {ALICE: (440, 5_000)}, blocks=20, first=130)  # more than a second is missing
    mixed = mixer.take(320)
    assert not mixed[20 * BLOCK : 130 * BLOCK].any()
    assert strength(mixed[130 * BLOCK : 150 * BLOCK], 440) == pytest.approx(5_000, rel=0.01)


def drifting(mixer: Mixer, parts_per_million: int, *, seconds: int) -> Samples:
    """Alice's clock counts more samples than ours in the same time; she clicks once a second of ours."""
    rate = AUDIO_RATE_HZ * (1_000_000 + parts_per_million) // 1_000_000
    sent = np.zeros((seconds * rate + rate, 2), dtype=np.int16)
    for second in range(1, seconds):
        sent[second * rate : second * rate + 48] = 20_000
    taken = []
    for number in range(seconds * 100):
        block = sent[number * rate // 100 : (number + 1) * rate // 100]
        mixer.add(ALICE, block.tobytes(), arrival_us=(number + 1) * 10_000)
        if number % 2 and number > 20:
            taken.append(mixer.take(4))
    return np.concatenate(taken)


@pytest.mark.parametrize("parts_per_million", [-2_000, 0, 2_000])
def test_a_clock_that_runs_wrong_does_not_carry_its_voice_away(parts_per_million: int) -> None:
    mixer = Mixer()
    mixed = drifting(mixer, parts_per_million, seconds=60)
    clicks = np.flatnonzero(np.diff((mixed[:, 0] > 10_000).astype(np.int8)) > 0) / AUDIO_RATE_HZ
    assert len(clicks) >= 50
    offsets = (clicks + 0.5) % 1 - 0.5
    assert np.abs(offsets).max() <= 0.045
    assert mixer.late_samples == 0
    # Placed by their own count alone, the last click would be this far off:
    assert abs(parts_per_million) * 60 / 1_000_000 in (0, pytest.approx(0.12))


def test_what_comes_after_its_place_was_taken_is_left_out_and_counted() -> None:
    mixer = Mixer()
    play(mixer, {ALICE: (440, 5_000)}, blocks=20)
    mixer.take(60)  # 300 ms, of which 100 were not there yet
    play(mixer, {ALICE: (440, 5_000)}, blocks=20, first=20)
    assert mixer.late_samples == 10 * BLOCK
    mixed = mixer.take(20)
    assert strength(mixed, 440) == pytest.approx(5_000, rel=0.01)


def test_what_lies_too_far_ahead_does_no_harm() -> None:
    mixer = Mixer()
    play(mixer, {ALICE: (440, 5_000)}, blocks=1)
    mixer.add(BOB, tone(440, 5_000, 0), arrival_us=60_000_000)
    assert mixer.take(HELD_SAMPLES // STEP_SAMPLES // 2).any()
    assert not mixer.take(HELD_SAMPLES // STEP_SAMPLES // 2).any()


def test_a_voice_that_ended_is_placed_anew_when_it_comes_again() -> None:
    mixer = Mixer()
    play(mixer, {ALICE: (440, 5_000)}, blocks=10)
    mixer.end(ALICE)
    play(mixer, {ALICE: (440, 5_000)}, blocks=10, first=15)  # too short a hole to be seen at once otherwise
    mixed = mixer.take(50)
    assert not mixed[10 * BLOCK : 15 * BLOCK].any()
    assert mixed[15 * BLOCK : 25 * BLOCK].any()
