"""What the reader finds in a file that was encoded with known frames, beeps, gaps and offset."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from greenroom.synthetic_picture import FRAMES_PER_S, PictureSource
from greenroom.synthetic_reading import MediaReading, ReadingError, read_media
from greenroom.synthetic_sound import make_block


def write(path: Path, counters: list[int], *, late_ms: int = 0, without_sound: range = range(0)) -> None:
    """Encode frames 1/30 s apart and as much sound, which begins ``late_ms`` after the picture."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FRAMES_PER_S)
        audio = container.add_stream("libopus", rate=48_000)
        assert isinstance(video, VideoStream)
        assert isinstance(audio, AudioStream)
        video.width, video.height, video.pix_fmt = 1280, 720, "yuv420p"
        video.options = {"preset": "ultrafast", "tune": "zerolatency", "crf": "32"}
        audio.codec_context.layout, audio.codec_context.format = "mono", "s16"
        source = PictureSource()
        for place, counter in enumerate(counters):
            frame = av.VideoFrame.from_ndarray(source.draw(counter), format="yuv420p")
            frame.pts, frame.time_base = place, Fraction(1, FRAMES_PER_S)
            container.mux(video.encode(frame))
        for number in range(0, len(counters) * 100 // FRAMES_PER_S, 2):
            if number in without_sound:
                continue
            block = np.concatenate([make_block(number), make_block(number + 1)]).reshape(1, -1)
            sound = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
            sound.sample_rate, sound.time_base = 48_000, Fraction(1, 48_000)
            sound.pts = number * 480 + late_ms * 48
            container.mux(audio.encode(sound))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


@pytest.mark.parametrize("late_ms", [0, 60, 200])
def test_frames_seconds_and_offset_are_what_was_written(tmp_path: Path, late_ms: int) -> None:
    write(tmp_path / "media.mp4", list(range(120)), late_ms=late_ms)
    told: list[float] = []
    media = read_media(tmp_path / "media.mp4", on_progress=told.append)
    assert media.counters == tuple(range(120))
    assert media.is_monotonic
    assert media.unread_frames == 0
    assert media.duration_s == pytest.approx(4 + late_ms / 1000, abs=0.05)
    assert media.audio_s == pytest.approx(4, abs=0.05)
    assert media.flashes == pytest.approx([1, 2, 3], abs=0.001)
    assert media.av_offset_ms == pytest.approx(late_ms, abs=3)
    assert len(told) == 120


def test_a_counter_that_jumps_back_is_seen(tmp_path: Path) -> None:
    write(tmp_path / "media.mp4", [*range(40), *range(30, 60)])
    assert not read_media(tmp_path / "media.mp4").is_monotonic


def test_frames_that_are_missing_are_no_jump_back(tmp_path: Path) -> None:
    write(tmp_path / "media.mp4", [*range(40), *range(50, 80)])
    media = read_media(tmp_path / "media.mp4")
    assert media.is_monotonic
    assert media.video_frames == 70


def test_a_hole_in_the_sound_moves_no_beep(tmp_path: Path) -> None:
    write(tmp_path / "media.mp4", list(range(150)), without_sound=range(130, 160))
    media = read_media(tmp_path / "media.mp4")
    assert media.audio_s == pytest.approx(4.7, abs=0.05)
    assert media.av_offset_ms == pytest.approx(0, abs=3)


def test_what_is_no_media_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "media.mp4").write_bytes(b"not a film")
    with pytest.raises(ReadingError, match="cannot be decoded"):
        read_media(tmp_path / "media.mp4")
    with pytest.raises(ReadingError, match="cannot be decoded"):
        read_media(tmp_path / "missing.mp4")


def test_without_pairs_there_is_no_offset() -> None:
    media = MediaReading(duration_s=1.0, counters=(1, None, 2), audio_s=1.0, flashes=(1.0,), beeps=(1.6,))
    assert media.av_offset_ms is None
    assert media.unread_frames == 1
    assert media.is_monotonic
