"""Pictures keep their content when they are scaled, and lose their odd edge."""

from __future__ import annotations

import numpy as np
import pytest

from greenroom.synthetic_picture import PictureSource, read_counter
from recorder.adapters.pyav_pictures import FrameScaler, frame_of
from recorder.core.errors import CaptureError
from recorder.ports import Picture
from tests.fakes.tracks import make_picture


def test_a_counter_is_read_in_a_quarter_of_the_size() -> None:
    frame = frame_of(make_picture(4711, arrival_us=0, source=PictureSource()))
    small = FrameScaler(width=320, height=180).scale(frame)
    assert (small.width, small.height) == (320, 180)
    assert read_counter(small.to_ndarray(format="gray").astype(np.uint8)) == 4711


def test_a_frame_that_has_the_size_is_not_touched() -> None:
    frame = frame_of(make_picture(1, arrival_us=0))
    assert FrameScaler(width=1280, height=720).scale(frame) is frame


def test_an_odd_edge_is_left_out_and_the_rest_stays_in_its_place() -> None:
    luma = np.arange(5 * 3, dtype=np.uint8).reshape(3, 5)
    chroma = np.arange(2 * 3 * 2, dtype=np.uint8) + 100
    data = luma.tobytes() + chroma.tobytes()
    frame = frame_of(Picture(arrival_us=0, shown_us=None, width=5, height=3, data=data))
    planes = frame.to_ndarray()
    assert (frame.width, frame.height) == (4, 2)
    assert planes[:2].tolist() == luma[:2, :4].tolist()
    assert planes[2].tolist() == [100, 101, 106, 107]


def test_a_size_that_cannot_be_is_a_capture_error() -> None:
    with pytest.raises(CaptureError, match="a picture cannot be scaled from 1280x720 to 2x100000000"):
        FrameScaler(width=2, height=100_000_000).scale(frame_of(make_picture(1, arrival_us=0)))
