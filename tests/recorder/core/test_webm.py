"""WebM that we write ourselves, read and decoded by FFmpeg."""

from __future__ import annotations

import io
from typing import Any

import av
import numpy as np
import pytest

from recorder.core.fragments import Packet
from recorder.core.webm import encode_cluster, vp8_format
from tests.fakes.rtp_media import file_of, packets, pictures, receive


@pytest.mark.parametrize("size", [(320, 180), (1280, 720), (322, 182), (1920, 1080)])
def test_what_was_recorded_decodes_to_the_pictures_that_were_sent(size: tuple[int, int]) -> None:
    sent = pictures(12, codec="vp8", size=size, keyframes=frozenset({6}))
    units = receive("vp8", packets(sent))
    form = vp8_format(units[0].setup)
    assert (form.width, form.height) == size
    decoder: Any = av.CodecContext.create("vp8", "r")
    wanted = [f.to_ndarray() for one in sent for f in decoder.decode(av.Packet(one.data))]
    wanted += [f.to_ndarray() for f in decoder.decode(None)]
    with av.open(io.BytesIO(file_of(form, units)), "r") as file:
        (stream,) = file.streams
        assert stream.codec_context.name == "vp8"
        frames = list(file.decode(video=0))
    assert [(frame.width, frame.height) for frame in frames] == [size] * 12
    for frame, expected in zip(frames, wanted, strict=True):
        assert np.array_equal(frame.to_ndarray(), expected)
    times = [float(frame.time) for frame in frames]
    assert times == pytest.approx([number / 30 for number in range(12)], abs=0.0011)


def test_packets_that_do_not_rise_are_the_callers_mistake() -> None:
    packet = Packet(pts=5, duration_pts=1, data=b"x", is_keyframe=True)
    with pytest.raises(ValueError, match="do not rise"):
        encode_cluster(1, [packet, packet])
    with pytest.raises(ValueError, match="at least one"):
        encode_cluster(1, [])
