"""What the feed tells: one record per event, with the reference's names and payloads. Never a token.

Source: contracts §1 (SSE). `name` is the SSE event name; `type` the tag inside the data.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, NewType

import msgspec
from msgspec import Struct

Position = NewType("Position", str)  # "generation:seq", both decimal


class _Event(Struct, frozen=True, kw_only=True, omit_defaults=True):
    name: ClassVar[str]


class SessionCreated(_Event, frozen=True, kw_only=True, tag_field="type", tag="SessionCreated"):
    """A session's intent is durable."""

    name: ClassVar[str] = "session_created"
    session_id: str
    room_name: str
    livekit_url: str


class MicroserviceJoined(_Event, frozen=True, kw_only=True, tag_field="type", tag="MicroserviceJoined"):
    """LiveKit lists a worker of the service in the room."""

    name: ClassVar[str] = "microservice_joined"
    session_id: str
    service_id: str


class MicroserviceLeft(_Event, frozen=True, kw_only=True, tag_field="type", tag="MicroserviceLeft"):
    """LiveKit no longer lists it."""

    name: ClassVar[str] = "microservice_left"
    session_id: str
    service_id: str


class ClientJoined(_Event, frozen=True, kw_only=True, tag_field="type", tag="ClientJoined"):
    """A client is in the room."""

    name: ClassVar[str] = "client_joined"
    session_id: str
    user_identity: str


class ClientLeft(_Event, frozen=True, kw_only=True, tag_field="type", tag="ClientLeft"):
    """A client left the room."""

    name: ClassVar[str] = "client_left"
    session_id: str
    user_identity: str


class SessionReady(_Event, frozen=True, kw_only=True, tag_field="type", tag="SessionReady"):
    """The session became Ready: with everybody, or (after a degrade) with the missing named."""

    name: ClassVar[str] = "session_ready"
    session_id: str
    all_participants_joined: bool
    missing_services: tuple[str, ...] = ()


class SessionStatusChanged(_Event, frozen=True, kw_only=True, tag_field="type", tag="SessionStatusChanged"):
    """The room life moved, or other required services are missing than before."""

    name: ClassVar[str] = "status_changed"
    session_id: str
    status: str
    degraded: bool = False
    missing_services: tuple[str, ...] = ()


class SessionTerminated(_Event, frozen=True, kw_only=True, tag_field="type", tag="SessionTerminated"):
    """The room life is over."""

    name: ClassVar[str] = "session_terminated"
    session_id: str
    end_reason: str


class Error(_Event, frozen=True, kw_only=True, tag_field="type", tag="Error"):
    """Something went wrong that a watcher should know of; the sentence is ours."""

    name: ClassVar[str] = "error"
    session_id: str
    message: str


class RoomRecreated(_Event, frozen=True, kw_only=True, tag_field="type", tag="RoomRecreated"):
    """LiveKit had lost the room; it exists again under the same name."""

    name: ClassVar[str] = "room_recreated"
    session_id: str
    room_name: str


class ParticipantRemoved(_Event, frozen=True, kw_only=True, tag_field="type", tag="ParticipantRemoved"):
    """We put somebody out of the room, and why."""

    name: ClassVar[str] = "participant_removed"
    session_id: str
    identity: str
    reason: str


class JobChanged(_Event, frozen=True, kw_only=True, tag_field="type", tag="JobChanged"):
    """A job moved; sent under the name `job_<state>`."""

    name: ClassVar[str] = "job_changed"
    session_id: str
    job_id: str
    service_id: str
    attempt: int
    state: str
    worker_id: str = ""
    detail: str = ""


class RecordingChanged(_Event, frozen=True, kw_only=True, tag_field="type", tag="RecordingChanged"):
    """The recording facet moved; sent under the name `recording_status_changed` (or `recording_started`)."""

    name: ClassVar[str] = "recording_status_changed"
    session_id: str
    recording_id: str
    recording_status: str
    tree_size: int = 0
    root: str = ""
    detail: str = ""


class RecordingDeleted(_Event, frozen=True, kw_only=True, tag_field="type", tag="RecordingDeleted"):
    """A recording's media is gone for good; ``cause``: asked, retention or quota. Belongs to its session."""

    name: ClassVar[str] = "recording_deleted"
    session_id: str
    recording_id: str
    cause: str


class RecordingQuota(_Event, frozen=True, kw_only=True, tag_field="type", tag="RecordingQuota"):
    """What recordings take passed a mark of `disk_quota`: ``level`` is ok, warning (90 %) or exceeded."""

    name: ClassVar[str] = "recording_quota"
    level: str
    used_bytes: int
    quota_bytes: int


class MicroserviceRegistered(
    _Event, frozen=True, kw_only=True, tag_field="type", tag="MicroserviceRegistered"
):
    """A worker offers its service (again). Belongs to no session."""

    name: ClassVar[str] = "microservice_registered"
    service_id: str
    worker_id: str


class MicroserviceUnavailable(
    _Event, frozen=True, kw_only=True, tag_field="type", tag="MicroserviceUnavailable"
):
    """A worker was not heard in time, or went away. Belongs to no session."""

    name: ClassVar[str] = "microservice_unavailable"
    service_id: str
    worker_id: str
    reason: str


SessionEvent = (
    SessionCreated
    | MicroserviceJoined
    | MicroserviceLeft
    | ClientJoined
    | ClientLeft
    | SessionReady
    | SessionStatusChanged
    | SessionTerminated
    | Error
    | RoomRecreated
    | ParticipantRemoved
    | JobChanged
    | RecordingChanged
    | RecordingDeleted
)
# Belong to no session; a deletion does where the session of a recording is not known here.
RegistryEvent = MicroserviceRegistered | MicroserviceUnavailable | RecordingQuota | RecordingDeleted
Event = SessionEvent | RegistryEvent

_encoder = msgspec.json.Encoder()


def name_of(event: Event) -> str:
    """Give the SSE event name."""
    match event:
        case JobChanged(state=state):
            return f"job_{state}"
        case RecordingChanged(recording_status="recording"):
            return "recording_started"
        case _:
            return event.name


def encode_data(event: Event) -> bytes:
    """Give the SSE data: one line of JSON."""
    return _encoder.encode(event)


class FeedEvent(Struct, frozen=True, kw_only=True):
    """An event as it stands in the store.

    Attributes:
        seq: global number, ascending without repeat within a generation (holes are possible).
        session_id: None for events of the registry.
        number: per session from 1, without holes; 0 where there is no session.
        data: the SSE data, UTF-8 JSON.
    """

    seq: int
    session_id: str | None
    number: int
    name: str
    data: bytes
    at: datetime


def decode_data(data: bytes) -> dict[str, Any]:
    """Read the SSE data of a stored event."""
    value: dict[str, Any] = msgspec.json.decode(data)
    return value
