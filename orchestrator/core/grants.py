"""What each role may do in a room: the content of a token before it is signed.

Source: architecture §4 (room and token policy), contracts §5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from orchestrator.core.ids import Identity, RoomName, ServiceId, identity_of
from orchestrator.core.triggers import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Permissions of one participant in one room.

    Attributes:
        kind: LiveKit's participant kind; a hidden recorder must be an agent, else it keeps rooms open.
        attributes: signed into the token; by them we know whom we minted it for.
    """

    room_name: RoomName
    identity: Identity
    name: str
    role: Role
    can_publish: bool = True
    can_subscribe: bool = True
    can_publish_data: bool = True
    hidden: bool = False
    recorder: bool = False
    kind: Literal["standard", "agent"] = "standard"
    service_id: ServiceId | None = None
    attempt: int = 0


def client_grant(room_name: RoomName, identity: Identity, name: str) -> Grant:
    """Let a client publish, subscribe and send data."""
    return Grant(room_name=room_name, identity=identity, name=name, role="client")


def operator_grant(room_name: RoomName, identity: Identity, name: str) -> Grant:
    """Let an operator look and listen, unseen and without publishing."""
    return Grant(
        room_name=room_name,
        identity=identity,
        name=name,
        role="operator",
        can_publish=False,
        can_publish_data=False,
        hidden=True,
    )


def worker_grant(room_name: RoomName, service_id: ServiceId, attempt: int) -> Grant:
    """Let an attempt of a service publish, subscribe and send data, under its attempt's identity."""
    return Grant(
        room_name=room_name,
        identity=identity_of(service_id, attempt),
        name=service_id,
        role="worker",
        service_id=service_id,
        attempt=attempt,
    )


def recorder_grant(room_name: RoomName, service_id: ServiceId, attempt: int) -> Grant:
    """Let an attempt of the recorder subscribe, hidden, as an agent; it lights the recording indicator."""
    return Grant(
        room_name=room_name,
        identity=identity_of(service_id, attempt),
        name=service_id,
        role="recorder",
        can_publish=False,
        can_publish_data=False,
        hidden=True,
        recorder=True,
        kind="agent",
        service_id=service_id,
        attempt=attempt,
    )
