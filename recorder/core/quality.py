"""What each quality means when the recorder encodes: the largest picture, frames a second, bit rates.

Source: contracts §4 (`[recording] quality`); docs/RECORDER.md prints the same table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Limits of what is encoded.

    Attributes:
        width: pixels of the largest picture; one that stands upright is limited the other way round.
        height: pixels, likewise.
        frames_per_s: at most.
        crf: x264's constant rate factor: what a picture is worth that stays below the bit rate.
        video_bps: bits per second of a picture stream at most, over about a second.
        audio_bps: bits per second of sound.
    """

    width: int
    height: int
    frames_per_s: int
    crf: int
    video_bps: int
    audio_bps: int

    def fit(self, width: int, height: int) -> tuple[int, int]:
        """Give the size in which a picture is encoded: never enlarged, aspect kept, both sides even.

        Args:
            width: pixels of what came, at least 2.
            height: pixels of what came, at least 2.
        """
        long, short = max(width, height), min(width, height)
        scale = min(1.0, self.width / long, self.height / short)
        return _even(width * scale), _even(height * scale)


QUALITIES: Final[dict[str, Quality]] = {
    "low": Quality(width=640, height=360, frames_per_s=15, crf=30, video_bps=400_000, audio_bps=32_000),
    "medium": Quality(width=854, height=480, frames_per_s=24, crf=26, video_bps=1_000_000, audio_bps=64_000),
    "high": Quality(width=1280, height=720, frames_per_s=30, crf=22, video_bps=2_500_000, audio_bps=96_000),
    "ultra": Quality(
        width=1920, height=1080, frames_per_s=30, crf=18, video_bps=5_000_000, audio_bps=128_000
    ),
}


def _even(side: float) -> int:
    # A side that is a hair below an even number is that number: 853.99 of rounding is 854
    return max(2, int(side + 0.01) & ~1)
