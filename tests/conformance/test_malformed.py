"""Clients that send nonsense: mutated messages, wrong tokens, frames too large. Other calls go on."""

from __future__ import annotations

import asyncio
import base64
import gzip
import os
import random
import urllib.parse
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest
from livekit import rtc as sdk
from livekit.protocol import models, rtc

from tests.conformance.cameras import publishing, viewing
from tests.conformance.stage import WITHIN_S, Stage
from tests.conformance.watching import FREEZE_S, watching_for_freezes

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("timed")]

IS_FULL = os.environ.get("GREENROOM_FULL") == "1"
MESSAGES = 1_000
SESSIONS_AT_ONCE = 4
PING_AT = 77_777
PING = rtc.SignalRequest(ping_req=rtc.Ping(timestamp=PING_AT)).SerializeToString()
OFFER = """v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
a=extmap-allow-mixed
m=audio 9 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
a=ice-ufrag:abcd
a=ice-pwd:abcdefghijklmnopqrstuvwx
a=fingerprint:sha-256 {fingerprint}
a=setup:actpass
a=mid:0
a=sendrecv
a=msid:stream cid-1
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=ssrc:1234 cname:x
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=ice-ufrag:abcd
a=ice-pwd:abcdefghijklmnopqrstuvwx
a=fingerprint:sha-256 {fingerprint}
a=setup:actpass
a=mid:1
a=sctp-port:5000
""".replace("\n", "\r\n").format(fingerprint=":".join(["AB"] * 32))


def requests() -> list[rtc.SignalRequest]:
    """One of everything that clients say."""
    add = rtc.AddTrackRequest(
        cid="cid-1",
        name="camera",
        type=models.TrackType.VIDEO,
        source=models.TrackSource.CAMERA,
        width=320,
        height=180,
        layers=[models.VideoLayer(quality=models.VideoQuality.HIGH, width=320, height=180)],
    )
    return [
        rtc.SignalRequest(offer=rtc.SessionDescription(type="offer", sdp=OFFER, id=1)),
        rtc.SignalRequest(answer=rtc.SessionDescription(type="answer", sdp=OFFER, id=1)),
        rtc.SignalRequest(trickle=rtc.TrickleRequest(candidateInit='{"candidate":"candidate:1 1 udp 1 x"}')),
        rtc.SignalRequest(add_track=add),
        rtc.SignalRequest(mute=rtc.MuteTrackRequest(sid="TR_x", muted=True)),
        rtc.SignalRequest(subscription=rtc.UpdateSubscription(track_sids=["TR_x"], subscribe=True)),
        rtc.SignalRequest(track_setting=rtc.UpdateTrackSettings(track_sids=["TR_x"], width=1 << 31)),
        rtc.SignalRequest(update_metadata=rtc.UpdateParticipantMetadata(metadata="m", attributes={"a": "b"})),
        rtc.SignalRequest(simulate=rtc.SimulateScenario(server_leave=True)),
        rtc.SignalRequest(ping_req=rtc.Ping(timestamp=1)),
        rtc.SignalRequest(sync_state=rtc.SyncState(answer=rtc.SessionDescription(type="answer", sdp=OFFER))),
        rtc.SignalRequest(subscription_permission=rtc.SubscriptionPermission(all_participants=True)),
        rtc.SignalRequest(leave=rtc.LeaveRequest()),
    ]


def mutated(chance: random.Random) -> Iterator[bytes]:
    """Give messages for ever: bits flipped, cut off, joined, or nothing but noise."""
    originals = [request.SerializeToString() for request in requests()]
    while True:
        data = bytearray(chance.choice(originals))
        match chance.randrange(5):
            case 0:
                for _ in range(chance.randrange(1, 8)):
                    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            case 1:
                del data[chance.randrange(len(data)) :]
            case 2:
                data += chance.choice(originals)
            case 3:
                data = bytearray(chance.randbytes(chance.randrange(1, 400)))
            case _:
                at = chance.randrange(len(data))
                data[at:at] = chance.randbytes(chance.randrange(1, 30))
        yield bytes(data)


def mutated_offer(chance: random.Random) -> bytes:
    """Give an offer whose lines are dropped, doubled, swapped or damaged."""
    lines = OFFER.split("\r\n")
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(lines))
        match chance.randrange(4):
            case 0:
                lines.insert(at, lines[chance.randrange(len(lines))])
            case 1:
                lines[at] = lines[at][: chance.randrange(len(lines[at]) + 1)]
            case 2:
                lines[at] += str(chance.randrange(1 << 70))
            case _:
                lines[at : at + 1] = []
                lines = lines or [""]
    offer = rtc.SessionDescription(type="offer", sdp="\r\n".join(lines), id=chance.randrange(1 << 31))
    return rtc.SignalRequest(offer=offer).SerializeToString()


@dataclass
class Rude:
    """A client that says what it likes; a connection that ends is opened again."""

    stage: Stage
    http: aiohttp.ClientSession
    identity: str
    connections: int = 0
    _socket: aiohttp.ClientWebSocketResponse | None = None

    async def say(self, data: bytes) -> None:
        """Send one message, and wait until the server has read it: it answers a ping, or has hung up."""
        socket = self._socket
        if socket is None or socket.closed:
            self._socket = socket = await self.http.ws_connect(
                f"{self.stage.engine.url}/rtc?protocol=16&auto_subscribe=1",
                headers={"Authorization": f"Bearer {self.stage.token(self.identity)}"},
                timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
            )
            self.connections += 1
        try:
            await socket.send_bytes(data)
            await socket.send_bytes(PING)
            async with asyncio.timeout(WITHIN_S):
                await self._answered(socket)
        except (aiohttp.ClientError, OSError):
            await socket.close()

    async def close(self) -> None:
        """End the connection that there is."""
        if self._socket is not None:
            await self._socket.close()

    async def _answered(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            is_binary = message.type is aiohttp.WSMsgType.BINARY
            said = rtc.SignalResponse.FromString(message.data if is_binary else b"")
            if said.pong_resp.last_ping_timestamp == PING_AT:
                return


@asynccontextmanager
async def undisturbed(stage: Stage) -> AsyncIterator[None]:
    """Watch a call in another room: it has no freeze, and nobody there is told anything of this one."""
    other = await stage.make_room()
    bob, came = sdk.Room(), list[str]()
    bob.on("participant_connected", lambda who: came.append(who.identity))
    async with viewing(bob) as seen, publishing(await stage.join("alice", room=other.name)) as alice:
        await stage.join("bob", into=bob, room=other.name)
        sid = (await alice.film()).sid
        await seen.sees(sid)
        async with watching_for_freezes(seen, sid) as watch:
            yield
            await seen.sees(sid)
        assert watch.longest_s < FREEZE_S
        assert set(await stage.participants(other.name)) == {"alice", "bob"}
    os.kill(stage.engine.pid, 0)
    assert crashes(stage.engine.log_path.read_text(encoding="utf-8", errors="replace")) == []
    assert came == []


def crashes(log: str) -> list[str]:
    """Give the errors that a Python server logged a traceback of."""
    blocks = log.split("Traceback (most recent call last):\n")[1:]
    return [next(line for line in block.splitlines() if not line.startswith(" ")) for block in blocks]


async def test_mutated_messages_end_at_most_their_own_connection(stage: Stage) -> None:
    count = MESSAGES if IS_FULL or stage.engine.name == "embedded" else MESSAGES // 10
    async with undisturbed(stage), aiohttp.ClientSession() as http:

        async def be_rude(number: int) -> int:
            chance = random.Random(number)
            rude, messages = Rude(stage, http, f"rude-{number}"), mutated(chance)
            for _ in range(count // SESSIONS_AT_ONCE):
                await rude.say(next(messages))
            await rude.close()
            return rude.connections

        connections = await asyncio.gather(*map(be_rude, range(SESSIONS_AT_ONCE)))
    assert min(connections) > 0


async def test_mutated_offers_end_at_most_their_own_connection(stage: Stage) -> None:
    async with undisturbed(stage), aiohttp.ClientSession() as http:
        chance = random.Random(5)
        rude = Rude(stage, http, "rude")
        for _ in range(MESSAGES if IS_FULL else 150):
            await rude.say(mutated_offer(chance))
        await rude.close()


async def test_frames_that_are_too_large_or_no_messages_end_at_most_their_own_connection(
    stage: Stage,
) -> None:
    async with undisturbed(stage), aiohttp.ClientSession() as http:
        rude = Rude(stage, http, "rude")
        for data in (b"\0" * (8 << 20), b"", b"\xff" * 65_536):
            await rude.say(data)
        await rude.close()
        headers = {"Authorization": f"Bearer {stage.token('rude')}"}
        async with http.ws_connect(f"{stage.engine.url}/rtc?protocol=16", headers=headers) as socket:
            await socket.send_str("not a message")


async def test_joins_that_are_nonsense_are_refused(stage: Stage) -> None:
    chance = random.Random(3)
    bomb = gzip.compress(b"\0" * (64 << 20))
    wrapped = [
        rtc.WrappedJoinRequest(
            compression=rtc.WrappedJoinRequest.GZIP, join_request=bomb
        ).SerializeToString(),
        rtc.WrappedJoinRequest(
            compression=rtc.WrappedJoinRequest.GZIP, join_request=b"no gzip"
        ).SerializeToString(),
        rtc.WrappedJoinRequest(join_request=chance.randbytes(100)).SerializeToString(),
        *(chance.randbytes(80) for _ in range(10)),
    ]
    texts = ["", "%", "A" * 7_000, *(base64.urlsafe_b64encode(one).decode() for one in wrapped)]
    headers = {"Authorization": f"Bearer {stage.token('rude')}"}
    async with undisturbed(stage), aiohttp.ClientSession() as http:
        for text in texts:
            url = f"{stage.engine.url}/rtc/v1?join_request={urllib.parse.quote(text)}"
            try:
                async with asyncio.timeout(5), http.ws_connect(url, headers=headers) as socket:
                    await socket.receive()
            except (TimeoutError, aiohttp.ClientError):
                continue  # refused, cut off, or let in and told nothing
        for token in (
            "",
            "a.b.c",
            "x" * 5_000,
            stage.token("rude", secret="another-secret-of-more-than-32-letters"),
        ):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(f"{stage.engine.url}/rtc", headers={"Authorization": f"Bearer {token}"})
            assert refused.value.status == 401
