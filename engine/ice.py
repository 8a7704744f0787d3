"""ICE-lite on one UDP port for all clients: who sends is known by a username, from then on by its address.

Source: RFC 8445 section 2.5 and 7.3 (lite, checks), RFC 8489 (STUN), RFC 7983 (what a datagram is).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import struct
import time
from typing import TYPE_CHECKING, Any, Final

from aioice import stun
from aiortc.rtcdtlstransport import RTCCertificate
from pylibsrtp import _binding

if TYPE_CHECKING:
    from engine.transport import Peer

MAX_DATAGRAM: Final = 2048
SOCKET_BYTES: Final = 4 * 1024 * 1024  # the kernel may allow less
TICK_S: Final = 0.4
_LEAST_BYTES: Final = 12  # of STUN, DTLS and SRTP alike
_BATCH: Final = 128  # datagrams that are read before others get their turn

Address = tuple[str, int]
ffi: Final[Any] = _binding.ffi


class Scratch:
    """Bytes that are decrypted or encrypted in place: SRTP without a copy."""

    def __init__(self) -> None:
        self.bytes = bytearray(MAX_DATAGRAM + 256)  # encrypting adds to it
        self.view = memoryview(self.bytes)
        self.data = ffi.from_buffer(self.bytes)
        self.length = ffi.new("int *")


class MediaPort:
    """The one UDP port; made by `open`.

    Attributes:
        address: where it is bound.
        inbox: what is being received; ``outbox``: what is being sent.
        certificate: of all our connections.
    """

    def __init__(self, bound: socket.socket) -> None:
        self._socket = bound
        self._loop = asyncio.get_running_loop()
        self.address: Address = bound.getsockname()[:2]
        self.inbox, self.outbox = Scratch(), Scratch()
        self.certificate = RTCCertificate.generateCertificate()
        self._by_username: dict[str, Peer] = {}
        self._by_address: dict[Address, Peer] = {}
        self._loop.add_reader(bound.fileno(), self._read)
        self._timer = self._loop.call_later(TICK_S, self._tick)

    @classmethod
    async def open(cls, host: str, port: int) -> MediaPort:
        """Bind it.

        Args:
            host: an IPv4 address.
            port: 0 for one that is free.

        Raises:
            OSError: it cannot be bound.
        """
        bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            bound.setblocking(False)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BYTES)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
            bound.bind((host, port))
        except OSError:
            bound.close()
            raise
        return cls(bound)

    def close(self) -> None:
        """Close the socket; what is sent from now on is lost."""
        self._timer.cancel()
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def add(self, peer: Peer) -> None:
        """Give a connection its username and password, new ones if it had some, and listen for it."""
        self._by_username.pop(peer.username, None)
        peer.username, peer.password = secrets.token_hex(8), secrets.token_hex(16)
        self._by_username[peer.username] = peer

    def remove(self, peer: Peer) -> None:
        """Listen for it no more."""
        self._by_username.pop(peer.username, None)
        for address in [known for known, owner in self._by_address.items() if owner is peer]:
            del self._by_address[address]

    def send(self, data: Any, address: Address) -> None:
        """Send a datagram; one that the system does not take is lost, as datagrams may be."""
        with contextlib.suppress(OSError):
            self._socket.sendto(data, address)

    def _tick(self) -> None:
        self._timer = self._loop.call_later(TICK_S, self._tick)
        now = time.monotonic()
        for peer in list(self._by_username.values()):
            peer.tick(now)

    def _read(self) -> None:
        receive, inbox, known = self._socket.recvfrom_into, self.inbox.bytes, self._by_address
        for _ in range(_BATCH):
            try:
                size, address = receive(inbox, MAX_DATAGRAM)
            except OSError:  # nothing more, or an ICMP answer to something that was sent
                return
            if size < _LEAST_BYTES:
                continue  # anybody can send such a thing, and nobody behind us expects it
            first = inbox[0]
            if first < 4:
                self._check(bytes(inbox[:size]), address)
                continue
            peer = known.get(address)
            if peer is None:
                continue
            if 127 < first < 192:
                peer.take_srtp(size)
            elif 19 < first < 64:
                peer.take_dtls(bytes(inbox[:size]))

    def _check(self, datagram: bytes, address: Address) -> None:
        """Answer a connectivity check of who knows one of our usernames and its password."""
        try:
            request = stun.parse_message(datagram)
        except (ValueError, struct.error):
            return
        if (request.message_method, request.message_class) != (stun.Method.BINDING, stun.Class.REQUEST):
            return
        peer = self._by_username.get(request.attributes.get("USERNAME", "").partition(":")[0])
        if peer is None or not request.check_message_integrity(peer.password.encode()):
            return
        response = stun.Message(
            message_method=stun.Method.BINDING,
            message_class=stun.Class.RESPONSE,
            transaction_id=request.transaction_id,
            attributes={"XOR-MAPPED-ADDRESS": address},
        )
        response.add_message_integrity(peer.password.encode())
        self.send(bytes(response), address)
        self._by_address[address] = peer
        peer.checked(address, is_nominated="USE-CANDIDATE" in request.attributes)
