"""The drawn counter and the flash survive what codecs and scalers do to a picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenroom.synthetic_picture import (
    FLASH_FRAMES,
    FRAMES_PER_S,
    HEIGHT,
    WIDTH,
    PictureSource,
    has_flash,
    is_flash,
    read_counter,
)

SOURCE = PictureSource()


def luma(counter: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return SOURCE.draw(counter)[:HEIGHT]


@settings(deadline=None)  # a busy machine is no failure
@given(st.integers(0, 2**24 - 1))
def test_every_counter_reads_back(counter: int) -> None:
    picture = luma(counter)
    assert read_counter(picture) == counter
    assert has_flash(picture) == is_flash(counter)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_smaller_picture_reads_the_same(factor: int) -> None:
    picture = luma(1_234_567)[::factor, ::factor]
    assert read_counter(picture) == 1_234_567


def test_a_noisy_picture_reads_the_same() -> None:
    noise = np.random.default_rng(1).normal(0, 40, (HEIGHT, WIDTH))
    picture = np.clip(luma(90) + noise, 0, 255).astype(np.uint8)
    assert read_counter(picture) == 90
    assert has_flash(picture)


def test_a_picture_of_something_else_has_no_counter() -> None:
    for level in (0, 16, 128, 255):
        assert read_counter(np.full((HEIGHT, WIDTH), level, dtype=np.uint8)) is None


def test_one_wrong_cell_is_noticed() -> None:
    picture = luma(77).copy()
    picture[:80, :80] = 255 - picture[:80, :80]
    assert read_counter(picture) is None


def test_the_picture_moves_and_flashes_once_a_second() -> None:
    assert not np.array_equal(luma(10)[200:400].copy(), luma(11)[200:400])
    lit = [counter for counter in range(2 * FRAMES_PER_S) if is_flash(counter)]
    assert lit == [*range(FLASH_FRAMES), *range(FRAMES_PER_S, FRAMES_PER_S + FLASH_FRAMES)]


def test_a_counter_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"16777216 outside 0\.\.16777215"):
        SOURCE.draw(2**24)
