"""LiveKit's room service and its dispatch of agents, over one kept connection pool.

livekit-api's own client signs an admin token for every call; here one token per scope is signed and used
for most of its life, because creating a session should cost little more than LiveKit's own CreateRoom.
LiveKit's texts never pass through: its 401 body, for one, holds the whole token.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Final, Protocol, TypeVar

import aiohttp
import msgspec
from google.protobuf.message import DecodeError, Message
from livekit import api
from livekit.protocol import agent_dispatch, models
from livekit.protocol import room as rooms_proto

from orchestrator.core.errors import RoomServerError, RoomServerUnavailableError
from orchestrator.core.grants import ATTRIBUTE_GRANT, ATTRIBUTE_SESSION
from orchestrator.core.ids import (
    AGENT_PREFIX,
    Identity,
    JobId,
    ParticipantSid,
    RoomName,
    RoomSid,
    ServiceId,
    SessionId,
)
from orchestrator.core.triggers import Participant, Role
from orchestrator.ports import Dispatch, Room
from sdk.wire import ATTRIBUTE_ATTEMPT, ATTRIBUTE_ROLE, ATTRIBUTE_SERVICE

_ADMIN_TTL_S: Final = 600
_ATTRIBUTE_JOB: Final = "greenroom.job"  # on dispatches, beside the attempt
_ATTRIBUTE_AGENT: Final = "lk.agent_name"  # LiveKit signs it into every agent's token
_AGENTS: Final = "AgentDispatchService"
_SCOPES_KEPT: Final = 4096  # admin tokens of rooms kept at most; then all are signed anew
_ROLES: Final[dict[str, Role]] = {
    "client": "client",
    "operator": "operator",
    "worker": "worker",
    "recorder": "recorder",
}
# What msgspec raises on JSON of somebody else: also for text that is not UTF-8 or nested without end.
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_M = TypeVar("_M", bound=Message)


class LivekitRooms:
    """Implements `RoomServer`.

    Args:
        server_url: ws(s) or http(s) address of the server.
        api_key, api_secret: the server's.
        deployment_id: written into the metadata of our rooms.
        empty_timeout_s, departure_timeout_s: above our own deadlines, so that we end rooms, not LiveKit.
        max_participants: of one room.
        timeout_s: deadline of one call.
    """

    def __init__(
        self,
        server_url: str,
        *,
        api_key: str,
        api_secret: str,
        deployment_id: str,
        empty_timeout_s: int,
        departure_timeout_s: int,
        max_participants: int,
        timeout_s: float = 5.0,
    ) -> None:
        self._prefix = api_url(server_url) + "/twirp/livekit."
        self._api_key = api_key
        self._api_secret = api_secret
        self._deployment_id = deployment_id
        self._empty_timeout_s = empty_timeout_s
        self._departure_timeout_s = departure_timeout_s
        self._max_participants = max_participants
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._http: aiohttp.ClientSession | None = None
        self._headers: dict[str, tuple[dict[str, str], float]] = {}  # by room, "" for none; and until when

    async def open(self) -> None:
        """Make the connection pool; does not wait for the server."""
        self._http = aiohttp.ClientSession(
            timeout=self._timeout,
            connector=aiohttp.TCPConnector(limit=64, keepalive_timeout=60),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close it."""
        if self._http is not None:
            await self._http.close()

    async def create_room(self, name: RoomName, session_id: SessionId) -> Room:
        """Create the room, or give the one of that name that exists."""
        request = rooms_proto.CreateRoomRequest(
            name=name,
            empty_timeout=self._empty_timeout_s,
            departure_timeout=self._departure_timeout_s,
            max_participants=self._max_participants,
            metadata=room_metadata(self._deployment_id, session_id),
        )
        return read_room(await self._call("CreateRoom", request, models.Room))

    async def list_rooms(self, names: tuple[RoomName, ...] = ()) -> list[Room]:
        """Give the rooms of these names that exist, or (no names) all of the server."""
        request = rooms_proto.ListRoomsRequest(names=names)
        answer = await self._call("ListRooms", request, rooms_proto.ListRoomsResponse)
        return [read_room(room) for room in answer.rooms]

    async def delete_room(self, name: RoomName) -> None:
        """Delete the room; a missing one is deleted."""
        request = rooms_proto.DeleteRoomRequest(room=name)
        try:
            await self._call("DeleteRoom", request, rooms_proto.DeleteRoomResponse)
        except _MissingError:
            return

    async def list_participants(self, name: RoomName) -> list[Participant]:
        """Give who is in the room; none when there is no such room."""
        request = rooms_proto.ListParticipantsRequest(room=name)
        try:
            answer = await self._call(
                "ListParticipants", request, rooms_proto.ListParticipantsResponse, room=name
            )
        except _MissingError:
            return []
        gone = models.ParticipantInfo.State.DISCONNECTED
        agent = models.ParticipantInfo.Kind.AGENT
        return [
            read_participant(info, is_agent=info.kind == agent)
            for info in answer.participants
            if info.state != gone
        ]

    async def remove_participant(self, name: RoomName, identity: Identity) -> None:
        """Put somebody out; a missing one is out."""
        request = rooms_proto.RoomParticipantIdentity(room=name, identity=identity)
        try:
            await self._call("RemoveParticipant", request, rooms_proto.RemoveParticipantResponse, room=name)
        except _MissingError:
            return

    async def create_dispatch(
        self, name: RoomName, agent_name: str, *, job_id: JobId, attempt: int, metadata: str
    ) -> None:
        """Have an agent sent into the room, if one of this name is registered at LiveKit now."""
        request = agent_dispatch.CreateAgentDispatchRequest(
            room=name,
            agent_name=agent_name,
            metadata=metadata,
            attributes={_ATTRIBUTE_JOB: job_id, ATTRIBUTE_ATTEMPT: str(attempt)},
        )
        await self._call("CreateDispatch", request, agent_dispatch.AgentDispatch, room=name, service=_AGENTS)

    async def list_dispatches(self, name: RoomName) -> list[Dispatch]:
        """Give the dispatches in the room, those of others too; none when there is no such room."""
        if not await self.list_rooms((name,)):
            return []  # for a missing room's dispatches LiveKit answers, seconds later, that it is down
        request = agent_dispatch.ListAgentDispatchRequest(room=name)
        shape = agent_dispatch.ListAgentDispatchResponse
        answer = await self._call("ListDispatch", request, shape, room=name, service=_AGENTS)
        return [read_dispatch(dispatch) for dispatch in answer.agent_dispatches]

    async def delete_dispatch(self, name: RoomName, dispatch_id: str) -> None:
        """Delete a dispatch; a missing one is deleted."""
        request = agent_dispatch.DeleteAgentDispatchRequest(room=name, dispatch_id=dispatch_id)
        try:
            await self._call(
                "DeleteDispatch", request, agent_dispatch.AgentDispatch, room=name, service=_AGENTS
            )
        except _MissingError:
            return

    async def _call(
        self,
        method: str,
        request: Message,
        answer: type[_M],
        *,
        room: str = "",
        service: str = "RoomService",
    ) -> _M:
        if self._http is None:
            raise RoomServerUnavailableError("the LiveKit client is not open")
        try:
            async with self._http.post(
                f"{self._prefix}{service}/{method}",
                data=request.SerializeToString(),
                headers=self._headers_for(room),
                allow_redirects=False,
            ) as response:
                body = await response.read()
                status = response.status
        except TimeoutError:
            raise RoomServerUnavailableError(
                f"LiveKit did not answer {method} within {self._timeout.total:g} s"
            ) from None
        except (aiohttp.ClientError, OSError):
            raise RoomServerUnavailableError(
                f"LiveKit cannot be reached for {method}; check that it runs and livekit.server_url"
            ) from None
        if status == 200:
            try:
                return answer.FromString(body)
            except DecodeError:
                raise RoomServerError(
                    f"what answered {method} is not LiveKit; check livekit.server_url"
                ) from None
        raise _refusal(method, status, body)

    def _headers_for(self, room: str) -> dict[str, str]:
        now = time.monotonic()
        known = self._headers.get(room)
        if known is not None and known[1] > now:
            return known[0]
        if len(self._headers) >= _SCOPES_KEPT:
            self._headers.clear()
        grants = (
            api.VideoGrants(room_admin=True, room=room)
            if room
            else api.VideoGrants(room_create=True, room_list=True, room_admin=True)
        )
        token = api.AccessToken(self._api_key, self._api_secret).with_grants(grants)
        jwt = token.with_ttl(timedelta(seconds=_ADMIN_TTL_S)).to_jwt()
        headers = {"Authorization": f"Bearer {jwt}", "Content-Type": "application/protobuf"}
        self._headers[room] = (headers, now + _ADMIN_TTL_S * 2 / 3)
        return headers


class _MissingError(RoomServerError):
    """There is no such room or participant."""


class _TwirpError(msgspec.Struct):
    code: str = ""


def _refusal(method: str, status: int, body: bytes) -> RoomServerError:
    try:
        code = msgspec.json.decode(body, type=_TwirpError).code
    except _UNREADABLE:
        code = ""
    if code == "not_found":
        return _MissingError(f"{method}: not found")
    if status in (401, 403):
        return RoomServerError(f"LiveKit refused {method}: check livekit.api_key and livekit.api_secret")
    if status >= 500 or status == 429:
        return RoomServerUnavailableError(f"LiveKit failed at {method} with status {status}")
    return RoomServerError(f"LiveKit refused {method} with status {status}")


def api_url(server_url: str) -> str:
    """Give the address of the HTTP API: ws becomes http, wss https."""
    scheme, _, rest = server_url.partition("://")
    return {"ws": "http", "wss": "https"}.get(scheme, scheme) + "://" + rest.rstrip("/")


def connect_url(server_url: str) -> str:
    """Give the address for clients: http becomes ws, https wss."""
    scheme, _, rest = server_url.partition("://")
    return {"http": "ws", "https": "wss"}.get(scheme, scheme) + "://" + rest.rstrip("/")


def room_metadata(deployment_id: str, session_id: str) -> str:
    """Write whose room it is."""
    return msgspec.json.encode({"greenroom": {"deployment": deployment_id, "session": session_id}}).decode()


class _Ours(msgspec.Struct):
    deployment: str = ""
    session: str = ""


class _Metadata(msgspec.Struct):
    greenroom: _Ours = msgspec.field(default_factory=_Ours)


_metadata_decoder = msgspec.json.Decoder(_Metadata)


def read_owner(metadata: str) -> tuple[str, str]:
    """Give (deployment id, session id) of a room's metadata; two empty strings for rooms of others."""
    try:
        ours = _metadata_decoder.decode(metadata).greenroom
    except _UNREADABLE:
        return "", ""
    return ours.deployment, ours.session


def read_room(room: models.Room) -> Room:
    """Turn LiveKit's record of a room into ours."""
    deployment_id, session_id = read_owner(room.metadata)
    return Room(
        name=RoomName(room.name),
        sid=RoomSid(room.sid),
        deployment_id=deployment_id,
        session_id=session_id,
    )


class ParticipantRecord(Protocol):
    """What LiveKit tells of a participant, in protobuf or in a webhook's JSON."""

    @property
    def identity(self) -> str: ...
    @property
    def sid(self) -> str: ...
    @property
    def attributes(self) -> Mapping[str, str]: ...


def read_dispatch(dispatch: agent_dispatch.AgentDispatch) -> Dispatch:
    """Turn LiveKit's record of a dispatch into ours."""
    job_id = dispatch.attributes.get(_ATTRIBUTE_JOB, "")
    attempt = _number(dispatch.attributes.get(ATTRIBUTE_ATTEMPT, ""))
    is_ours = bool(job_id) and attempt is not None
    return Dispatch(
        id=dispatch.id,
        agent_name=dispatch.agent_name,
        job_id=job_id if is_ours else "",
        attempt=attempt or 0 if is_ours else 0,
        identities=tuple(
            Identity(job.state.participant_identity)
            for job in dispatch.state.jobs
            if job.state.participant_identity
        ),
    )


def read_participant(info: ParticipantRecord, *, is_agent: bool = False) -> Participant:
    """Turn LiveKit's record of a participant into ours; who we minted no role for is a client.

    Args:
        info: the record.
        is_agent: whether its kind is AGENT; such a one without a role of ours came by LiveKit's dispatch.
    """
    minted = info.attributes.get(ATTRIBUTE_ROLE, "")
    if is_agent and minted not in _ROLES:
        agent_name = info.attributes.get(_ATTRIBUTE_AGENT, "")
        return Participant(
            identity=Identity(info.identity),
            sid=ParticipantSid(info.sid),
            role="worker",
            service_id=ServiceId(AGENT_PREFIX + agent_name) if agent_name else None,
        )
    role = _ROLES.get(minted, "client")
    service_id = info.attributes.get(ATTRIBUTE_SERVICE, "")
    attempt = _number(info.attributes.get(ATTRIBUTE_ATTEMPT, ""))
    is_worker = role in ("worker", "recorder") and bool(service_id) and attempt is not None
    return Participant(
        identity=Identity(info.identity),
        sid=ParticipantSid(info.sid),
        role=role if is_worker or role in ("client", "operator") else "client",
        service_id=ServiceId(service_id) if is_worker else None,
        attempt=attempt or 0 if is_worker else 0,
        grant=_number(info.attributes.get(ATTRIBUTE_GRANT, "")) or 0,
        session_id=info.attributes.get(ATTRIBUTE_SESSION, ""),
    )


def _number(text: str) -> int | None:
    """Read a number of ours; attributes that we did not sign can hold anything ("²" is a digit, but none)."""
    return int(text) if text.isdecimal() and len(text) < 10 else None
