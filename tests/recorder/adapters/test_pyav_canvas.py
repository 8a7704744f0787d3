"""Pictures stand where they were put, in their size, and the rest is black."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from greenroom.synthetic_picture import PictureSource, read_counter
from recorder.adapters.pyav_canvas import PyavCanvas
from recorder.core.layout import Box
from recorder.ports import Picture, PlacedPicture, SourceTrackId
from tests.fakes.tracks import make_picture

ALICE, BOB = SourceTrackId("TR_alice"), SourceTrackId("TR_bob")
LEFT = Box(x=0, y=90, width=320, height=180)
RIGHT = Box(x=320, y=90, width=320, height=180)
WIDTH, HEIGHT = 640, 360


def luma(data: bytes) -> npt.NDArray[np.uint8]:
    assert len(data) == WIDTH * HEIGHT * 3 // 2
    return np.frombuffer(data, dtype=np.uint8)[: WIDTH * HEIGHT].reshape(HEIGHT, WIDTH)


def within(data: bytes, box: Box) -> npt.NDArray[np.uint8]:
    return luma(data)[box.y : box.y + box.height, box.x : box.x + box.width]


def counter(number: int) -> Picture:
    return make_picture(number, arrival_us=0, source=PictureSource())


def colour(blue: int, red: int) -> Picture:
    data = bytes([100]) * (64 * 64) + bytes([blue]) * (32 * 32) + bytes([red]) * (32 * 32)
    return Picture(arrival_us=0, shown_us=None, width=64, height=64, data=data)


def test_each_picture_is_read_in_its_box_and_nothing_beside_it() -> None:
    canvas = PyavCanvas(width=WIDTH, height=HEIGHT)
    drawn = canvas.draw([PlacedPicture(ALICE, counter(7), LEFT), PlacedPicture(BOB, counter(4711), RIGHT)])
    assert read_counter(within(drawn, LEFT)) == 7
    assert read_counter(within(drawn, RIGHT)) == 4711
    assert (luma(drawn)[:90] == 16).all()
    assert (luma(drawn)[270:] == 16).all()


def test_colours_stand_where_their_picture_stands() -> None:
    canvas = PyavCanvas(width=WIDTH, height=HEIGHT)
    box = Box(x=100, y=50, width=64, height=64)
    drawn = np.frombuffer(canvas.draw([PlacedPicture(ALICE, colour(60, 200), box)]), dtype=np.uint8)
    blue = drawn[WIDTH * HEIGHT : WIDTH * HEIGHT * 5 // 4].reshape(HEIGHT // 2, WIDTH // 2)
    red = drawn[WIDTH * HEIGHT * 5 // 4 :].reshape(HEIGHT // 2, WIDTH // 2)
    for plane, level in ((blue, 60), (red, 200)):
        assert (plane[25:57, 50:82] == level).all()
        assert (plane == 128).sum() == plane.size - 32 * 32


def test_a_picture_that_goes_leaves_black_and_one_that_stays_is_kept() -> None:
    canvas = PyavCanvas(width=WIDTH, height=HEIGHT)
    alice = counter(7)
    canvas.draw([PlacedPicture(ALICE, alice, LEFT), PlacedPicture(BOB, counter(8), RIGHT)])
    drawn = canvas.draw([PlacedPicture(ALICE, alice, LEFT)])
    assert read_counter(within(drawn, LEFT)) == 7
    assert (within(drawn, RIGHT) == 16).all()
    assert (luma(canvas.draw([])) == 16).all()


def test_what_did_not_change_is_not_drawn_again() -> None:
    canvas = PyavCanvas(width=WIDTH, height=HEIGHT)
    placed = [PlacedPicture(ALICE, counter(7), LEFT)]
    first = canvas.draw(placed)
    assert canvas.draw(placed) is first
    assert read_counter(within(canvas.draw([PlacedPicture(ALICE, counter(8), LEFT)]), LEFT)) == 8


def test_a_picture_of_another_size_fills_its_new_box() -> None:
    canvas = PyavCanvas(width=WIDTH, height=HEIGHT)
    canvas.draw([PlacedPicture(ALICE, counter(7), LEFT)])
    whole = Box(x=0, y=0, width=WIDTH, height=HEIGHT)
    assert read_counter(luma(canvas.draw([PlacedPicture(ALICE, counter(9), whole)]))) == 9


def test_a_picture_that_cannot_be_scaled_is_said_once_and_the_others_are_drawn(
    caplog: pytest.LogCaptureFixture,
) -> None:
    canvas = PyavCanvas(width=WIDTH, height=HEIGHT)
    bad = Box(x=320, y=0, width=2, height=1 << 30)
    for number in (1, 2):
        drawn = canvas.draw(
            [PlacedPicture(ALICE, counter(number), LEFT), PlacedPicture(BOB, counter(number), bad)]
        )
        assert read_counter(within(drawn, LEFT)) == number
    assert [record.levelname for record in caplog.records] == ["ERROR"]
