"""VP8 in clusters plays, from any number of them: decoded again and compared."""

from __future__ import annotations

import io
from dataclasses import replace

import av
import numpy as np
import pytest

from greenroom.synthetic_picture import PictureSource, read_counter
from recorder.adapters.pyav_vpx import Vp8Encoder
from recorder.core.errors import CaptureError
from recorder.core.quality import QUALITIES
from recorder.core.segmenting import Segmenter
from recorder.core.webm import TIME_BASE, encode_cluster
from tests.fakes.tracks import make_picture


def test_vp8_plays_after_any_cluster_in_the_size_of_its_quality() -> None:
    encoder = Vp8Encoder(width=1280, height=720, quality=QUALITIES["low"])
    assert (encoder.format.codec, encoder.format.mime) == ("vp8", 'video/webm; codecs="vp8"')
    assert encoder.format.is_webm
    segmenter, source, cut = Segmenter(TIME_BASE, encode_cluster), PictureSource(), []
    packets = []
    for number in range(35):
        picture = make_picture(number, arrival_us=0, source=source)
        packets += encoder.encode(picture, pts=9_000 + number * 6_000, is_keyframe=number in (0, 20))
    packets += encoder.finish()
    assert {0, 20} <= {number for number, packet in enumerate(packets) if packet.is_keyframe}
    for packet in packets:
        cut.append(segmenter.add(packet, now_s=0.0))
    clusters = [one.data for one in [*cut, segmenter.flush()] if one is not None]
    assert len(clusters) == 3
    for count in range(1, 4):
        data = encoder.format.init_part + b"".join(clusters[:count])
        with av.open(io.BytesIO(data), "r") as container:
            frames = list(container.decode(video=0))
        assert {(frame.width, frame.height) for frame in frames} == {(640, 360)}
        read = [read_counter(frame.to_ndarray(format="gray").astype(np.uint8)) for frame in frames]
        expected = range(min(35, 15 * count))
        assert read == list(expected)
        assert [frame.pts for frame in frames] == [100 + number * 200 // 3 for number in expected]


def test_a_size_that_vp8_does_not_take_is_a_capture_error() -> None:
    with pytest.raises(CaptureError, match="no encoder for 100000x16 VP8"):
        Vp8Encoder(width=100_000, height=16, quality=replace(QUALITIES["ultra"], width=100_000))
