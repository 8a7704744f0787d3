"""Reads the size of the picture from an H.264 sequence parameter set.

Source: ITU-T H.264 (08/2021) sections 7.3.2.1.1 and 7.4.2.1.1.
"""

from __future__ import annotations

from typing import Final

_WITH_CHROMA_FORMAT: Final = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
_MAX_SIDE: Final = 16_384


class UnreadableParametersError(ValueError):
    """The parameter set is cut off or holds what no picture has."""


def read_picture_size(nal: bytes) -> tuple[int, int]:
    """Give width and height in pixels, as cropped.

    Args:
        nal: the sequence parameter set with its NAL header, without start code.

    Raises:
        UnreadableParametersError: it makes no sense.
    """
    bits = _Bits(nal[1:].replace(b"\x00\x00\x03", b"\x00\x00"))
    profile = bits.read(8)
    bits.read(16)  # constraint flags, level
    bits.golomb()  # its id
    chroma = 1
    if profile in _WITH_CHROMA_FORMAT:
        chroma = bits.golomb()
        if chroma == 3:
            bits.read(1)
        bits.golomb()
        bits.golomb()
        bits.read(1)
        if bits.read(1):
            for number in range(8 if chroma != 3 else 12):
                if bits.read(1):
                    _skip_scaling_list(bits, 16 if number < 6 else 64)
    bits.golomb()  # log2_max_frame_num
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.read(1)
        bits.signed_golomb()
        bits.signed_golomb()
        for _ in range(min(bits.golomb(), 255)):
            bits.signed_golomb()
    bits.golomb()  # reference frames
    bits.read(1)
    width = (bits.golomb() + 1) * 16
    height_units = bits.golomb() + 1
    is_frame_only = bits.read(1)
    height = height_units * 16 * (2 - is_frame_only)
    if not is_frame_only:
        bits.read(1)
    bits.read(1)
    if bits.read(1):
        step_x = 2 if chroma in (1, 2) else 1
        step_y = (2 if chroma == 1 else 1) * (2 - is_frame_only)
        width -= (bits.golomb() + bits.golomb()) * step_x
        height -= (bits.golomb() + bits.golomb()) * step_y
    if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
        raise UnreadableParametersError(f"a picture of {width}x{height}")
    return width, height


class _Bits:
    """Bits from the front, and Exp-Golomb numbers."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = len(data) * 8

    def read(self, count: int) -> int:
        if count > self._left:
            raise UnreadableParametersError("the sequence parameter set is cut off")
        self._left -= count
        return self._value >> self._left & ((1 << count) - 1)

    def golomb(self) -> int:
        zeros = 0
        while not self.read(1):
            zeros += 1
            if zeros > 31:
                raise UnreadableParametersError("a number of more than 32 bits")
        return (1 << zeros) - 1 + self.read(zeros)

    def signed_golomb(self) -> int:
        number = self.golomb()
        return (number + 1) // 2 if number & 1 else -(number // 2)


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed_golomb()) % 256
        last = following or last
