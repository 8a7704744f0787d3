"""What is asked for is what is stored: size, frames a second and bit rate, measured on the decoded output."""

from __future__ import annotations

import io
import os
import time
from dataclasses import dataclass, field

import av
import numpy as np
import pytest

from recorder.adapters.pyav_muxer import PyavEncoders
from recorder.adapters.system_clock import SystemClock
from recorder.core.chunking import Chunk, InitChunk
from recorder.core.quality import QUALITIES
from recorder.ports import Picture, Sound
from recorder.service.track_capture import CaptureSetup, TrackCapture, TrackCounts
from tests.fakes.tracks import CAMERA, MICROPHONE, make_track

IS_FULL = os.environ.get("GREENROOM_FULL") == "1"
CAME_FPS = 50
WIDTH, HEIGHT = 1920, 1080


@dataclass
class Stored:
    """The chunks of one track, as a file."""

    chunks: list[Chunk] = field(default_factory=list)

    def submit(self, chunk: Chunk) -> None:
        self.chunks.append(chunk)

    @property
    def bits(self) -> int:
        return 8 * sum(len(one.fragment.data) for one in self.chunks if not isinstance(one, InitChunk))

    @property
    def file(self) -> io.BytesIO:
        parts = [
            chunk.format.init_part if isinstance(chunk, InitChunk) else chunk.fragment.data
            for chunk in self.chunks
        ]
        return io.BytesIO(b"".join(parts))


def setup(stored: Stored, quality: str, container: str) -> CaptureSetup:
    return CaptureSetup(
        epoch_us=0,
        keyframe_interval_s=4.0,
        encoders=PyavEncoders(quality, container),
        clock=SystemClock(),
        submit=stored.submit,
        offer=lambda _: True,
    )


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    """What is hard to make small: patches of noise, each picture another one."""
    random, patch = np.random.default_rng(5), 24
    made = []
    for _ in range(8):
        patches = random.integers(16, 235, (HEIGHT // patch, WIDTH // patch), dtype=np.uint8)
        luma = np.repeat(np.repeat(patches, patch, axis=0), patch, axis=1)
        made.append(luma.tobytes() + bytes([128]) * (WIDTH * HEIGHT // 2))
    return made


def offer(capture: TrackCapture, counts: TrackCounts, frame: Picture | Sound) -> None:
    """Hand over a frame, and wait where a room would not: until the encoder takes it."""
    dropped = counts.dropped
    capture.offer(frame)
    while counts.dropped != dropped:
        time.sleep(0.002)
        dropped = counts.dropped
        capture.offer(frame)


@pytest.mark.parametrize(
    ("quality", "container", "size", "seconds"),
    [
        ("low", "mp4", (640, 360), 4),
        ("low", "webm", (640, 360), 4),
        ("medium", "mkv", (852, 480), 2),
        *([("high", "mp4", (1280, 720), 10), ("ultra", "webm", (1920, 1080), 10)] if IS_FULL else []),
        ("ultra", "mp4", (1920, 1080), 2),
    ],
)
def test_the_picture_keeps_its_limits(
    quality: str, container: str, size: tuple[int, int], seconds: int, pictures: list[bytes]
) -> None:
    limits, stored, counts = QUALITIES[quality], Stored(), TrackCounts()
    track = make_track(CAMERA, "video")
    capture = TrackCapture(1, track, setup=setup(stored, quality, container), counts=counts)
    capture.start()
    for number in range(seconds * CAME_FPS):
        at_us, data = number * 1_000_000 // CAME_FPS, pictures[number % len(pictures)]
        picture = Picture(arrival_us=at_us, shown_us=None, width=WIDTH, height=HEIGHT, data=data)
        offer(capture, counts, picture)
    capture.end()
    capture.join()
    with av.open(stored.file, "r") as file:
        assert file.streams.video[0].codec_context.name == ("vp8" if container == "webm" else "h264")
        frames = list(file.decode(video=0))
    assert {(frame.width, frame.height) for frame in frames} == {size}
    wanted = seconds * limits.frames_per_s
    # VP8 leaves pictures out where these are too rich for the bit rate.
    assert (0.6 if container == "webm" else 0.97) * wanted <= len(frames) <= wanted + 2
    # A buffer of one second may be used up besides.
    assert 0.6 * seconds * limits.video_bps <= stored.bits <= (seconds + 1) * limits.video_bps


@pytest.mark.parametrize("quality", ["low", "ultra"])
def test_the_sound_keeps_its_bit_rate(quality: str) -> None:
    limits, stored, counts = QUALITIES[quality], Stored(), TrackCounts()
    track = make_track(MICROPHONE, "audio")
    capture = TrackCapture(1, track, setup=setup(stored, quality, "mp4"), counts=counts)
    capture.start()
    random = np.random.default_rng(6)
    for number in range(400):
        hiss = random.integers(-8_000, 8_000, 960).astype(np.int16).tobytes()
        offer(capture, counts, Sound(arrival_us=(number + 1) * 10_000, samples=480, data=hiss))
    capture.end()
    capture.join()
    assert stored.bits / 4 == pytest.approx(limits.audio_bps, rel=0.3)
