"""LiveKit's signalling over a WebSocket: what the room says, and the few things that a receiver says.

Source: livekit_rtc.proto (protocol 16); the token goes in a header, so that it stands in no URL.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
from livekit.protocol import models, rtc

_PROTOCOL: Final = 16
_CONNECT_S: Final = 10.0
_MAX_MESSAGE: Final = 4 * 1024 * 1024
_SILENCE_S: Final = 20.0  # the server answers our pings, every 5 s

SUBSCRIBER: Final = rtc.SignalTarget.SUBSCRIBER


class SignallingError(Exception):
    """The media server could not be reached or did not let us in. ``is_refused``: by its own word."""

    def __init__(self, sentence: str, *, is_refused: bool = False) -> None:
        super().__init__(sentence)
        self.is_refused = is_refused


class Signalling:
    """A joined room's signal connection; made by `joined`.

    Attributes:
        join: the server's first word: who is there, how often it wants to be pinged.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, join: Any) -> None:
        self._socket = socket
        self.join = join

    async def messages(self) -> AsyncIterator[Any]:
        """Give what the server says until the connection ends.

        Raises:
            SignallingError: nothing was heard for too long.
        """
        while True:
            try:
                message = await self._socket.receive(timeout=_SILENCE_S)
            except TimeoutError:
                raise SignallingError("the media server has fallen silent") from None
            if message.type is aiohttp.WSMsgType.BINARY:
                yield rtc.SignalResponse.FromString(message.data)
            elif message.type in (
                aiohttp.WSMsgType.CLOSE,
                aiohttp.WSMsgType.CLOSED,
                aiohttp.WSMsgType.CLOSING,
                aiohttp.WSMsgType.ERROR,
            ):
                return

    async def answer(self, sdp: str, number: int) -> None:
        """Answer an offer."""
        await self._send(rtc.SignalRequest(answer=rtc.SessionDescription(type="answer", sdp=sdp, id=number)))

    async def want_best(self, sids: list[str]) -> None:
        """Ask for the top layer of tracks."""
        settings = rtc.UpdateTrackSettings(track_sids=sids, quality=models.VideoQuality.HIGH)
        await self._send(rtc.SignalRequest(track_setting=settings))

    async def decline(self, sids: list[str]) -> None:
        """Have tracks not sent to us."""
        subscription = rtc.UpdateSubscription(track_sids=sids, subscribe=False)
        await self._send(rtc.SignalRequest(subscription=subscription))

    async def ping_for_ever(self) -> None:
        """Ping as often as the server wants it."""
        every_s = self.join.ping_interval or 5
        while True:
            await asyncio.sleep(every_s)
            now_ms = int(time.time() * 1000)
            await self._send(rtc.SignalRequest(ping_req=rtc.Ping(timestamp=now_ms)))

    async def leave(self) -> None:
        """Say that we leave."""
        await self._send(rtc.SignalRequest(leave=rtc.LeaveRequest()))

    async def _send(self, request: Any) -> None:
        async with asyncio.timeout(_CONNECT_S):
            await self._socket.send_bytes(request.SerializeToString())


@asynccontextmanager
async def joined(url: str, token: str) -> AsyncIterator[Signalling]:
    """Join a room; leave it at the end.

    Args:
        url: of the media server, ws or wss.
        token: for the room.

    Raises:
        SignallingError: it could not be joined.
    """
    query = f"protocol={_PROTOCOL}&auto_subscribe=1&adaptive_stream=0&sdk=other&version=1"
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        try:
            async with asyncio.timeout(_CONNECT_S):
                socket = await http.ws_connect(
                    f"{url.rstrip('/')}/rtc?{query}",
                    headers={"Authorization": f"Bearer {token}"},
                    max_msg_size=_MAX_MESSAGE,
                )
                first = await socket.receive()
        except aiohttp.WSServerHandshakeError as error:
            # Its own text may repeat the token.
            is_refused = error.status in (401, 403, 404)
            raise SignallingError(
                f"the media server did not let us in (HTTP {error.status})", is_refused=is_refused
            ) from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise SignallingError(f"the media server is not reached: {type(error).__name__}") from None
        try:
            if first.type is not aiohttp.WSMsgType.BINARY:
                raise SignallingError("the media server closed the connection at once")
            response = rtc.SignalResponse.FromString(first.data)
            if response.WhichOneof("message") != "join":
                raise SignallingError("the media server did not let us in", is_refused=True)
            signalling = Signalling(socket, response.join)
            yield signalling
            if not socket.closed:
                try:
                    await signalling.leave()
                except (OSError, TimeoutError, aiohttp.ClientError):
                    pass  # it notices by itself
        finally:
            await socket.close()
