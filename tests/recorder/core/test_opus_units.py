"""How long Opus packets say that they sound, compared with what the encoder was given."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest

from recorder.core.opus_units import OpusUnits, packet_ticks


@pytest.mark.parametrize("milliseconds", ["2.5", "5", "10", "20", "40", "60"])
@pytest.mark.parametrize("application", ["voip", "audio", "lowdelay"])
def test_the_duration_is_that_of_the_encoded_samples(milliseconds: str, application: str) -> None:
    encoder: Any = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "mono", "s16"
    encoder.time_base = Fraction(1, 48_000)
    encoder.options = {"frame_duration": milliseconds, "application": application}
    encoder.open()
    samples = int(float(milliseconds) * 48)
    tone = (np.sin(np.arange(samples) / 20) * 9000).astype(np.int16).reshape(1, -1)
    seen = 0
    for number in range(5):
        frame = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
        frame.sample_rate, frame.pts = 48_000, number * samples
        for packet in encoder.encode(frame):
            assert packet_ticks(bytes(packet)) == samples
            seen += 1
    assert seen


def test_several_frames_in_a_packet_are_counted() -> None:
    assert packet_ticks(bytes((0xF8 | 1,)) + b"xx") == 2 * 960  # two frames of 20 ms
    assert packet_ticks(bytes((0xF8 | 3, 4)) + b"xxxx") == 4 * 960


@pytest.mark.parametrize("packet", [b"", bytes((0xFB,)), bytes((0xF8 | 3, 63)) + b"x", bytes((0xFB, 0))])
def test_what_is_no_opus_is_left_out(packet: bytes) -> None:
    assert packet_ticks(packet) == 0
    assert OpusUnits().push(packet or b"", 0, is_last=True, arrival_us=0) == ()


def test_a_packet_is_a_unit_at_its_place() -> None:
    (unit,) = OpusUnits().push(bytes((0xF8,)) + b"x", 4711, is_last=False, arrival_us=9)
    assert (unit.rtp_time, unit.arrival_us, unit.duration, unit.is_keyframe) == (4711, 9, 960, True)
