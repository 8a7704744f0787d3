"""Makes a tone with a beep at each full second, and finds the beeps in a recording of it."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

RATE_HZ: Final = 48_000
BLOCK_SAMPLES: Final = RATE_HZ // 100  # 10 ms, what WebRTC takes at once
TONE_HZ: Final = 440
BEEP_HZ: Final = 2_000
BEEP_SAMPLES: Final = RATE_HZ // 10  # 100 ms
_TONE_LEVEL: Final = 0.08
_BEEP_LEVEL: Final = 0.5
_HOP: Final = RATE_HZ // 1_000  # the onset is looked for in steps of 1 ms
_WINDOW: Final = 8 * _HOP
_LOUDEST: Final = 32_767

Samples = npt.NDArray[np.int16]


def make_block(number: int) -> Samples:
    """Make 10 ms of sound.

    Args:
        number: which block since the participant began, from 0; its first sample is at `number` * 10 ms.

    Returns:
        (480,) samples, one channel, 48 kHz.
    """
    at = np.arange(BLOCK_SAMPLES, dtype=np.int64) + number * BLOCK_SAMPLES
    within = at % RATE_HZ
    sound = _TONE_LEVEL * np.sin(2 * np.pi * TONE_HZ / RATE_HZ * within)
    sound += np.where(within < BEEP_SAMPLES, _BEEP_LEVEL * np.sin(2 * np.pi * BEEP_HZ / RATE_HZ * within), 0)
    block: Samples = (sound * _LOUDEST).astype(np.int16)
    return block


def find_beeps(samples: npt.NDArray[np.float32]) -> list[float]:
    """Find where the beeps begin.

    Args:
        samples: (n,) one channel at 48 kHz, in any unit.

    Returns:
        Seconds from the first sample, rising. Beeps closer than half a second are one.
    """
    hops = (len(samples) - _WINDOW) // _HOP + 1
    if hops < 2:
        return []
    phase = np.exp(-2j * np.pi * BEEP_HZ / RATE_HZ * np.arange(len(samples)))
    running = np.concatenate(([0], np.cumsum(samples * phase)))
    starts = np.arange(hops) * _HOP
    power = np.abs(running[starts + _WINDOW] - running[starts])
    loudest = float(np.percentile(power, 99))
    if loudest <= 0 or loudest < 4 * float(np.median(power)):
        return []  # nothing stands out: no beep
    is_loud = power > loudest / 2
    rising = np.flatnonzero(is_loud[1:] & ~is_loud[:-1]) + 1
    beeps: list[float] = []
    for hop in rising:
        # half of a beep's power is reached when half of the window lies in it
        at_s = float(hop * _HOP + _WINDOW // 2) / RATE_HZ
        if not beeps or at_s - beeps[-1] > 0.5:
            beeps.append(at_s)
    return beeps
