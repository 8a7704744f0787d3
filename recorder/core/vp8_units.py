"""VP8 from RTP: payloads with their descriptors stripped, put together to pictures.

Source: RFC 7741 sections 4.2 and 4.3; RFC 6386 section 9.1.
"""

from __future__ import annotations

from recorder.core.h264_units import MAX_UNIT_BYTES, MIN_SIDE
from recorder.core.units import AccessUnit, CodecSetup

_EXTENDED, _STARTS = 0x80, 0x10
_PICTURE_ID, _TL0, _TID, _KEY_INDEX = 0x80, 0x40, 0x20, 0x10
_START_CODE = b"\x9d\x01\x2a"


class Vp8Units:
    """The pictures of one stream, from the first keyframe on; a `Depacketizer`."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._bytes = 0
        self._rtp_time = 0
        self._arrival_us = 0
        self._is_broken = False
        self._is_new = True  # what comes next begins a picture
        self._setup: CodecSetup | None = None
        self._waits = True

    @property
    def needs_keyframe(self) -> bool:
        """Whether pictures are dropped until a keyframe comes."""
        return self._waits

    def lose(self) -> None:
        """Drop what is half there, and everything up to the next keyframe."""
        self._is_new = self._waits = True

    def push(
        self, payload: bytes, rtp_time: int, *, is_last: bool, arrival_us: int
    ) -> tuple[AccessUnit, ...]:
        """Take a payload; give the pictures that it completes."""
        units: tuple[AccessUnit, ...] = ()
        if self._is_new or rtp_time != self._rtp_time:
            if not self._is_new:
                units = self._finish()  # its marker is missing: it ends where the next one begins
            self._begin(rtp_time, arrival_us)
        start = _descriptor_bytes(payload)
        if start == 0 or start >= len(payload):
            self._is_broken = True
        else:
            is_beginning = payload[0] & _STARTS and not payload[0] & 0x07
            if not self._parts and not is_beginning:
                self._is_broken = True
            part = payload[start:]
            self._parts.append(part)
            self._bytes += len(part)
            self._is_broken = self._is_broken or self._bytes > MAX_UNIT_BYTES
        if is_last:
            units += self._finish()
            self._is_new = True
        return units

    def _begin(self, rtp_time: int, arrival_us: int) -> None:
        self._parts, self._bytes = [], 0
        self._is_broken = self._is_new = False
        self._rtp_time, self._arrival_us = rtp_time, arrival_us

    def _finish(self) -> tuple[AccessUnit, ...]:
        if not self._parts or self._is_broken:
            self._waits = self._waits or self._is_broken
            return ()
        data = b"".join(self._parts)
        is_keyframe = not data[0] & 1
        if is_keyframe:
            self._waits = not self._take_size(data)
        if self._waits or self._setup is None:
            return ()
        return (AccessUnit(self._rtp_time, self._arrival_us, data, is_keyframe, 0, self._setup),)

    def _take_size(self, data: bytes) -> bool:
        if len(data) < 10 or data[3:6] != _START_CODE:
            return False
        width = (data[6] | data[7] << 8) & 0x3FFF
        height = (data[8] | data[9] << 8) & 0x3FFF
        if width < MIN_SIDE or height < MIN_SIDE:
            return False
        if self._setup is None or (self._setup.width, self._setup.height) != (width, height):
            self._setup = CodecSetup(codec="vp8", width=width, height=height)
        return True


def _descriptor_bytes(payload: bytes) -> int:
    """Give the length of the payload descriptor; 0 when it is cut off."""
    if not payload[0] & _EXTENDED:
        return 1
    if len(payload) < 3:
        return 0
    flags, size = payload[1], 2
    if flags & _PICTURE_ID:
        size += 2 if payload[2] & 0x80 else 1
    if flags & _TL0:
        size += 1
    if flags & (_TID | _KEY_INDEX):
        size += 1
    return size
