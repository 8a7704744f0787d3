"""Boxes lie on the canvas, do not overlap, keep their order, and are as large as they can be."""

from __future__ import annotations

from itertools import combinations

import pytest

from recorder.core.layout import MAX_TILES, Box, Layout, fit, tiles
from recorder.core.quality import QUALITIES

WIDTH, HEIGHT = 1280, 720
CANVASES = [(quality.width, quality.height) for quality in QUALITIES.values()]


def grid(count: int) -> list[Box]:
    return tiles("grid", count, width=WIDTH, height=HEIGHT)


def box(x: int, y: int, width: int, height: int) -> Box:
    return Box(x=x, y=y, width=width, height=height)


def overlap(one: Box, other: Box) -> bool:
    return (
        one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    )


@pytest.mark.parametrize("layout", ["grid", "speaker"])
@pytest.mark.parametrize("canvas", CANVASES)
def test_boxes_lie_on_the_canvas_and_do_not_overlap(layout: Layout, canvas: tuple[int, int]) -> None:
    for count in range(MAX_TILES + 3):
        boxes = tiles(layout, count, width=canvas[0], height=canvas[1])
        assert len(boxes) == min(count, MAX_TILES)
        for one in boxes:
            assert not any(side % 2 for side in (one.x, one.y, one.width, one.height))
            assert one.x + one.width <= canvas[0]
            assert one.y + one.height <= canvas[1]
            assert one.width >= 12
        assert not any(overlap(one, other) for one, other in combinations(boxes, 2))


def test_the_grid_fills_the_canvas_by_who_came_first() -> None:
    assert grid(0) == []
    assert grid(1) == [box(0, 0, 1280, 720)]
    assert grid(2) == [box(0, 0, 640, 720), box(640, 0, 640, 720)]
    assert grid(3) == [box(0, 0, 640, 360), box(640, 0, 640, 360), box(320, 360, 640, 360)]
    assert grid(4)[3] == box(640, 360, 640, 360)
    assert [one.height for one in grid(9)] == [240] * 9


def test_a_grid_of_many_is_as_large_as_it_can_be() -> None:
    for count in range(1, MAX_TILES + 1):
        inner = fit(grid(count)[0], width=1280, height=720)
        area = count * inner.width * inner.height
        assert area >= 0.39 * WIDTH * HEIGHT, count  # of five pictures a third is lost at the edges


def test_the_speaker_is_large_and_the_others_stand_in_a_strip() -> None:
    assert tiles("speaker", 1, width=WIDTH, height=HEIGHT) == [box(0, 0, 1280, 720)]
    large, *others = tiles("speaker", 4, width=WIDTH, height=HEIGHT)
    assert large == box(0, 0, 1280, 576)
    assert {(one.y, one.width, one.height) for one in others} == {(576, 256, 144)}
    assert [one.x for one in others] == [256, 512, 768]


@pytest.mark.parametrize(
    ("size", "fitted"),
    [
        ((1280, 720), (0, 180, 640, 360)),
        ((640, 720), (0, 0, 640, 720)),
        ((720, 1280), (118, 0, 404, 720)),
        ((16, 16), (0, 40, 640, 640)),  # a small one is enlarged
        ((3000, 16), (0, 358, 640, 2)),
    ],
)
def test_a_picture_keeps_its_aspect_in_the_middle_of_its_box(
    size: tuple[int, int], fitted: tuple[int, int, int, int]
) -> None:
    assert fit(box(0, 0, 640, 720), width=size[0], height=size[1]) == box(*fitted)
    assert fit(box(640, 0, 640, 720), width=size[0], height=size[1]).x == 640 + fitted[0]
