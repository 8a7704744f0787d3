"""Encoded media in fragments plays, from any number of them: decoded again and compared."""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import replace

import av
import av.error
import numpy as np
import pytest

from greenroom.synthetic_picture import PictureSource, read_counter
from greenroom.synthetic_sound import find_beeps, make_block
from recorder.adapters.pyav_muxer import PyavEncoders, X264Encoder
from recorder.core.errors import CaptureError
from recorder.core.quality import QUALITIES
from recorder.core.segmenting import Fragment, Segmenter
from recorder.core.timeline import AUDIO_TIME_BASE, VIDEO_TIME_BASE
from tests.fakes.tracks import make_picture

FRAMES = 75
FIRST = 9_000


def encode_video() -> tuple[bytes, list[Fragment]]:
    encoder = PyavEncoders("low").video(width=1280, height=720)
    segmenter, source, cut = Segmenter(VIDEO_TIME_BASE), PictureSource(), []
    packets = []
    for number in range(FRAMES):
        picture = make_picture(number, arrival_us=0, source=source)
        packets += encoder.encode(picture, pts=FIRST + number * 3_000, is_keyframe=number == 0)
    for packet in packets + encoder.finish():
        cut.append(segmenter.add(packet, now_s=0.0))
    cut.append(segmenter.flush())
    return encoder.format.init_part, [fragment for fragment in cut if fragment is not None]


def decode_counters(data: bytes) -> list[tuple[int | None, int | None]]:
    counters: list[tuple[int | None, int | None]] = []
    with av.open(io.BytesIO(data), "r") as container, suppress(av.error.InvalidDataError):
        for frame in container.decode(video=0):
            luma = frame.to_ndarray(format="gray").astype(np.uint8)
            counters.append((read_counter(luma), frame.pts))
    return counters


def test_video_plays_after_any_fragment_though_only_the_first_has_a_keyframe() -> None:
    init_part, fragments = encode_video()
    assert [fragment.has_keyframe for fragment in fragments] == [True, False, False]
    for count in range(1, len(fragments) + 1):
        data = init_part + b"".join(fragment.data for fragment in fragments[:count])
        expected = min(30 * count, FRAMES)
        assert decode_counters(data) == [(number, FIRST + number * 3_000) for number in range(expected)]


def test_video_that_breaks_off_within_a_fragment_plays_up_to_it() -> None:
    init_part, fragments = encode_video()
    whole = init_part + fragments[0].data
    with_half = whole + fragments[1].data[: len(fragments[1].data) // 2]
    assert 30 <= len(decode_counters(with_half)) < 60


def test_sound_stands_where_it_was_put_to_the_millisecond() -> None:
    encoder, segmenter = PyavEncoders().audio(), Segmenter(AUDIO_TIME_BASE)
    packets = []
    for number in range(310):
        packets += encoder.encode(np.repeat(make_block(number), 2).tobytes(), pts=24_000 + number * 480)
    cut = [segmenter.add(packet, now_s=0.0) for packet in packets + encoder.finish()]
    cut.append(segmenter.flush())
    data = encoder.format.init_part + b"".join(one.data for one in cut if one is not None)
    with av.open(io.BytesIO(data), "r") as container:
        frames = list(container.decode(audio=0))
    assert frames[0].pts is not None
    samples = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    beeps = [beep + frames[0].pts / 48_000 for beep in find_beeps(samples)]
    assert beeps == pytest.approx([1.5, 2.5, 3.5], abs=0.002)  # the one at the very beginning has no onset


def test_a_quality_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="quality 'best' is not one of low, medium, high, ultra"):
        PyavEncoders("best")
    with pytest.raises(ValueError, match="format 'avi' is not one of mp4, webm, mkv"):
        PyavEncoders("low", "avi")


def test_a_size_that_x264_does_not_take_is_a_capture_error() -> None:
    with pytest.raises(CaptureError, match="no encoder for 100000x16"):
        X264Encoder(width=100_000, height=16, quality=replace(QUALITIES["ultra"], width=100_000))
