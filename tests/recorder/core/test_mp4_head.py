"""Heads of MP4 init runs that we write ourselves, read and decoded by FFmpeg."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest

from recorder.core.fragments import Packet, encode_fragment
from recorder.core.mp4_head import h264_format, opus_format
from recorder.core.units import CodecSetup
from tests.fakes.rtp_media import file_of, packets, pictures, receive


@pytest.mark.parametrize("size", [(320, 180), (1280, 720), (322, 182), (1920, 1080)])
def test_what_was_recorded_decodes_to_the_pictures_that_were_sent(size: tuple[int, int]) -> None:
    sent = pictures(12, codec="h264", size=size, keyframes=frozenset({6}))
    units = receive("h264", packets(sent))
    form = h264_format(units[0].setup)
    assert (form.width, form.height) == size
    decoder: Any = av.CodecContext.create("h264", "r")
    wanted = [f.to_ndarray() for one in sent for f in decoder.decode(av.Packet(one.data))]
    wanted += [f.to_ndarray() for f in decoder.decode(None)]
    with av.open(io.BytesIO(file_of(form, units)), "r") as file:
        (stream,) = file.streams
        assert stream.codec_context.name == "h264"
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
