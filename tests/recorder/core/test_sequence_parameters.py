"""The picture size of H.264 parameter sets, compared with what x264 was told."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.core.sequence_parameters import UnreadableParametersError, read_picture_size


@pytest.mark.parametrize("profile", ["baseline", "main", "high", "high422"])
@pytest.mark.parametrize("size", [(16, 16), (640, 360), (854, 480), (1366, 768)])
def test_the_picture_size_is_the_one_that_was_encoded(profile: str, size: tuple[int, int]) -> None:
    context: Any = av.CodecContext.create("libx264", "w")
    context.width, context.height = size
    context.pix_fmt = "yuv422p" if profile == "high422" else "yuv420p"
    context.time_base = Fraction(1, 30)
    context.options = {"profile": profile, "preset": "ultrafast"}
    context.flags |= av.codec.context.Flags.global_header
    context.open()
    assert read_picture_size(sequence_parameters(bytes(context.extradata))) == size


def test_an_interlaced_picture_has_its_full_height() -> None:
    context: Any = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = 720, 576, "yuv420p"
    context.time_base = Fraction(1, 30)
    context.options = {"x264-params": "interlaced=1"}
    context.flags |= av.codec.context.Flags.global_header
    context.open()
    assert read_picture_size(sequence_parameters(bytes(context.extradata))) == (720, 576)


@given(st.binary(max_size=60))
def test_no_bytes_break_the_reading_of_a_size(nal: bytes) -> None:
    try:
        width, height = read_picture_size(nal)
    except UnreadableParametersError:
        return
    assert 0 < width <= 16_384
    assert 0 < height <= 16_384


def sequence_parameters(annex_b: bytes) -> bytes:
    for unit in annex_b.replace(b"\x00\x00\x00\x01", b"\x00\x00\x01").split(b"\x00\x00\x01"):
        if unit and unit[0] & 0x1F == 7:
            return unit
    raise AssertionError("no sequence parameter set")
