"""What only H.264 has: aggregates, fragments that are cut off, parameter sets."""

from __future__ import annotations

import pytest

from recorder.core.h264_units import H264Units
from tests.fakes.rtp_media import packets, pictures, receive

SENT = pictures(3)


def test_a_keyframe_without_parameter_sets_is_waited_past() -> None:
    units = H264Units()
    assert units.push(bytes((0x65,)) + bytes(40), 1, is_last=True, arrival_us=0) == ()
    assert units.needs_keyframe


def test_parameter_sets_stand_in_the_setup_and_not_in_the_picture() -> None:
    first = receive("h264", packets(SENT))[0]
    sequence, picture = first.setup.parameters
    assert (sequence[0] & 0x1F, picture[0] & 0x1F) == (7, 8)
    assert sequence not in first.data


@pytest.mark.parametrize(
    "payload",
    [
        bytes((28, 0x85)),  # a fragment without content
        bytes((28, 0x05)) + b"xx",  # the middle of what never began
        bytes((24, 0, 200)) + b"xx",  # an aggregate longer than its packet
        bytes((24, 0, 0)) + b"xx",  # an empty one in it
    ],
)
def test_a_broken_payload_costs_its_picture_and_asks_for_a_keyframe(payload: bytes) -> None:
    units = H264Units()
    for picture in SENT[:1]:
        for place, one in enumerate(picture.payloads):
            units.push(one, 0, is_last=place == len(picture.payloads) - 1, arrival_us=0)
    assert not units.needs_keyframe
    assert units.push(payload, 3000, is_last=True, arrival_us=0) == ()
    assert units.needs_keyframe


def test_a_unit_type_that_is_not_known_is_passed_over() -> None:
    units = H264Units()
    assert units.push(bytes((30,)) + b"xx", 0, is_last=True, arrival_us=0) == ()
