"""Draws video frames that carry a machine-readable counter and a flash each second, and reads them back."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

WIDTH: Final = 1280
HEIGHT: Final = 720
FRAMES_PER_S: Final = 30
FLASH_FRAMES: Final = 3  # the flash stands for the first frames of each second of the publisher's clock

_COUNTER_BITS: Final = 24
_COLUMNS: Final = 16  # two rows of cells: 24 bits of counter, then 8 of checksum
_ROWS: Final = 2
_CELL: Final = WIDTH // _COLUMNS
_TOP: Final = _ROWS * _CELL
_FLASH_ROWS: Final = slice(420, 660)
_FLASH_COLUMNS: Final = slice(480, 800)
_BLACK, _WHITE, _MIDDLE = 16, 235, 125  # luma, limited range, and what divides the two
_STEP_PX: Final = 8  # how far the background moves from frame to frame

Plane = npt.NDArray[np.uint8]


class PictureSource:
    """Makes the frames of one synthetic camera, each as planar YUV 4:2:0."""

    def __init__(self) -> None:
        across = np.arange(WIDTH, dtype=np.float64)[None, :]
        down = np.arange(HEIGHT - _TOP, dtype=np.float64)[:, None]
        waves = np.sin(across * (2 * np.pi / 320)) + np.sin(down * (2 * np.pi / 140))
        self._background = (110 + 35 * waves).astype(np.uint8)
        self._frame = np.full((HEIGHT * 3 // 2, WIDTH), 128, dtype=np.uint8)

    def draw(self, counter: int) -> Plane:
        """Draw one frame.

        Args:
            counter: number of the frame, 0 <= counter < 2**24.

        Returns:
            (HEIGHT * 3 // 2, WIDTH) bytes: luma, then both chroma planes. The same array is used again by
            the next call.

        Raises:
            ValueError: counter out of range.
        """
        luma = self._frame[:HEIGHT]
        shift = (counter * _STEP_PX) % WIDTH
        luma[_TOP:, shift:] = self._background[:, : WIDTH - shift]
        luma[_TOP:, :shift] = self._background[:, WIDTH - shift :]
        luma[_FLASH_ROWS, _FLASH_COLUMNS] = _WHITE if is_flash(counter) else _BLACK
        cells = _cells_of(counter)
        luma[:_TOP] = np.repeat(np.repeat(np.where(cells, _WHITE, _BLACK), _CELL, axis=0), _CELL, axis=1)
        return self._frame


def is_flash(counter: int) -> bool:
    """Whether the frame of this number shows the flash."""
    return counter % FRAMES_PER_S < FLASH_FRAMES


def read_counter(luma: Plane) -> int | None:
    """Read the number drawn in a frame of any size.

    Args:
        luma: (height, width) luma plane of the decoded frame.

    Returns:
        The counter, or None when its checksum does not fit: the picture is damaged, or not one of ours.
    """
    height, width = luma.shape
    cell_height, cell_width = height * _CELL / HEIGHT, width * _CELL / WIDTH
    bits: list[bool] = []
    for row in range(_ROWS):
        for column in range(_COLUMNS):
            inner = luma[
                int((row + 0.25) * cell_height) : int((row + 0.75) * cell_height) + 1,
                int((column + 0.25) * cell_width) : int((column + 0.75) * cell_width) + 1,
            ]
            bits.append(float(inner.mean()) > _MIDDLE)
    value = int("".join("1" if bit else "0" for bit in bits), 2)
    counter, checksum = value >> 8, value & 0xFF
    return counter if checksum == _checksum(counter) else None


def has_flash(luma: Plane) -> bool:
    """Whether the flash is lit in a decoded frame; the arguments of `read_counter`."""
    height, width = luma.shape
    rows = slice(_FLASH_ROWS.start * height // HEIGHT + 4, _FLASH_ROWS.stop * height // HEIGHT - 4)
    columns = slice(_FLASH_COLUMNS.start * width // WIDTH + 4, _FLASH_COLUMNS.stop * width // WIDTH - 4)
    return float(luma[rows, columns].mean()) > _MIDDLE


def _cells_of(counter: int) -> npt.NDArray[np.bool_]:
    if not 0 <= counter < 1 << _COUNTER_BITS:
        raise ValueError(f"frame counter {counter} outside 0..{(1 << _COUNTER_BITS) - 1}")
    value = counter << 8 | _checksum(counter)
    bits = [bool(value >> shift & 1) for shift in range(_COUNTER_BITS + 7, -1, -1)]
    return np.array(bits).reshape(_ROWS, _COLUMNS)


def _checksum(counter: int) -> int:
    """CRC-8 (polynomial 0x07), begun and ended with ones so that an all-black picture is no number."""
    crc = 0xFF
    for byte in counter.to_bytes(3, "big"):
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07) & 0xFF if crc & 0x80 else crc << 1
    return crc ^ 0xFF
