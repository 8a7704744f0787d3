"""Decrypts SRTP by the library that pylibsrtp wraps, without its copies: half of what its wrapper costs.

It is used below pylibsrtp's public surface for that, so its version is locked.
"""

from __future__ import annotations

from typing import Any, Final

from pylibsrtp import _binding

_BUFFER_BYTES: Final = 2048  # the longest datagram that is read

_ffi: Final[Any] = _binding.ffi
_lib: Final[Any] = _binding.lib


class Unprotector:
    """Decrypts what one session receives.

    Args:
        session: a `pylibsrtp.Session` for inbound packets.
    """

    def __init__(self, session: Any) -> None:
        self._session = session  # owns what is pointed to
        self._srtp = session._srtp[0]
        self._buffer = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._data = _ffi.from_buffer(self._buffer)
        self._length = _ffi.new("int *")

    def rtp(self, datagram: bytes) -> bytes | None:
        """Give the RTP packet; None for a repeated one, or one that nobody who has the keys sent."""
        return self._unprotect(_lib.srtp_unprotect, datagram)

    def rtcp(self, datagram: bytes) -> bytes | None:
        """Give the RTCP compound; None as in `rtp`."""
        return self._unprotect(_lib.srtp_unprotect_rtcp, datagram)

    def _unprotect(self, act: Any, datagram: bytes) -> bytes | None:
        size, length = len(datagram), self._length
        if size > _BUFFER_BYTES:
            return None
        self._buffer[:size] = datagram
        length[0] = size
        if act(self._srtp, self._data, length):
            return None
        return bytes(self._view[: length[0]])
