"""The media connection: ICE and DTLS by aiortc, SRTP datagrams taken off the socket before anything else.

aiortc's own way of receiving costs three times as much as what this file leaves of it (recording.md §1). It
is used below its public surface for that, so its version is pinned.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable
from typing import Any, Final

from aioice.candidate import Candidate, candidate_foundation, candidate_priority
from aioice.ice import Connection, StunProtocol, get_host_addresses
from aiortc.exceptions import InvalidStateError
from aiortc.rtcdtlstransport import (
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
)
from aiortc.rtcicetransport import RTCIceGatherer, RTCIceParameters, RTCIceTransport
from aiortc.rtcsctptransport import RTCSctpCapabilities, RTCSctpTransport

from recorder.adapters.passthrough.answer import Offer
from recorder.adapters.passthrough.datagrams import BatchedSocket
from recorder.adapters.passthrough.srtp import Unprotector

CONNECT_S: Final = 10.0
CLOSE_S: Final = 2.0
_SCTP_PORT: Final = 5000
_LEAST_BYTES: Final = 12  # of STUN, DTLS and SRTP alike

_log = logging.getLogger("greenroom.recorder")


class NoMediaPathError(Exception):
    """No media connection came about: no UDP between here and the media server."""


class MediaTransport:
    """One connection that receives all of a room's media over one socket.

    Args:
        on_rtp: called with every decrypted RTP packet, in the event loop.
        on_rtcp: called with every decrypted RTCP compound.
        on_batch: called after packets were read, and about ten times a second when none come.
        on_closed: called when an established connection is lost.
    """

    def __init__(
        self,
        *,
        on_rtp: Callable[[bytes], None],
        on_rtcp: Callable[[bytes], None],
        on_batch: Callable[[], None],
        on_closed: Callable[[], None],
    ) -> None:
        self._on_rtp = on_rtp
        self._on_rtcp = on_rtcp
        self._on_batch = on_batch
        self._on_closed = on_closed
        self._certificate = RTCCertificate.generateCertificate()
        gatherer = RTCIceGatherer(iceServers=[])
        self._connection = gatherer._connection = Connection(ice_controlling=False)
        self._ice = RTCIceTransport(gatherer)
        self._dtls = RTCDtlsTransport(self._ice, [self._certificate])
        self._dtls._set_role("client")
        self._sctp = RTCSctpTransport(self._dtls)
        self._unprotector: Unprotector | None = None
        self._sockets: list[BatchedSocket] = []
        self._has_candidate = asyncio.Event()
        self._is_connected = False
        self.refused = 0  # datagrams that were not of this connection

    @property
    def is_connected(self) -> bool:
        """Whether media can come."""
        return self._is_connected

    async def gather(self, *, is_loopback: bool) -> None:
        """Open the sockets.

        Args:
            is_loopback: the media server is on this machine's loopback, which ICE leaves out by itself.

        Raises:
            NoMediaPathError: this machine has no address.
        """
        addresses = ["127.0.0.1"] if is_loopback else get_host_addresses(use_ipv4=True, use_ipv6=True)
        connection = self._connection
        connection._local_candidates_start = True
        for address in addresses:
            self._listen(address)
        connection._local_candidates_end = True
        if not connection._protocols:
            raise NoMediaPathError("this machine has no address to receive media at")

    def answer(self, offer: Offer) -> str:
        """Write the answer to an offer; after `gather`."""
        fingerprint = next(
            print_.value
            for print_ in self._dtls.getLocalParameters().fingerprints
            if print_.algorithm == "sha-256"
        )
        return offer.answer(
            username=self._connection.local_username,
            password=self._connection.local_password,
            fingerprint=fingerprint,
            candidates=[f"candidate:{one.to_sdp()}" for one in self._connection.local_candidates],
        )

    async def add_candidate(self, line: str) -> None:
        """Take one of the server's candidates (``candidate:…``); one that cannot be used is passed over."""
        try:
            candidate = Candidate.from_sdp(line.removeprefix("candidate:"))
        except (ValueError, AssertionError, IndexError):
            return
        if candidate.transport.lower() != "udp" or not _is_address(candidate.host):
            return
        await self._connection.add_remote_candidate(candidate)
        self._has_candidate.set()

    async def connect(self, offer: Offer) -> None:
        """Connect to the server that made the offer.

        Raises:
            NoMediaPathError: no connection within CONNECT_S.
        """
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._connect(offer)
        except (TimeoutError, ConnectionError, InvalidStateError) as error:
            raise NoMediaPathError(
                f"no media connection to the media server over UDP within {CONNECT_S:g} s"
            ) from error

    async def _connect(self, offer: Offer) -> None:
        await self._has_candidate.wait()
        self._connection.ice_controlling = offer.ice_lite
        await self._ice.start(
            RTCIceParameters(usernameFragment=offer.username, password=offer.password, iceLite=offer.ice_lite)
        )
        if self._ice.state != "completed":
            raise ConnectionError("ICE failed")
        prints = [RTCDtlsFingerprint(algorithm=name, value=value) for name, value in offer.fingerprints]
        await self._dtls.start(RTCDtlsParameters(fingerprints=prints))
        if self._dtls.state != "connected":
            raise ConnectionError("DTLS failed")
        self._unprotector = Unprotector(self._dtls._rx_srtp)
        self._is_connected = True
        for opened in self._sockets:
            opened.read_in_batches()
        self._ice.on("statechange", self._changed)
        self._dtls.on("statechange", self._changed)
        await self._sctp.start(RTCSctpCapabilities(maxMessageSize=65_536), _SCTP_PORT)

    def send_rtcp(self, compound: bytes) -> None:
        """Send an RTCP compound; dropped while there is no connection."""
        pair = self._connection._nominated.get(1)
        if self._is_connected and pair is not None:
            protected = self._dtls._tx_srtp.protect_rtcp(compound)
            pair.protocol.transport.sendto(protected, pair.remote_addr)

    async def close(self) -> None:
        """Close the sockets."""
        self._is_connected = False
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._sctp.stop()
                await self._dtls.stop()
                await self._ice.stop()
        except (TimeoutError, ConnectionError, InvalidStateError) as error:
            _log.debug("the media connection did not close in order: %s", type(error).__name__)

    def _changed(self) -> None:
        if self._is_connected and (self._ice.state, self._dtls.state) != ("completed", "connected"):
            self._is_connected = False
            self._on_closed()

    def _listen(self, address: str) -> None:
        protocol = StunProtocol(self._connection)
        self._divert(protocol)
        try:
            opened = BatchedSocket(protocol, address, on_batch=self._on_batch)
        except OSError as error:
            _log.debug("no media at %s: %s", address, error.strerror)
            return
        host, port = opened.get_extra_info("sockname")[:2]
        protocol.local_candidate = Candidate(
            foundation=candidate_foundation("host", "udp", host),
            component=1,
            transport="udp",
            priority=candidate_priority(1, "host"),
            host=host,
            port=port,
            type="host",
        )
        self._sockets.append(opened)
        self._connection._protocols.append(protocol)
        self._connection._local_candidates.append(protocol.local_candidate)

    def _divert(self, protocol: StunProtocol) -> None:
        """Take RTP and RTCP (RFC 7983: first byte 128 to 191) off the socket, leave the rest to ICE."""
        others = protocol.datagram_received
        on_rtp, on_rtcp = self._on_rtp, self._on_rtcp

        def datagram_received(data: bytes, addr: tuple[Any, ...]) -> None:
            if len(data) < _LEAST_BYTES:
                return  # anybody can send such a thing, and nobody behind us expects it
            if not 127 < data[0] < 192:
                others(data, addr)
                return
            unprotector = self._unprotector
            if unprotector is None:
                return
            is_rtcp = 191 < data[1] < 224
            packet = unprotector.rtcp(data) if is_rtcp else unprotector.rtp(data)
            if packet is None:
                self.refused += 1
            elif is_rtcp:
                on_rtcp(packet)
            else:
                on_rtp(packet)

        protocol.datagram_received = datagram_received  # type: ignore[assignment,method-assign]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
