"""What each quality lets through."""

from __future__ import annotations

from itertools import pairwise

import pytest

from recorder.core.quality import QUALITIES


@pytest.mark.parametrize(
    ("named", "came", "size"),
    [
        ("high", (1280, 720), (1280, 720)),
        ("high", (1920, 1080), (1280, 720)),
        ("high", (640, 480), (640, 480)),  # never enlarged
        ("high", (720, 1280), (720, 1280)),  # upright
        ("low", (1080, 1920), (360, 640)),
        ("low", (1024, 768), (480, 360)),  # as high as it may be
        ("low", (2560, 1080), (640, 270)),  # as wide as it may be
        ("medium", (1280, 720), (852, 480)),
        ("ultra", (3840, 2160), (1920, 1080)),
        ("low", (641, 361), (638, 360)),
        ("low", (65, 49), (64, 48)),
        ("low", (100_000, 20), (640, 2)),
    ],
)
def test_a_picture_is_made_smaller_and_keeps_its_aspect(
    named: str, came: tuple[int, int], size: tuple[int, int]
) -> None:
    assert QUALITIES[named].fit(*came) == size


def test_each_quality_is_more_than_the_one_before() -> None:
    for lower, higher in pairwise(QUALITIES.values()):
        assert lower.width < higher.width
        assert lower.video_bps < higher.video_bps
        assert lower.audio_bps < higher.audio_bps
        assert lower.frames_per_s <= higher.frames_per_s
