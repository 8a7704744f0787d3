"""A camera that is too fast loses pictures evenly; one that is not loses none, however its times jitter."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from random import Random

import pytest

from recorder.core.pacing import FramePacing

BASE = Fraction(1, 90_000)


def taken(limit: int, times_s: list[float]) -> list[float]:
    pacing = FramePacing(limit, BASE)
    return [at_s for at_s in times_s if pacing.takes(round(at_s * 90_000))]


@pytest.mark.parametrize(("limit", "rate"), [(15, 30), (24, 30), (30, 60), (15, 16), (30, 31)])
def test_a_camera_that_is_too_fast_is_held_to_the_limit(limit: int, rate: int) -> None:
    kept = taken(limit, [number / rate for number in range(20 * rate)])
    assert 20 * limit - 1 <= len(kept) <= 20 * limit + 1
    assert max(later - earlier for earlier, later in pairwise(kept)) <= 2 / limit


@pytest.mark.parametrize("rate", [10, 29, 30])
def test_a_camera_within_the_limit_loses_nothing_to_jitter(rate: int) -> None:
    random = Random(7)
    times = [number / rate + random.uniform(0, 0.012) for number in range(600)]
    assert taken(30, times) == times


def test_after_a_pause_no_burst_makes_up_for_it() -> None:
    kept = taken(15, [0.0, *(10 + number / 60 for number in range(60))])
    assert len(kept) <= 1 + 15 + 2


def test_without_it_the_fast_camera_would_not_be_held() -> None:
    naive = [number / 60 for number in range(600)]
    assert len(taken(30, naive)) < len(naive) * 0.51
