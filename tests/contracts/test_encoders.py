"""What every `Encoders` does: PyAV's and the fake that the recorder's tests use."""

from __future__ import annotations

from itertools import pairwise

import pytest

from recorder.adapters.pyav_muxer import PyavEncoders
from recorder.ports import Encoders, Picture
from tests.fakes.encoders import FakeEncoders


@pytest.fixture(params=["pyav", "fake"])
def encoders(request: pytest.FixtureRequest) -> Encoders:
    return PyavEncoders() if request.param == "pyav" else FakeEncoders()


def grey(width: int, height: int, level: int) -> Picture:
    half = ((width + 1) // 2) * ((height + 1) // 2)
    data = bytes([level]) * (width * height) + bytes([128]) * (2 * half)
    return Picture(arrival_us=0, shown_us=None, width=width, height=height, data=data)


def test_video_gives_each_picture_at_its_pts_with_keyframes_where_asked(encoders: Encoders) -> None:
    encoder = encoders.video(width=64, height=48)
    packets = []
    for number in range(12):
        packets += encoder.encode(
            grey(64, 48, 16 + number * 10), pts=100 + number * 3000, is_keyframe=number in (0, 7)
        )
    packets += encoder.finish()
    assert [packet.pts for packet in packets] == [100 + number * 3000 for number in range(12)]
    assert [number for number, packet in enumerate(packets) if packet.is_keyframe] == [0, 7]
    assert all(packet.data and packet.duration_pts > 0 for packet in packets)


def test_video_says_its_format_before_the_first_picture(encoders: Encoders) -> None:
    form = encoders.video(width=64, height=48).format
    assert (form.kind, form.codec, form.width, form.height) == ("video", "h264", 64, 48)
    assert form.init_part
    assert form.mime.startswith('video/mp4; codecs="avc1.')


def test_video_of_an_odd_size_loses_its_last_row_and_column(encoders: Encoders) -> None:
    encoder = encoders.video(width=65, height=49)
    packets = encoder.encode(grey(65, 49, 90), pts=0, is_keyframe=True) + encoder.finish()
    assert (encoder.format.width, encoder.format.height) == (64, 48)
    assert len(packets) == 1


def test_audio_covers_its_samples_without_hole_or_overlap(encoders: Encoders) -> None:
    encoder = encoders.audio()
    packets = []
    for number in range(25):
        packets += encoder.encode(bytes(480 * 4), pts=48_000 + number * 480)
    packets += encoder.finish()
    starts = [packet.pts for packet in packets]
    assert all(later - start == 960 for start, later in pairwise(starts))
    assert 48_000 - 960 < starts[0] <= 48_000
    assert starts[-1] + 960 >= 48_000 + 25 * 480 - 960
    assert all(packet.is_keyframe and packet.duration_pts == 960 for packet in packets)


def test_audio_that_does_not_follow_is_refused(encoders: Encoders) -> None:
    encoder = encoders.audio()
    encoder.encode(bytes(480 * 4), pts=48_000)
    with pytest.raises(ValueError, match="samples at 96000 do not follow"):
        encoder.encode(bytes(480 * 4), pts=96_000)
