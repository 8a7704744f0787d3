"""A UDP socket that is read in batches: being woken for every packet costs more than the packet.

asyncio's own datagram transports wake once per packet and, under uvloop, cannot be paused. This one reads at
once while a connection is made; once media flows it is woken by the clock, as seldom as the kernel's buffer
allows.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final

LONGEST_S: Final = 0.1  # between two batches; nobody plays what is received here
SHORTEST_S: Final = 0.005
MAX_DATAGRAM: Final = 2048
SOCKET_BYTES: Final = 4 * 1024 * 1024  # the kernel may allow less
_FULL, _EMPTY = 8, 32  # a batch of more than this part of the buffer is too long, of less than that too short


class BatchedSocket(asyncio.DatagramTransport):
    """A datagram transport on one local address.

    Args:
        protocol: gets what is received, by `datagram_received`.
        on_batch: called after each batch.
        address: to bind to, with a port of the system's choice.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(
        self, protocol: asyncio.DatagramProtocol, address: str, *, on_batch: Callable[[], None]
    ) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        self._on_batch = on_batch
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BYTES)
            self._socket.bind((address, 0))
        except OSError:
            self._socket.close()
            raise
        self._room = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self._pause_s = SHORTEST_S
        self._timer: asyncio.TimerHandle | None = None
        self._is_closing = False
        self._loop.add_reader(self._socket.fileno(), self._read)
        protocol.connection_made(self)

    def read_in_batches(self) -> None:
        """Be woken by the clock from now on, not by packets."""
        if not self._is_closing and self._timer is None:
            self._loop.remove_reader(self._socket.fileno())
            self._timer = self._loop.call_later(self._pause_s, self._read_batch)

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Send a datagram; one that the system does not take is lost, as datagrams may be."""
        if self._is_closing:
            return
        try:
            self._socket.sendto(data, addr)
        except BlockingIOError:
            pass
        except OSError as error:
            self._protocol.error_received(error)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Give ``sockname`` or ``socket``."""
        if name == "sockname":
            return self._socket.getsockname()
        return self._socket if name == "socket" else default

    def is_closing(self) -> bool:
        """Whether it is closed or about to be."""
        return self._is_closing

    def close(self) -> None:
        """Close the socket."""
        if self._is_closing:
            return
        self._is_closing = True
        if self._timer is None:
            self._loop.remove_reader(self._socket.fileno())
        else:
            self._timer.cancel()
        self._socket.close()
        self._loop.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        """Close the socket."""
        self.close()

    def _read_batch(self) -> None:
        size = 0
        try:
            size = self._read()
            self._on_batch()
        finally:  # whatever one packet did: the next ones are read
            if size * _FULL > self._room:
                self._pause_s = max(SHORTEST_S, self._pause_s / 2)
            elif size * _EMPTY < self._room:
                self._pause_s = min(LONGEST_S, self._pause_s * 1.25)
            if not self._is_closing:
                self._timer = self._loop.call_later(self._pause_s, self._read_batch)

    def _read(self) -> int:
        """Hand over what is there; give its bytes."""
        receive, received = self._socket.recvfrom, self._protocol.datagram_received
        size = 0
        try:
            while not self._is_closing:
                data, addr = receive(MAX_DATAGRAM)
                size += len(data)
                received(data, addr)
        except BlockingIOError:
            pass
        except OSError as error:  # an ICMP answer to something that was sent
            self._protocol.error_received(error)
        return size
