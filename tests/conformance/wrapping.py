"""A publisher by aiortc, in the older signalling, whose sequence numbers and RTP times wrap in seconds."""

from __future__ import annotations

import asyncio
import fractions
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import aiohttp
import aioice.ice
import aiortc.rtcrtpsender
import av
import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from aiortc.sdp import candidate_from_sdp
from livekit.protocol import models, rtc

from tests.conformance.stage import WITHIN_S, Stage, until
from tests.fakes.counted_media import draw

FIRST_SEQUENCE: Final = 65_436
FIRST_TIME: Final = (1 << 32) - 90_000  # a second before the wrap
FRAMES_PER_S: Final = 30
SIZE: Final = (640, 360)


class CountedTrack(VideoStreamTrack):
    """Pictures numbered from 0 on."""

    def __init__(self) -> None:
        super().__init__()
        self._sent = 0
        self._began = 0.0

    async def recv(self) -> av.VideoFrame:
        """Give the next, when it is due."""
        self._began = self._began or time.monotonic()
        await asyncio.sleep(max(0.0, self._began + self._sent / FRAMES_PER_S - time.monotonic()))
        frame = av.VideoFrame.from_ndarray(draw(self._sent, SIZE, noise=20), format="yuv420p")
        frame.pts, frame.time_base = self._sent * 90_000 // FRAMES_PER_S, fractions.Fraction(1, 90_000)
        self._sent += 1
        return frame


@dataclass
class WrappingPublisher:
    """Publishes one track.

    Attributes:
        connection: for its media.
        socket: to say more by.
        sid: of the track, once the server has said it.
    """

    connection: RTCPeerConnection
    socket: aiohttp.ClientWebSocketResponse
    sid: str = ""

    async def packets_sent(self) -> int:
        """How many went out, the first of them with FIRST_SEQUENCE."""
        stats = await self.connection.getStats()
        return sum(one.packetsSent for one in stats.values() if one.type == "outbound-rtp")

    async def negotiate(self) -> None:
        """Offer once the track has its sid, and take what is answered."""
        waiting: list[str] = []
        async for message in self.socket:
            said = rtc.SignalResponse.FromString(message.data)
            match said.WhichOneof("message"):
                case "track_published":
                    self.sid = said.track_published.track.sid
                    await self.connection.setLocalDescription(await self.connection.createOffer())
                    offer = rtc.SessionDescription(type="offer", sdp=self.connection.localDescription.sdp)
                    await self.socket.send_bytes(rtc.SignalRequest(offer=offer).SerializeToString())
                case "trickle" if said.trickle.target == rtc.SignalTarget.PUBLISHER:
                    waiting.append(json.loads(said.trickle.candidateInit)["candidate"])
                case "answer":
                    await self.connection.setRemoteDescription(
                        RTCSessionDescription(type="answer", sdp=said.answer.sdp)
                    )
                case _:
                    continue
            if self.connection.remoteDescription is not None:
                for line in waiting:
                    await self._add(line)
                waiting.clear()

    async def _add(self, line: str) -> None:
        if line:
            candidate = candidate_from_sdp(line.removeprefix("candidate:"))
            candidate.sdpMid = "0"
            await self.connection.addIceCandidate(candidate)


@asynccontextmanager
async def wrapping_publisher(
    stage: Stage, identity: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[WrappingPublisher]:
    """Join and publish until the end."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda *_, **__: ["127.0.0.1"])
    monkeypatch.setattr(aiortc.rtcrtpsender, "random_sequence_number", lambda: FIRST_SEQUENCE)
    connection, track = RTCPeerConnection(), CountedTrack()
    connection.addTrack(track)
    monkeypatch.setattr(aiortc.rtcrtpsender, "random32", lambda: FIRST_TIME)
    add = rtc.AddTrackRequest(
        cid=track.id,
        name="camera",
        type=models.TrackType.VIDEO,
        source=models.TrackSource.CAMERA,
        width=SIZE[0],
        height=SIZE[1],
    )
    async with announced(stage, identity, connection, add) as publisher:
        yield publisher


@asynccontextmanager
async def announced(
    stage: Stage, identity: str, connection: RTCPeerConnection, add: rtc.AddTrackRequest
) -> AsyncIterator[WrappingPublisher]:
    """Join, and publish what was added to a connection."""
    url = f"{stage.engine.url}/rtc?protocol=16&auto_subscribe=0"
    headers = {"Authorization": f"Bearer {stage.token(identity)}"}
    async with aiohttp.ClientSession() as http, http.ws_connect(url, headers=headers) as socket:
        publisher = WrappingPublisher(connection, socket)
        await socket.send_bytes(rtc.SignalRequest(add_track=add).SerializeToString())
        negotiating = asyncio.create_task(publisher.negotiate())
        try:
            await until(lambda: publisher.sid or negotiating.done(), within_s=WITHIN_S)
            yield publisher
        finally:
            negotiating.cancel()
            await asyncio.wait({negotiating})
            await connection.close()
