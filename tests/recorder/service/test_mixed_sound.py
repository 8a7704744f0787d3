"""The mix comes in blocks of 20 ms on an even clock, so long after its sound as is waited for."""

from __future__ import annotations

import numpy as np

from recorder.ports import Sound, SourceTrackId
from recorder.service.mixed_sound import MixedSound

ALICE, BOB = SourceTrackId("TR_alice"), SourceTrackId("TR_bob")
T0 = 5_000_000


def block(number: int, level: int = 1_000) -> Sound:
    data = np.full(960, level, dtype=np.int16).tobytes()
    return Sound(arrival_us=T0 + (number + 1) * 10_000, samples=480, data=data)


def test_nothing_comes_before_the_first_sound() -> None:
    mixed = MixedSound(latency_us=200_000)
    assert not mixed.has_begun
    assert mixed.take(T0 + 10_000_000) == []


def test_blocks_follow_each_other_and_wait_for_late_sound() -> None:
    mixed = MixedSound(latency_us=200_000)
    given: list[Sound] = []
    for number in range(60):
        mixed.add(ALICE, block(number))
        if number >= 15:  # bob's sound takes 150 ms longer
            mixed.add(BOB, Sound(arrival_us=block(number - 15).arrival_us, samples=480, data=block(0).data))
        given += mixed.take(T0 + (number + 1) * 10_000)
    assert [sound.arrival_us for sound in given] == [T0 + (n + 1) * 20_000 for n in range(len(given))]
    assert len(given) == 20  # 600 ms less 200
    assert {sound.samples for sound in given} == {960}
    assert set(np.frombuffer(b"".join(sound.data for sound in given), dtype=np.int16)) == {2_000}


def test_without_any_sound_it_goes_on_with_silence() -> None:
    mixed = MixedSound(latency_us=200_000)
    mixed.add(ALICE, block(0))
    mixed.end(ALICE)
    given = mixed.take(T0 + 1_200_000)
    assert len(given) == 50
    assert not any(np.frombuffer(sound.data, dtype=np.int16).any() for sound in given[1:])


def test_at_the_end_nothing_is_waited_for() -> None:
    mixed = MixedSound(latency_us=200_000)
    for number in range(10):
        mixed.add(ALICE, block(number))
    assert mixed.take(T0 + 100_000) == []
    assert len(mixed.take(T0 + 100_000, is_last=True)) == 5
