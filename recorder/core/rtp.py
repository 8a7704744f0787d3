"""RTP packets as bytes: where the payload lies, and counters that wrap made into numbers that do not.

Source: RFC 3550 section 5.1 and appendix A.1; RFC 8285 (header extensions are skipped).
"""

from __future__ import annotations

from typing import Final

HEADER_BYTES: Final = 12
BEHIND_HEADER: Final = 0x3F  # bits of the first byte; none of them: the payload comes right after the header
_PADDING, _EXTENSION, _SOURCES = 0x20, 0x10, 0x0F


def payload_of(packet: bytes) -> bytes:
    """Give the payload of an RTP packet, without header extension and padding.

    Args:
        packet: at least 12 bytes, decrypted.

    Returns:
        The payload; empty for a packet of padding only, and for one whose lengths make no sense.
    """
    first = packet[0]
    start = HEADER_BYTES
    if first & BEHIND_HEADER:
        start += (first & _SOURCES) * 4
        if first & _EXTENSION:
            if len(packet) < start + 4:
                return b""
            start += 4 + (packet[start + 2] << 8 | packet[start + 3]) * 4
        if first & _PADDING:
            end = len(packet) - packet[-1]
            return packet[start:end] if start <= end else b""
    return packet[start:]


class Unwrapped:
    """Follows a counter that wraps: 16 bits of a sequence number or 32 bits of an RTP time.

    Args:
        bits: width of the counter on the wire.
    """

    def __init__(self, bits: int) -> None:
        self._mask = (1 << bits) - 1
        self._half = 1 << (bits - 1)
        self._last: int | None = None

    def follow(self, value: int) -> int:
        """Give the number whose lowest bits are ``value`` and that lies nearest to the last one."""
        last = self._last
        if last is None:
            self._last = value
            return value
        step = (value - last) & self._mask
        if step >= self._half:
            return last + step - self._mask - 1  # an old one; the newest stays the reference
        self._last = last + step
        return last + step
