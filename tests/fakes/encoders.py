"""Encoders that cost nothing: each packet says what it was made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from recorder.core.chunking import TrackFormat
from recorder.core.errors import CaptureError
from recorder.core.fragments import Packet
from recorder.core.quality import QUALITIES, Quality
from recorder.ports import Picture

OPUS_SAMPLES = 960
SAMPLE_BYTES = 4


@dataclass
class FakeVideoEncoder:
    """A `VideoEncoder`; its packets hold the picture's size and whether a keyframe was asked for."""

    format: TrackFormat
    is_broken: bool = False

    def encode(self, picture: Picture, *, pts: int, is_keyframe: bool) -> list[Packet]:
        """Give one packet at once."""
        if self.is_broken:
            raise CaptureError("the fake encoder is broken")
        text = f"{picture.width}x{picture.height}".encode()
        return [Packet(pts=pts, duration_pts=3000, data=text, is_keyframe=is_keyframe)]

    def finish(self) -> list[Packet]:
        """Nothing is held back."""
        return []


@dataclass
class FakeAudioEncoder:
    """An `AudioEncoder` in packets of 20 ms; they hold the samples themselves."""

    format: TrackFormat
    held: bytes = b""
    next_pts: int | None = None

    def encode(self, data: bytes | bytearray | memoryview, *, pts: int) -> list[Packet]:
        """Give every 20 ms that are full."""
        if self.next_pts is not None and pts != self.next_pts:
            raise ValueError(f"samples at {pts} do not follow those before, which end at {self.next_pts}")
        packets: list[Packet] = []
        self.next_pts = pts if self.next_pts is None else self.next_pts
        self.held += bytes(data)
        self.next_pts += len(data) // SAMPLE_BYTES
        while len(self.held) >= OPUS_SAMPLES * SAMPLE_BYTES:
            packets.append(self._cut())
        return packets

    def finish(self) -> list[Packet]:
        """Give the rest, filled up with silence."""
        return self._fill()

    def _fill(self) -> list[Packet]:
        if not self.held:
            return []
        missing = OPUS_SAMPLES - len(self.held) // SAMPLE_BYTES
        self.held += bytes(missing * SAMPLE_BYTES)
        assert self.next_pts is not None
        self.next_pts += missing
        return [self._cut()]

    def _cut(self) -> Packet:
        assert self.next_pts is not None
        pts = self.next_pts - len(self.held) // SAMPLE_BYTES
        block, self.held = self.held[: OPUS_SAMPLES * SAMPLE_BYTES], self.held[OPUS_SAMPLES * SAMPLE_BYTES :]
        return Packet(pts=pts, duration_pts=OPUS_SAMPLES, data=block, is_keyframe=True)


@dataclass
class FakeEncoders:
    """An `Encoders` that remembers what it made; ``broken`` makes video encoders that fail."""

    broken: bool = False
    made: list[str] = field(default_factory=list)
    quality: Quality = QUALITIES["high"]

    def video(self, *, width: int, height: int) -> FakeVideoEncoder:
        """Make a video encoder."""
        self.made.append(f"{width}x{height}")
        form = TrackFormat(
            kind="video",
            codec="h264",
            mime='video/mp4; codecs="avc1.42e01f"',
            time_base=Fraction(1, 90_000),
            init_part=b"video head",
            width=width & ~1,
            height=height & ~1,
        )
        return FakeVideoEncoder(form, is_broken=self.broken)

    def audio(self) -> FakeAudioEncoder:
        """Make an audio encoder."""
        self.made.append("audio")
        form = TrackFormat(
            kind="audio",
            codec="opus",
            mime='audio/mp4; codecs="opus"',
            time_base=Fraction(1, 48_000),
            init_part=b"audio head",
            sample_rate=48_000,
            channels=2,
        )
        return FakeAudioEncoder(form)
