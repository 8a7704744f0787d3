"""One peer connection with a client: DTLS and SCTP by aiortc, SRTP by the library below it.

aiortc's own way of receiving and sending RTP costs many times what this file leaves of it. It and pylibsrtp
are used below their public surface for that, so their versions are pinned.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from aiortc import RTCDataChannel, RTCDataChannelParameters
from aiortc.rtcdtlstransport import (
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
)
from aiortc.rtcsctptransport import RTCSctpCapabilities, RTCSctpTransport
from pylibsrtp import _binding

from engine.forwarding import Media
from engine.ice import Address, MediaPort
from engine.sdp import Description, Local

CONNECT_S: Final = 15.0
CLOSE_S: Final = 2.0
SILENCE_S: Final = 20.0  # without a check: clients check every 2.5 s (RFC 7675 allows 30)
_SCTP_PORT: Final = 5000
_HANDSHAKE_DATAGRAMS: Final = 256  # that may wait; more are lost, as datagrams may be

_log = logging.getLogger("greenroom.engine")
_lib: Final[Any] = _binding.lib


class _Wire:
    """What aiortc's DTLS takes for its ICE transport."""

    role = "controlled"
    state = "completed"

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send_now = send
        self._waiting: asyncio.Queue[bytes | None] = asyncio.Queue(_HANDSHAKE_DATAGRAMS)

    def put(self, datagram: bytes | None) -> None:
        if not self._waiting.full():
            self._waiting.put_nowait(datagram)

    async def _recv(self) -> bytes:
        datagram = await self._waiting.get()
        if datagram is None:
            raise ConnectionError("closed")
        return datagram

    async def _send(self, datagram: bytes) -> None:
        self._send_now(datagram)


class Peer:
    """Our end of one peer connection.

    Args:
        port: the UDP port that all share.
        on_connected: called once, when DTLS stands.
        on_lost: called once, with a sentence that says why, unless `close` came first.
        on_channel: called with each data channel that the client opens.
        on_tick: called about every 0.4 s while the client sends tracks.

    Attributes:
        media: the tracks that come and go.
        is_connected: whether media can be sent.
    """

    def __init__(
        self,
        port: MediaPort,
        *,
        on_connected: Callable[[], None],
        on_lost: Callable[[str], None],
        on_channel: Callable[[RTCDataChannel], None],
        on_tick: Callable[[], None],
    ) -> None:
        self.username = self.password = ""
        self._port = port
        self._on_connected, self._on_lost = on_connected, on_lost
        self._fingerprint = next(
            one.value for one in port.certificate.getFingerprints() if one.algorithm == "sha-256"
        )
        self._wire = _Wire(self._send)
        self._dtls = RTCDtlsTransport(self._wire, [port.certificate])  # type: ignore[arg-type]
        self._dtls._set_role("server")
        self._sctp = RTCSctpTransport(self._dtls)
        self._sctp.on("datachannel", on_channel)
        self._address: Address | None = None
        self._remote_username = ""
        self._connecting: asyncio.Task[None] | None = None
        self._opened_at = self._heard_at = time.monotonic()
        self._is_over = False
        self._encrypt: Any = None
        self._decrypt: Any = None
        self.is_connected = False
        self.media = Media(self, on_tick=on_tick)
        port.add(self)

    def local(self) -> Local:
        """Give our end for a description."""
        return Local(
            username=self.username,
            password=self.password,
            fingerprint=self._fingerprint,
            host=self._port.address[0],
            port=self._port.address[1],
        )

    def start(self, remote: Description) -> None:
        """Connect to who wrote a description; a later one with another ICE username restarts ICE."""
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect(remote))
        elif remote.username != self._remote_username:
            self._port.add(self)
        self._remote_username = remote.username

    def open_channel(self, label: str, *, is_reliable: bool) -> RTCDataChannel:
        """Open a data channel; it is open when the client says so."""
        retransmits = None if is_reliable else 0
        return RTCDataChannel(
            self._sctp, RTCDataChannelParameters(label=label, ordered=True, maxRetransmits=retransmits)
        )

    async def close(self) -> None:
        """End the connection; may be repeated."""
        self._is_over, self.is_connected = True, False
        if self._connecting is not None and not self._connecting.done():
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._sctp.stop()
                await self._dtls.stop()
        except (TimeoutError, ConnectionError) as error:
            _log.debug("a connection did not close in order: %s", type(error).__name__)
        self._wire.put(None)
        self._port.remove(self)
        self._dtls.remove_all_listeners()
        # What OpenSSL and libsrtp hold goes now, not when the cycles of aiortc's objects are collected.
        self._encrypt = self._decrypt = None
        self._dtls._ssl = self._dtls._rx_srtp = self._dtls._tx_srtp = None  # type: ignore[assignment]

    # --- of the port ---

    def checked(self, address: Address, *, is_nominated: bool) -> None:
        """Send to where the client's last chosen address is."""
        self._heard_at = time.monotonic()
        if is_nominated or self._address is None:
            self._address = address

    def take_dtls(self, datagram: bytes) -> None:
        """Hand over a DTLS datagram."""
        self._wire.put(datagram)

    def take_srtp(self, size: int) -> None:
        """Decrypt what is in the inbox, and hand it over; what cannot be decrypted is dropped."""
        if self._decrypt is None:
            return
        inbox = self._port.inbox
        inbox.length[0] = size
        is_rtcp = 191 < inbox.bytes[1] < 224
        act = _lib.srtp_unprotect_rtcp if is_rtcp else _lib.srtp_unprotect
        if act(self._decrypt, inbox.data, inbox.length) == 0:
            packet = bytes(inbox.view[: inbox.length[0]])
            (self.media.rtcp if is_rtcp else self.media.rtp)(packet)

    def tick(self, now: float) -> None:
        """Give up who does not connect, or falls silent."""
        if self.is_connected:
            self.media.tick(now)
            if now - self._heard_at > SILENCE_S:
                self._lose(f"nothing was heard of its media connection for {SILENCE_S:g} s")
        elif now - self._opened_at > CONNECT_S:
            self._lose(f"no media connection within {CONNECT_S:g} s")

    # --- of the forwarding ---

    def send_rtp(self, size: int) -> None:
        """Encrypt and send the RTP packet of ``size`` bytes in the port's ``outbox``."""
        outbox = self._port.outbox
        outbox.length[0] = size
        if (
            self._address
            and self.is_connected
            and _lib.srtp_protect(self._encrypt, outbox.data, outbox.length) == 0
        ):
            self._port.send(outbox.view[: outbox.length[0]], self._address)

    def send_rtcp(self, compound: bytes) -> None:
        """Encrypt and send an RTCP compound; dropped while there is no connection."""
        outbox = self._port.outbox
        outbox.bytes[: len(compound)] = compound
        outbox.length[0] = len(compound)
        if not (self.is_connected and self._address):
            return
        if _lib.srtp_protect_rtcp(self._encrypt, outbox.data, outbox.length) == 0:
            self._port.send(outbox.view[: outbox.length[0]], self._address)

    @property
    def outbox(self) -> bytearray:
        """Where a packet is written before `send_rtp`."""
        return self._port.outbox.bytes

    # --- inside ---

    def _send(self, datagram: bytes) -> None:
        if self._address is not None:
            self._port.send(datagram, self._address)

    async def _connect(self, remote: Description) -> None:
        prints = [RTCDtlsFingerprint(algorithm=name, value=value) for name, value in remote.fingerprints]
        await self._dtls.start(RTCDtlsParameters(fingerprints=prints))
        if self._dtls.state != "connected":
            self._lose("DTLS failed")
            return
        self._decrypt, self._encrypt = self._dtls._rx_srtp._srtp[0], self._dtls._tx_srtp._srtp[0]
        self.is_connected = True
        self._opened_at = self._heard_at = time.monotonic()
        self._dtls.on("statechange", self._changed)
        self._on_connected()
        await self._sctp.start(RTCSctpCapabilities(maxMessageSize=0), _SCTP_PORT)

    def _changed(self) -> None:
        if self._dtls.state != "connected":
            self._lose("the client ended its media connection")

    def _lose(self, sentence: str) -> None:
        self.is_connected = False
        if not self._is_over:
            self._is_over = True
            self._on_lost(sentence)
