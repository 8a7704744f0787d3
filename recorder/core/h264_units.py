"""H.264 from RTP: NAL units, aggregated or fragmented, put together to pictures as MP4 holds them.

Source: RFC 6184 sections 5.6 to 5.8; ISO/IEC 14496-10 section 7.4.1.
"""

from __future__ import annotations

from typing import Final

from recorder.core.sequence_parameters import UnreadableParametersError, read_picture_size
from recorder.core.units import AccessUnit, CodecSetup

_IDR, _SPS, _PPS, _DELIMITER = 5, 7, 8, 9
_STAP_A, _FU_A = 24, 28
_BEGINNINGS: Final = frozenset({_SPS, _DELIMITER, _STAP_A})  # what no picture goes on with
_START, _END = 0x80, 0x40
MIN_SIDE: Final = 16  # pixels; unpublishing flushes pictures of 2 and 8
MAX_UNIT_BYTES: Final = 8 * 1024 * 1024


class H264Units:
    """The pictures of one stream, from the first keyframe with its parameter sets on; a `Depacketizer`."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []  # of the picture: lengths and NAL units by turns
        self._bytes = 0
        self._fragments: list[bytes] = []
        self._rtp_time = 0
        self._arrival_us = 0
        self._is_keyframe = False
        self._is_broken = False
        self._is_new = True  # what comes next begins a picture
        self._is_after_loss = False  # what comes next may be the rest of one
        self._sequence = b""
        self._picture = b""
        self._setup: CodecSetup | None = None
        self._waits = True

    @property
    def needs_keyframe(self) -> bool:
        """Whether pictures are dropped until a keyframe comes."""
        return self._waits

    def lose(self) -> None:
        """Drop what is half there, and everything up to the next keyframe."""
        self._is_new = self._is_after_loss = self._waits = True

    def push(
        self, payload: bytes, rtp_time: int, *, is_last: bool, arrival_us: int
    ) -> tuple[AccessUnit, ...]:
        """Take a payload; give the pictures that it completes."""
        units: tuple[AccessUnit, ...] = ()
        kind = payload[0] & 0x1F
        if self._is_new or rtp_time != self._rtp_time:
            if not self._is_new:
                units = self._finish()  # its marker is missing: it ends where the next one begins
            self._begin(rtp_time, arrival_us)
            self._is_broken = self._is_after_loss and kind not in _BEGINNINGS
            self._is_after_loss = False
        if kind == _FU_A:
            self._fragment(payload)
        elif kind == _STAP_A:
            self._aggregate(payload)
        elif 0 < kind < _STAP_A:
            self._nal(payload)
        if is_last:
            units += self._finish()
            self._is_new = True
        return units

    def _begin(self, rtp_time: int, arrival_us: int) -> None:
        self._parts, self._fragments, self._bytes = [], [], 0
        self._rtp_time, self._arrival_us = rtp_time, arrival_us
        self._is_keyframe = self._is_broken = self._is_new = False

    def _fragment(self, payload: bytes) -> None:
        if len(payload) < 3:
            self._is_broken = True
            return
        header = payload[1]
        if header & _START:
            self._fragments = [bytes(((payload[0] & 0xE0) | (header & 0x1F),)), payload[2:]]
        elif self._fragments:
            self._fragments.append(payload[2:])
        else:
            self._is_broken = True
            return
        if header & _END:
            nal = b"".join(self._fragments)
            self._fragments = []
            self._nal(nal)

    def _aggregate(self, payload: bytes) -> None:
        position, size = 1, len(payload)
        while position + 2 < size:
            length = payload[position] << 8 | payload[position + 1]
            position += 2
            if length == 0 or position + length > size:
                self._is_broken = True
                return
            self._nal(payload[position : position + length])
            position += length

    def _nal(self, nal: bytes) -> None:
        kind = nal[0] & 0x1F
        if kind == _SPS:
            self._sequence = nal
        elif kind == _PPS:
            self._picture = nal
        elif kind != _DELIMITER:
            if kind == _IDR:
                self._is_keyframe = True
            self._bytes += len(nal)
            self._is_broken = self._is_broken or self._bytes > MAX_UNIT_BYTES
            self._parts.append(len(nal).to_bytes(4, "big"))
            self._parts.append(nal)

    def _finish(self) -> tuple[AccessUnit, ...]:
        if not self._parts or self._is_broken or self._fragments:
            self._waits = self._waits or self._is_broken or bool(self._fragments)
            return ()
        if self._is_keyframe:
            self._waits = not self._take_parameters()
        if self._waits or self._setup is None:
            return ()
        data = b"".join(self._parts)
        return (AccessUnit(self._rtp_time, self._arrival_us, data, self._is_keyframe, 0, self._setup),)

    def _take_parameters(self) -> bool:
        """Renew the setup at a keyframe; False when its parameter sets are not there or not of use."""
        parameters = (self._sequence, self._picture)
        if self._setup is not None and self._setup.parameters == parameters:
            return True
        if not all(parameters):
            return False
        try:
            width, height = read_picture_size(self._sequence)
        except UnreadableParametersError:
            return False
        if width < MIN_SIDE or height < MIN_SIDE:
            return False
        self._setup = CodecSetup(codec="h264", width=width, height=height, parameters=parameters)
        return True
