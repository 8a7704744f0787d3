"""Init parts that we write ourselves, read and decoded by FFmpeg; and the picture size of parameter sets."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.core.chunking import TrackFormat
from recorder.core.fragments import Packet, encode_fragment
from recorder.core.mp4_head import h264_format, opus_format
from recorder.core.sequence_parameters import UnreadableParametersError, read_picture_size
from recorder.core.units import AccessUnit, CodecSetup
from recorder.core.webm import encode_cluster, vp8_format
from tests.fakes.rtp_media import packets, pictures
from tests.recorder.core.test_video_units import receive


def file_of(form: TrackFormat, units: list[AccessUnit]) -> bytes:
    """Write an init run of 30 frames a second in fragments of ten units."""
    step = Fraction(1, 30) / form.time_base
    write = encode_cluster if form.codec == "vp8" else encode_fragment
    out = form.init_part
    for first in range(0, len(units), 10):
        part = [
            Packet(
                pts=round((first + place) * step),
                duration_pts=round(step),
                data=unit.data,
                is_keyframe=unit.is_keyframe,
            )
            for place, unit in enumerate(units[first : first + 10])
        ]
        out += write(first // 10 + 1, part)
    return out


@pytest.mark.parametrize("codec", ["h264", "vp8"])
@pytest.mark.parametrize("size", [(320, 180), (1280, 720), (322, 182), (1920, 1080)])
def test_what_was_recorded_decodes_to_the_pictures_that_were_sent(codec: str, size: tuple[int, int]) -> None:
    sent = pictures(12, codec=codec, size=size, keyframes=frozenset({6}))
    units = receive(codec, packets(sent))
    form = (h264_format if codec == "h264" else vp8_format)(units[0].setup)
    assert (form.width, form.height) == size
    decoder: Any = av.CodecContext.create(codec, "r")
    wanted = [f.to_ndarray() for one in sent for f in decoder.decode(av.Packet(one.data))]
    wanted += [f.to_ndarray() for f in decoder.decode(None)]
    with av.open(io.BytesIO(file_of(form, units)), "r") as file:
        (stream,) = file.streams
        assert stream.codec_context.name == codec
        frames = list(file.decode(video=0))
    assert [(frame.width, frame.height) for frame in frames] == [size] * 12
    for frame, expected in zip(frames, wanted, strict=True):
        assert np.array_equal(frame.to_ndarray(), expected)
    times = [float(frame.time) for frame in frames]
    assert times == pytest.approx([number / 30 for number in range(12)], abs=0.0011)


def test_opus_is_read_with_its_rate_channels_and_times() -> None:
    encoder: Any = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "mono", "s16"
    encoder.time_base = Fraction(1, 48_000)
    tone = (np.sin(np.arange(960) / 20) * 9000).astype(np.int16).reshape(1, -1)
    data = []
    for number in range(20):
        frame = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
        frame.sample_rate, frame.pts = 48_000, number * 960
        data += [bytes(packet) for packet in encoder.encode(frame)]
    form = opus_format(CodecSetup(codec="opus", channels=2))
    run = [
        Packet(pts=place * 960, duration_pts=960, data=one, is_keyframe=True)
        for place, one in enumerate(data)
    ]
    with av.open(io.BytesIO(form.init_part + encode_fragment(1, run)), "r") as file:
        (stream,) = file.streams.audio
        assert (stream.codec_context.name, stream.rate, stream.channels) == ("opus", 48_000, 2)
        frames = list(file.decode(audio=0))
    assert sum(frame.samples for frame in frames) == len(data) * 960
    loud = np.concatenate([frame.to_ndarray()[0] for frame in frames[5:]])
    assert np.abs(loud).max() > 0.1


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


@pytest.mark.parametrize("write", [encode_fragment, encode_cluster])
def test_packets_that_do_not_rise_are_the_callers_mistake(write: Any) -> None:
    packet = Packet(pts=5, duration_pts=1, data=b"x", is_keyframe=True)
    with pytest.raises(ValueError, match="do not rise"):
        write(1, [packet, packet])
    with pytest.raises(ValueError, match="at least one"):
        write(1, [])


def sequence_parameters(annex_b: bytes) -> bytes:
    for unit in annex_b.replace(b"\x00\x00\x00\x01", b"\x00\x00\x01").split(b"\x00\x00\x01"):
        if unit and unit[0] & 0x1F == 7:
            return unit
    raise AssertionError("no sequence parameter set")
