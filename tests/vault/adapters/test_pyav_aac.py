"""Sound encoded as AAC stays where it was: gaps are silence, overlaps are left out."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from recorder.adapters.pyav_muxer import PyavEncoders
from tests.fakes.counted_media import _track, counted_video
from tests.fakes.media import Track
from vault.adapters.pyav_remuxer import Container, MediaRun, containers_for, remux

RATE = 48_000


def beeping(seconds: int) -> Track:
    """A beep of 100 ms at each full second, silence between."""
    at = np.arange(seconds * RATE)
    sound = np.where(at % RATE < RATE // 10, 12_000 * np.sin(2 * np.pi * 1000 / RATE * at), 0).astype(
        np.int16
    )
    encoder = PyavEncoders().audio()
    packets = encoder.encode(np.repeat(sound, 2).tobytes(), pts=0)
    return _track(encoder.format, iter(packets), "alice", "microphone")


def run(track: Track, zero_us: int) -> MediaRun:
    media = track.init_part + b"".join(fragment.data for fragment in track.fragments)
    opener: Callable[[], io.BytesIO] = lambda: io.BytesIO(media)  # noqa: E731 - as the remuxer takes it
    return MediaRun(prologue=track.prologue, zero_us=zero_us, first_us=zero_us, open=opener)


def beeps_of(path: Path) -> list[float]:
    """When each beep begins, in seconds of the file."""
    with av.open(str(path)) as container:
        loud: list[float] = []
        for frame in container.decode(audio=0):
            samples = np.abs(frame.to_ndarray()[0])
            assert frame.time is not None
            loud += [frame.time + index / RATE for index in np.flatnonzero(samples > 0.1)]
    return [time for number, time in enumerate(loud) if number == 0 or time - loud[number - 1] > 0.5]


@pytest.fixture(scope="module")
def sound() -> Track:
    return beeping(3)


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_beeps_are_where_they_are_in_the_opus_of_the_same_recording(
    tmp_path: Path, sound: Track, container: Container
) -> None:
    runs = [run(counted_video(5), 0), run(sound, 400_000)]
    copied, encoded = tmp_path / f"opus.{container}", tmp_path / f"aac.{container}"
    assert remux(runs, copied, container).streams == ("h264", "opus")
    result = remux(runs, encoded, container, "aac")
    assert result.streams == ("h264", "aac")
    assert result.video_frames == 50
    assert beeps_of(encoded) == pytest.approx(beeps_of(copied), abs=0.005)
    assert beeps_of(encoded) == pytest.approx([0.4, 1.4, 2.4], abs=0.02)


def test_a_gap_is_silence_and_an_overlap_is_heard_once(tmp_path: Path, sound: Track) -> None:
    out = tmp_path / "out.mp4"
    result = remux([run(sound, 0), run(sound, 7_000_000), run(sound, 9_000_000)], out, "mp4", "aac")
    assert beeps_of(out) == pytest.approx([0, 1, 2, 7, 8, 9, 10, 11], abs=0.02)
    assert result.audio_s == pytest.approx(12, abs=0.1)


def test_containers_that_take_aac() -> None:
    h264, vp8 = (counted_video(1, codec=codec).prologue for codec in ("h264", "vp8"))
    sound = beeping(1).prologue
    assert containers_for([h264, sound], "aac") == ["mp4", "mkv"]
    assert containers_for([vp8, sound], "aac") == ["mkv"]
    assert containers_for([vp8, sound]) == ["webm", "mkv"]
