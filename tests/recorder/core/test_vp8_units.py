"""What only VP8 has: payload descriptors of every form."""

from __future__ import annotations

import pytest

from recorder.core.vp8_units import Vp8Units
from tests.fakes.rtp_media import pictures

KEYFRAME = pictures(1, codec="vp8")[0].data


@pytest.mark.parametrize(
    "descriptor",
    [
        bytes((0x10,)),
        bytes((0x90, 0x80, 0x05)),  # picture id of 7 bits
        bytes((0x90, 0x80, 0x85, 0x01)),  # of 15 bits
        bytes((0x90, 0xC0, 0x05, 0x07)),  # and a layer's index
        bytes((0x90, 0xF0, 0x85, 0x01, 0x07, 0x21)),  # and all the rest
        bytes((0x90, 0x10, 0x21)),  # the key index alone
    ],
)
def test_the_descriptor_is_stripped(descriptor: bytes) -> None:
    (unit,) = Vp8Units().push(descriptor + KEYFRAME, 0, is_last=True, arrival_us=0)
    assert unit.data == KEYFRAME


@pytest.mark.parametrize("payload", [bytes((0x90,)), bytes((0x90, 0x80, 0x85)), bytes((0x10,))])
def test_a_descriptor_that_is_cut_off_costs_the_picture(payload: bytes) -> None:
    units = Vp8Units()
    assert units.push(payload, 0, is_last=True, arrival_us=0) == ()
    assert units.needs_keyframe


def test_a_picture_whose_first_partition_is_missing_is_dropped() -> None:
    units = Vp8Units()
    assert units.push(bytes((0x00,)) + KEYFRAME, 0, is_last=True, arrival_us=0) == ()


def test_a_keyframe_without_its_start_code_is_none() -> None:
    broken = KEYFRAME[:3] + b"xyz" + KEYFRAME[6:]
    assert Vp8Units().push(bytes((0x10,)) + broken, 0, is_last=True, arrival_us=0) == ()
