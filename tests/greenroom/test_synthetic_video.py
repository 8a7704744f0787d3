"""The synthetic camera's stream: readable, and with no keyframe that nobody asked for."""

from __future__ import annotations

import av
import numpy as np

from greenroom.synthetic_picture import read_counter
from greenroom.synthetic_video import SyntheticCamera


def test_only_the_first_and_the_wanted_frames_are_keyframes_and_all_can_be_read() -> None:
    camera = SyntheticCamera()
    pictures = [camera.encode(counter, keyframe=counter == 150) for counter in range(100, 300)]
    assert [picture.counter for picture in pictures if picture.is_keyframe] == [100, 150]
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    frames = [frame for picture in pictures for frame in decoder.decode(av.Packet(picture.data))]
    frames += decoder.decode(None)
    counters = [read_counter(frame.to_ndarray(format="gray").astype(np.uint8)) for frame in frames]
    assert counters == list(range(100, 300))


def test_a_keyframe_brings_its_parameters_so_that_a_late_receiver_can_begin_there() -> None:
    camera = SyntheticCamera()
    camera.encode(0)
    later = camera.encode(1, keyframe=True)
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    frames = decoder.decode(av.Packet(later.data)) + decoder.decode(None)
    assert len(frames) == 1
