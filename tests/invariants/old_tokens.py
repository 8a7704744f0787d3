"""Tokens that must not count any more, of every kind, and somebody who tries them on the real server."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import aiohttp
from livekit import api
from livekit.protocol import models
from livekit.protocol import rtc as signalling

from greenroom.media_server import MediaServer
from orchestrator.adapters.livekit_tokens import LivekitTokens
from orchestrator.core.grants import worker_grant
from orchestrator.core.ids import RoomName, ServiceId, SessionId
from sdk.client import Client, ServerEvent
from tests.acceptance.system import System
from tests.invariants import joiner
from tests.invariants.real.livekit_eye import LiveKitEye, livekit_eye

Kind = Literal["ended", "reused", "barred", "put-out", "renewed", "role", "attempt"]
KINDS: Final[tuple[Kind, ...]] = ("ended", "reused", "barred", "put-out", "renewed", "role", "attempt")
CONNECT_S: Final = 15.0
POLL_S: Final = 0.03  # between two looks at LiveKit's list
LONGEST_S: Final = 20.0  # after this somebody who is still in the room has stayed


@dataclass(frozen=True, slots=True, kw_only=True)
class OldToken:
    """A token that was good once. ``is_hopeless``: its room is gone, LiveKit itself refuses it."""

    kind: Kind
    identity: str
    room_name: str
    jwt: str

    @property
    def is_hopeless(self) -> bool:
        """Whether there is no room of that name."""
        return self.kind == "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What came of a try: ``stayed_s`` None means that nobody was seen in the room."""

    token: OldToken
    stayed_s: float | None


class TokenMaker:
    """Makes old tokens by the ways in which they come about, through the API as callers do."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._tokens = LivekitTokens(
            api_key=system.media.api_key, api_secret=system.media.api_secret, ttl_s=300
        )

    async def make(self, kind: Kind, number: int, live: dict[str, Any]) -> OldToken:
        """Make one; ``live`` is a session whose room is open, used by the kinds that need one."""
        identity, system = f"{kind}-{number}", self._system
        path = f"/api/v1/sessions/{live['session_id']}"
        room_name = live["room_name"]
        if kind in ("ended", "reused"):
            name = f"{kind}-room-{number}"
            created = await system.create(user_identity=identity, room_name=name)
            await system.post(f"/api/v1/sessions/{created['session_id']}/terminate", {})
            await system.until_status(created["session_id"], "Terminated")
            if kind == "reused":
                await system.create(user_identity=f"next-{number}", room_name=name)
            return OldToken(kind=kind, identity=identity, room_name=name, jwt=created["access_token"])
        if kind == "attempt":
            grant = worker_grant(
                RoomName(room_name), ServiceId("asr"), number + 1, session_id=SessionId(live["session_id"])
            )
            jwt = self._tokens.mint(grant).jwt
            return OldToken(kind=kind, identity=grant.identity, room_name=room_name, jwt=jwt)
        jwt = (await system.post(f"{path}/token", {"user_identity": identity}))["access_token"]
        if kind == "role":
            await system.post(f"{path}/token", {"user_identity": identity, "role": "operator"})
        else:
            if kind == "renewed":
                jwt = await renewed(system.media.url, jwt)
            await remove(system, live, identity, bar=kind == "barred")
        return OldToken(kind=kind, identity=identity, room_name=room_name, jwt=jwt)


async def remove(system: System, live: dict[str, Any], identity: str, *, bar: bool) -> None:
    """Remove somebody by the API."""
    url = f"{system.url}/api/v1/sessions/{live['session_id']}/participants/{identity}"
    async with system.http.delete(url, params={"bar": "true" if bar else "false"}) as response:
        assert response.status == 200, await response.text()


async def renewed(url: str, jwt: str) -> str:
    """Join by signalling alone and give the token that LiveKit renews at once; then leave."""
    async with asyncio.timeout(CONNECT_S), _signalling(url, jwt) as socket:
        async for response in _responses(socket):
            if response.WhichOneof("message") == "refresh_token":
                await socket.send_bytes(
                    signalling.SignalRequest(leave=signalling.LeaveRequest()).SerializeToString()
                )
                return str(response.refresh_token)
    raise AssertionError("LiveKit sent no renewed token")


async def attempt_by_signalling(url: str, token: OldToken) -> Tried:
    """Join without media, which LiveKit lists but sends no webhook of, and see how long it lasts."""
    try:
        async with asyncio.timeout(LONGEST_S), _signalling(url, token.jwt) as socket:
            joined_at = time.monotonic()
            async for response in _responses(socket):
                match response.WhichOneof("message"):
                    case "join":
                        joined_at = time.monotonic()
                    case "leave":
                        stayed_s = time.monotonic() - joined_at
                        return Tried(token=token, stayed_s=stayed_s)
                    case _:
                        pass
    except aiohttp.WSServerHandshakeError:
        return Tried(token=token, stayed_s=None)
    except TimeoutError:
        pass
    return Tried(token=token, stayed_s=LONGEST_S)


@contextlib.asynccontextmanager
async def _signalling(url: str, jwt: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    headers = {"Authorization": f"Bearer {jwt}"}
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{url}/rtc?protocol=15&sdk=python", headers=headers) as socket,
    ):
        yield socket


async def _responses(socket: aiohttp.ClientWebSocketResponse) -> AsyncIterator[signalling.SignalResponse]:
    async for message in socket:
        if message.type is aiohttp.WSMsgType.BINARY:
            yield signalling.SignalResponse.FromString(message.data)


class LagMeter:
    """How late this process itself is: what a measured time owes to a busy machine."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, float]] = []  # when, and how late, both in seconds

    @property
    def worst_s(self) -> float:
        """The worst of all."""
        return self.worst_since(0.0)

    def worst_since(self, at: float) -> float:
        """Give the worst since a moment of the monotonic clock."""
        return max((late_s for when, late_s in self._samples if when >= at), default=0.0)

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.02)
            now = time.monotonic()
            self._samples.append((now, now - before - 0.02))


@contextlib.asynccontextmanager
async def lag_meter() -> AsyncIterator[LagMeter]:
    """Measure while the block runs."""
    meter = LagMeter()
    task = asyncio.create_task(meter.run())
    try:
        yield meter
    finally:
        task.cancel()
        await asyncio.wait({task})


class World:
    """What is seen beside the orchestrator (LiveKit's lists), and what it tells (its events)."""

    def __init__(self, eye: LiveKitEye, client: api.LiveKitAPI) -> None:
        self.eye = eye
        self.client = client
        self._events: list[ServerEvent] = []

    def identities(self, name: str) -> set[str]:
        """Whom events of this name were about."""
        return {e.data.get("user_identity", e.data.get("identity", "")) for e in self._told(name)}

    def refused(self) -> set[str]:
        """Who was put out because of the token that they came with."""
        return {
            e.data["identity"]
            for e in self._told("participant_removed")
            if e.data["reason"] not in ("removed by a caller", "the role changed")
        }

    async def read(self, orchestrator: Client) -> None:
        """Follow all events until cancelled."""
        async for event in orchestrator.events(from_start=True):
            self._events.append(event)

    def _told(self, name: str) -> list[ServerEvent]:
        return [event for event in self._events if event.event == name]


@contextlib.asynccontextmanager
async def opened_world(system: System) -> AsyncIterator[World]:
    """Look at a system while the block runs."""
    media = system.media
    async with (
        livekit_eye(media) as eye,
        api.LiveKitAPI(media.url.replace("ws://", "http://"), media.api_key, media.api_secret) as client,
        Client(system.url) as orchestrator,
    ):
        world = World(eye, client)
        reading = asyncio.create_task(world.read(orchestrator))
        try:
            yield world
        finally:
            reading.cancel()
            await asyncio.wait({reading})


async def attempt(media: MediaServer, world: World, token: OldToken) -> Tried:
    """Join with the SDK, and see in LiveKit's list how long it is connected there."""
    process = await asyncio.to_thread(joiner.start, media.url, token.jwt)
    until = time.monotonic() + LONGEST_S
    first = last = None
    absent = 0
    try:
        while time.monotonic() < until and absent < 3:
            is_active = await _is_active(world.client, token)
            now = time.monotonic()
            if is_active:
                first, last, absent = first or now, now, 0
            elif first is not None or token.identity in world.refused():
                absent += 1  # it may have been too short to be seen
            elif process.exitcode == joiner.REFUSED:
                break
            await asyncio.sleep(POLL_S)
    finally:
        await asyncio.to_thread(joiner.end, process)
    if first is None or last is None:
        return Tried(token=token, stayed_s=0.0 if token.identity in world.refused() else None)
    return Tried(token=token, stayed_s=last - first)


async def _is_active(client: api.LiveKitAPI, token: OldToken) -> bool:
    request = api.ListParticipantsRequest(room=token.room_name)
    try:
        listed = await client.room.list_participants(request)
    except api.TwirpError:
        return False  # there is no such room
    active = models.ParticipantInfo.State.ACTIVE
    return any(p.identity == token.identity and p.state == active for p in listed.participants)
