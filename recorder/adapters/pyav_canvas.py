"""Puts pictures together to one with PyAV's scaler; draws only what changed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import av
import numpy as np

from recorder.adapters.pyav_pictures import FrameScaler, frame_of
from recorder.core.errors import CaptureError
from recorder.core.layout import Box
from recorder.ports import Picture, PlacedPicture, SourceTrackId

_BLACK = (16, 128, 128)  # limited range, as LiveKit's SDK gives pictures

_log = logging.getLogger("greenroom.recorder")

_Plane = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(slots=True)
class _Tile:
    box: Box
    scaler: FrameScaler
    drawn: Picture | None = None
    has_failed: bool = False  # said once


class PyavCanvas:
    """A `Canvas`."""

    def __init__(self, *, width: int, height: int) -> None:
        """Make one; both sides even."""
        self._planes: list[_Plane] = [
            np.full(shape, level, dtype=np.uint8)
            for shape, level in zip(
                ((height, width), (height // 2, width // 2), (height // 2, width // 2)), _BLACK, strict=True
            )
        ]
        self._tiles: dict[SourceTrackId, _Tile] = {}
        self._last: bytes | None = None

    def draw(self, placed: Sequence[PlacedPicture]) -> bytes:
        """Give the canvas with these pictures."""
        if {one.track_id: one.box for one in placed} != {key: tile.box for key, tile in self._tiles.items()}:
            self._place(placed)
        for one in placed:
            tile = self._tiles[one.track_id]
            if tile.drawn is not one.picture:
                self._draw_tile(tile, one.picture)
                self._last = None
        if self._last is None:
            self._last = b"".join(plane.tobytes() for plane in self._planes)
        return self._last

    def _place(self, placed: Sequence[PlacedPicture]) -> None:
        """Begin anew: other boxes, all to be drawn."""
        for plane, level in zip(self._planes, _BLACK, strict=True):
            plane[:] = level
        self._last = None
        before, self._tiles = self._tiles, {}
        for one in placed:
            old = before.get(one.track_id)
            if old is not None and (old.box.width, old.box.height) == (one.box.width, one.box.height):
                self._tiles[one.track_id] = _Tile(one.box, old.scaler, has_failed=old.has_failed)
            else:
                scaler = FrameScaler(width=one.box.width, height=one.box.height)
                self._tiles[one.track_id] = _Tile(one.box, scaler)

    def _draw_tile(self, tile: _Tile, picture: Picture) -> None:
        tile.drawn = picture
        try:
            scaled = tile.scaler.scale(frame_of(picture))
        except CaptureError as error:
            if not tile.has_failed:
                tile.has_failed = True
                _log.error("a picture is left out of the composite: %s", error)
            return
        x, y, width, height = tile.box.x, tile.box.y, tile.box.width, tile.box.height
        luma, blue, red = self._planes
        luma[y : y + height, x : x + width] = _plane(scaled, 0, width, height)
        x, y, width, height = x // 2, y // 2, width // 2, height // 2
        blue[y : y + height, x : x + width] = _plane(scaled, 1, width, height)
        red[y : y + height, x : x + width] = _plane(scaled, 2, width, height)


def _plane(frame: av.VideoFrame, number: int, width: int, height: int) -> _Plane:
    plane = frame.planes[number]
    rows = np.frombuffer(memoryview(plane), dtype=np.uint8).reshape(-1, plane.line_size)
    return rows[:height, :width]
