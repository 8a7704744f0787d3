"""Where the pictures of a composite stand: boxes on a canvas, as numbers only.

All sides and places are even, because a chroma sample covers two pixels each way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Layout = Literal["grid", "speaker"]
MAX_TILES: Final = 49  # on a grid of 7 by 7 a tile of the smallest canvas is 90 pixels wide

_ASPECT: Final = 16 / 9  # what a tile is best shaped like
_STRIP: Final = 5  # the strip beside a speaker takes this part of the height


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle on the canvas, pixels from its upper left corner."""

    x: int
    y: int
    width: int
    height: int


def tiles(layout: Layout, count: int, *, width: int, height: int) -> list[Box]:
    """Give the boxes of so many pictures, in their order; they do not overlap.

    Args:
        layout: grid, or speaker: then the first box is the large one.
        count: 0 or more; those beyond MAX_TILES get none.
        width: of the canvas, even.
        height: of the canvas, even.
    """
    count = min(count, MAX_TILES)
    if layout == "speaker" and count > 1:
        strip = _even(height / _STRIP)
        large = Box(x=0, y=0, width=width, height=height - strip)
        return [
            large,
            *_rows(count - 1, rows=1, within=Box(x=0, y=height - strip, width=width, height=strip)),
        ]
    whole = Box(x=0, y=0, width=width, height=height)
    return _rows(count, rows=_best_rows(count, width, height), within=whole)


def fit(box: Box, *, width: int, height: int) -> Box:
    """Give the largest box within ``box``, in its middle, that has the aspect of a picture of this size."""
    scale = min(box.width / width, box.height / height)
    fitted_width, fitted_height = _even(width * scale + 0.01), _even(height * scale + 0.01)
    return Box(
        x=box.x + _even_place((box.width - fitted_width) / 2),
        y=box.y + _even_place((box.height - fitted_height) / 2),
        width=fitted_width,
        height=fitted_height,
    )


def _best_rows(count: int, width: int, height: int) -> int:
    """The number of rows that makes a 16:9 picture largest; of equal ones the fewest."""

    def size(rows: int) -> float:
        columns = -(-count // rows)
        return min(width / columns / _ASPECT, height / rows)

    return max(range(1, count + 1), key=lambda rows: (round(size(rows), 3), -rows), default=1)


def _rows(count: int, *, rows: int, within: Box) -> list[Box]:
    """Even boxes in rows; a last row with fewer stands in the middle."""
    columns = -(-count // rows) if count else 1
    width = min(
        _even(within.width / columns), _even(within.height / rows * _ASPECT) if rows == 1 else 1 << 30
    )
    height = _even(within.height / rows)
    boxes = []
    for number in range(count):
        row, column = divmod(number, columns)
        in_row = min(columns, count - row * columns)
        left = _even_place((within.width - in_row * width) / 2)
        boxes.append(
            Box(x=within.x + left + column * width, y=within.y + row * height, width=width, height=height)
        )
    return boxes


def _even(side: float) -> int:
    return max(2, int(side) & ~1)


def _even_place(place: float) -> int:
    return max(0, int(place) & ~1)
