"""A whole engine within a test, and session descriptions as clients write them."""

from __future__ import annotations

import base64
import zlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer
from livekit.protocol import rtc
from livekit.protocol.room import CreateRoomRequest

from engine import tokens
from engine.app import HTTP_LIMITS, make_app
from engine.ice import MediaPort
from engine.rooms import Rooms
from engine.signalling import serve
from engine.tokens import Claims
from tests.engine.clients import KEY, World, claims_for

CREDENTIALS = ["a=ice-ufrag:abcd", "a=ice-pwd:abcdefghijklmnopqrstuv", "a=fingerprint:sha-256 AA:BB"]
OPUS = ["a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10;useinbandfec=1"]
VIDEO = [
    *("a=rtpmap:96 VP8/90000", "a=rtcp-fb:96 nack pli", "a=rtpmap:97 rtx/90000", "a=fmtp:97 apt=96"),
    "a=rtpmap:103 H264/90000",
    "a=fmtp:103 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f",
    "a=rtpmap:107 H264/90000",
    "a=fmtp:107 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42001f",
    "a=rtpmap:109 H264/90000",
    "a=fmtp:109 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
]


def section(kind: str, mid: str, *more: str, port: int = 9) -> list[str]:
    """Write a media section."""
    if kind == "application":
        return [f"m=application {port} UDP/DTLS/SCTP webrtc-datachannel", f"a=mid:{mid}", "a=sctp-port:5000"]
    numbers = "111" if kind == "audio" else "96 97 103 107 109"
    codecs = OPUS if kind == "audio" else VIDEO
    return [f"m={kind} {port} UDP/TLS/RTP/SAVPF {numbers}", f"a=mid:{mid}", *codecs, *more]


def offer(*sections: Iterable[str]) -> rtc.SessionDescription:
    """Write an offer of these sections."""
    lines = ["v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", *CREDENTIALS, "a=setup:actpass"]
    lines += [line for one in sections for line in one]
    return rtc.SessionDescription(type="offer", sdp="\r\n".join(lines) + "\r\n")


def join_request(**said: Any) -> str:
    """Write what v1 clients bring along in their URL."""
    plain = rtc.JoinRequest(**said).SerializeToString()
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    packed = packer.compress(plain) + packer.flush()
    wrapped = rtc.WrappedJoinRequest(compression=rtc.WrappedJoinRequest.GZIP, join_request=packed)
    return base64.urlsafe_b64encode(wrapped.SerializeToString()).decode().rstrip("=")


@dataclass
class RunningEngine:
    """An engine on loopback with one room, ``tea``."""

    world: World
    server: TestServer
    media: MediaPort
    http: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.server.port}"

    def token(self, identity: str, **grants: Any) -> str:
        return tokens.mint(claims_for(identity, **grants), KEY, now=self.world.rooms.now())

    async def connect(self, identity: str, path: str = "/rtc", **grants: Any) -> Signals:
        """Join without media."""
        headers = {"Authorization": f"Bearer {self.token(identity, **grants)}"}
        return Signals(await self.http.ws_connect(f"{self.url}{path}", headers=headers))


class Signals:
    """One client's WebSocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def say(self, **message: Any) -> None:
        await self.socket.send_bytes(rtc.SignalRequest(**message).SerializeToString())

    async def hear(self, wanted: str = "") -> rtc.SignalResponse:
        """Give the next message, or the next of a kind, within 30 s each."""
        while True:
            heard = await self.socket.receive(timeout=30)
            assert heard.type is aiohttp.WSMsgType.BINARY, f"{wanted} was never heard: {heard}"
            message = rtc.SignalResponse.FromString(heard.data)
            if wanted in ("", message.WhichOneof("message")):
                return message


@asynccontextmanager
async def running_engine() -> AsyncIterator[RunningEngine]:
    """Run an engine for one test."""
    world = World()
    world.rooms.create(CreateRoomRequest(name="tea"))
    media = await MediaPort.open("127.0.0.1", 0)

    async def serve_one(request: web.Request, rooms: Rooms, claims: Claims) -> web.StreamResponse:
        return await serve(request, rooms, claims, media)

    server = TestServer(make_app(world.rooms, KEY, serve_one), host="127.0.0.1")
    await server.start_server(**HTTP_LIMITS)
    try:
        async with aiohttp.ClientSession() as http:
            yield RunningEngine(world, server, media, http)
    finally:
        world.rooms.end()
        await server.close()
        media.close()
