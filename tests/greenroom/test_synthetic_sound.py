"""Beeps are found where they were made, to the millisecond, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from greenroom.synthetic_sound import BLOCK_SAMPLES, RATE_HZ, find_beeps, make_block


def sound(seconds: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.concatenate([make_block(n) for n in range(int(seconds * 100))]).astype(np.float32)


@pytest.mark.parametrize("cut", [1, 480, 12_345, 30_000])
def test_beeps_are_found_wherever_the_recording_begins(cut: int) -> None:
    beeps = find_beeps(sound(4.5)[cut:])
    expected = [second - cut / RATE_HZ for second in (1, 2, 3, 4)]
    found = [beep for beep in beeps if beep > 0.2]
    assert found == pytest.approx([at for at in expected if at > 0.2], abs=0.002)


def test_noise_and_another_loudness_change_nothing() -> None:
    noisy = sound(3.5) * 0.2 + np.random.default_rng(2).normal(0, 200, int(3.5 * RATE_HZ))
    assert find_beeps(noisy.astype(np.float32))[-2:] == pytest.approx([2, 3], abs=0.003)


def test_silence_a_tone_and_nothing_have_no_beep() -> None:
    at = np.arange(3 * RATE_HZ)
    tone = np.sin(2 * np.pi * 440 / RATE_HZ * at).astype(np.float32)
    for samples in (np.zeros(3 * RATE_HZ, dtype=np.float32), tone, np.zeros(0, dtype=np.float32)):
        assert find_beeps(samples) == []


def test_blocks_join_without_a_seam() -> None:
    joined = np.concatenate([make_block(120), make_block(121)])
    assert joined.shape == (2 * BLOCK_SAMPLES,)
    steps = np.abs(np.diff(joined.astype(np.int32)))
    assert steps[BLOCK_SAMPLES - 1] <= steps.max()
